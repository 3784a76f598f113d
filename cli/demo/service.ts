import { createServer } from 'node:http';

/**
 * A small service of the demo: answers `/health`, logs what it does, and breaks when told, by
 * `POST /break?how=exit|hang|errors`.
 *
 *     node service.ts NAME PORT
 */
const [name = 'service', port = '0'] = process.argv.slice(2);
let hung = false;
let served = 0;

const say = (level: string, message: string): void => {
  process.stdout.write(`level=${level} service=${name} msg=${JSON.stringify(message)}\n`);
};

const breaks: Readonly<Record<string, () => void>> = {
  exit: () => {
    say('error', 'cannot reach the queue, giving up');
    process.exit(3);
  },
  hang: () => {
    say('warn', 'waiting for a lock that nobody will release');
    hung = true;
  },
  errors: () => {
    setInterval(() => say('error', `write failed: no space left on device (${served++})`), 10);
  },
};

createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (request.method === 'POST' && url.pathname === '/break') {
    response.end('as you wish\n', () => breaks[url.searchParams.get('how') ?? '']?.());
    return;
  }
  if (hung) return; // Neither an answer nor an end: what a hung service looks like from outside.
  served++;
  if (url.pathname !== '/health') say('info', `${request.method} ${url.pathname} 200`);
  response.end('ok\n');
}).listen(Number(port), '127.0.0.1', () => say('info', `listening on port ${port}`));
