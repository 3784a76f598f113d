#!/usr/bin/env -S node --max-semi-space-size=16
// The flag bounds what V8 keeps for young objects: without it that grows to 128 MiB while a backlog
// drains, for no gain.
//
// JavaScript, so that an older Node can still say what is wrong, and so that Node's cache of compiled
// code is on before the first TypeScript file is read: a start costs half as much with it.
import module from 'node:module';

const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 24) {
  console.error(
    `error: reflexarc needs Node 24 or newer, and this is ${process.version} (npx reflexarc and npm start use the Node that npm ci put into node_modules/.bin)`,
  );
  process.exit(2);
}
module.enableCompileCache();
await import('./main.ts');
