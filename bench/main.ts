import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** `npm run bench [-- NAME …]`: all benchmarks, or the ones named, one process each. */
const ALL = ['collect', 'store', 'drain', 'latency', 'idle'];
const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : ALL) {
  const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`)], {
    stdio: 'inherit',
  });
  await once(child, 'exit');
  if (child.exitCode !== 0) process.exitCode = 1;
}
