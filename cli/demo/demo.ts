import { cp, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server as TcpServer,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../core/clock.ts';
import type { Message } from '../../core/contracts/bus.ts';
import { decodeActions, decodeAlerts } from '../../core/records/codec.ts';
import { loadConfig } from '../config.ts';
import { EXIT } from '../exit.ts';
import { createLogger } from '../logger.ts';
import { reportProblems } from '../problems.ts';
import { type Running, run } from '../run.ts';
import { SERVICES } from '../services.ts';
import { stopOnSignals } from '../signals.ts';
import { type Break, createStory, type Story } from './story.ts';

export interface DemoOptions {
  readonly listen: string;
  readonly logLevel: string;
  readonly keep?: boolean;
  readonly json?: boolean;
}

const BREAKS: readonly Break[] = [
  { service: 'queue-worker', how: 'exit', title: 'queue-worker exits with code 3' },
  { service: 'web', how: 'hang', title: 'web hangs: it takes connections and never answers' },
  { service: 'uploads', how: 'errors', title: 'uploads fills its log with errors' },
];

const HEAL_MS = 60_000;
const START_MS = 30_000;

/**
 * Runs three services as local processes in a temporary folder, breaks them one after the other,
 * and shows how each is healed. Exit code 1 when one is not.
 */
export async function demo(options: DemoOptions): Promise<number> {
  const log = createLogger(options.logLevel, options.json === true);
  const dir = await mkdtemp(join(tmpdir(), 'reflexarc-demo-'));
  let running: Running | undefined;
  let hook: Hook | undefined;
  try {
    const story = createStory(systemClock, (line) => console.log(line), options.json === true);
    hook = await startHook((name, status) => story.notified(name, status));
    const ports = await freePorts(BREAKS.length);
    const env = {
      ...process.env,
      DEMO_NODE: process.execPath,
      DEMO_SERVICE: join(import.meta.dirname, 'service.ts'),
      DEMO_PORT_WORKER: String(ports[0]),
      DEMO_PORT_WEB: String(ports[1]),
      DEMO_PORT_UPLOADS: String(ports[2]),
      DEMO_WEBHOOK: hook.url,
    };
    await cp(join(import.meta.dirname, '..', '..', 'compose', 'demo'), dir, { recursive: true });
    running = await run({
      dir,
      config: loadConfig(dir, env),
      listen: options.listen,
      log,
      env,
      services: new Set(SERVICES),
    });
    await watchStory(running, story);
    story.begin(running.url ?? '');

    let healed = 0;
    for (const [index, brk] of BREAKS.entries()) {
      const port = ports[index] ?? 0;
      await untilAnswers(port);
      story.breaks(brk);
      await fetch(`http://127.0.0.1:${port}/break?how=${brk.how}`, { method: 'POST' });
      if (await story.ended(HEAL_MS)) healed++;
    }
    story.sum(healed, BREAKS.length, options.keep === true);
    if (options.keep === true) await stopOnSignals(running, log);
    return healed === BREAKS.length ? EXIT.ok : EXIT.finding;
  } catch (error) {
    return reportProblems(error, options.json === true);
  } finally {
    await running?.stop();
    hook?.server.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Tells the story from what passes on the bus, which is all that happens. */
async function watchStory(running: Running, story: Story): Promise<void> {
  const each = async <T>(
    topic: 'alerts' | 'actions',
    decode: (value: Uint8Array) => { readonly records: readonly T[] },
    tell: (record: T) => void,
  ): Promise<void> => {
    await running.bus.subscribe(
      topic,
      'demo',
      ({ messages }: { readonly messages: readonly Message[] }) => {
        for (const message of messages) decode(message.value).records.forEach(tell);
        return Promise.resolve(undefined);
      },
      { start: 'latest', ephemeral: true },
    );
  };
  await each('alerts', decodeAlerts, (alert) => story.alert(alert));
  await each('actions', decodeActions, (action) => story.action(action));
}

interface Hook {
  readonly url: string;
  readonly server: Server;
}

/** A receiver of webhooks, to see them arrive. */
async function startHook(onAlert: (name: string, status: string) => void): Promise<Hook> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as {
        alerts?: { status: string; labels: Record<string, string> }[];
      };
      for (const alert of body.alerts ?? []) onAlert(alert.labels['service'] ?? '', alert.status);
      response.end();
    });
  });
  const port = await listen(server);
  return { url: `http://127.0.0.1:${port}/`, server };
}

function listen(server: TcpServer): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Ports that are free now; all are taken at once, so that no two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createTcpServer());
  const ports = await Promise.all(servers.map(listen));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function untilAnswers(port: number): Promise<void> {
  const deadline = systemClock.monotonic() + START_MS;
  for (;;) {
    try {
      await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(1000) });
      return;
    } catch (error) {
      if (systemClock.monotonic() > deadline) throw error;
      await systemClock.sleep(50);
    }
  }
}
