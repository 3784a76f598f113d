import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';

/** `npm run soak`: the fault tests with long outages and many seeds (`REFLEXARC_SOAK=1`). */
const vitest = createRequire(import.meta.url).resolve('vitest/vitest.mjs');
const child = spawn(process.execPath, [vitest, 'run', 'test/faults', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, REFLEXARC_SOAK: '1' },
});
await once(child, 'exit');
process.exitCode = child.exitCode ?? 1;
