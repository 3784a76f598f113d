import { spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { Clock } from '../../core/clock.ts';
import { parseHostPort, parseHttpUrl } from '../../core/config/address.ts';
import type { ProcessConfig } from '../../core/config/reflexarc.ts';
import { messageOf, ReflexarcError } from '../../core/errors.ts';
import { withNothingInherited } from './descriptors.ts';

export type HealthConfig = NonNullable<ProcessConfig['health']>;
export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** Resolves when it is well; rejects with the reason when it is not, or when the signal fires. */
export type Probe = (signal: AbortSignal) => Promise<void>;

/**
 * Docker's rules: the first probe is one interval after the start; a success makes it healthy at
 * once; `retries` failures in a row make it unhealthy, and those within `start_period` count only
 * after it was healthy.
 */
export class HealthCheck {
  readonly #config: HealthConfig;
  readonly #probe: Probe;
  readonly #clock: Clock;
  readonly #onChange: (status: HealthStatus, reason: string) => void;
  readonly #abort = new AbortController();
  #status: HealthStatus = 'starting';

  constructor(
    config: HealthConfig,
    probe: Probe,
    clock: Clock,
    onChange: (status: HealthStatus, reason: string) => void,
  ) {
    this.#config = config;
    this.#probe = probe;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get status(): HealthStatus {
    return this.#status;
  }

  start(): void {
    void this.#run().catch((error: unknown) => {
      if (!this.#abort.signal.aborted) throw error;
    });
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { interval, retries, start_period } = this.#config;
    const { signal } = this.#abort;
    const began = this.#clock.monotonic();
    let failures = 0;
    for (;;) {
      await this.#clock.sleep(interval, signal);
      const reason = await this.#once();
      if (signal.aborted) return;
      if (reason === undefined) {
        failures = 0;
        this.#become('healthy', '');
        continue;
      }
      const counts = this.#status !== 'starting' || this.#clock.monotonic() - began >= start_period;
      if (counts) failures++;
      if (failures >= retries) this.#become('unhealthy', reason);
    }
  }

  /** @returns why it failed */
  async #once(): Promise<string | undefined> {
    const { timeout } = this.#config;
    const abort = new AbortController();
    const late = new Error(`no answer within ${timeout} ms`);
    const timer = this.#clock.after(timeout, () => abort.abort(late));
    const onStop = (): void => abort.abort(new Error('stopped'));
    this.#abort.signal.addEventListener('abort', onStop, { once: true });
    try {
      await this.#probe(abort.signal);
      return undefined;
    } catch (error) {
      return abort.signal.aborted ? messageOf(abort.signal.reason) : messageOf(error);
    } finally {
      timer.cancel();
      this.#abort.signal.removeEventListener('abort', onStop);
    }
  }

  #become(status: HealthStatus, reason: string): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#onChange(status, reason);
  }
}

/**
 * All that are configured must succeed.
 *
 * @throws bad_config when there is none, or an address cannot be read
 */
export function probeOf(
  name: string,
  config: HealthConfig,
  { cwd, env }: { cwd: string | undefined; env: NodeJS.ProcessEnv },
): Probe {
  const probes: Probe[] = [];
  const { http, tcp, exec } = config;
  if (http !== undefined) probes.push(httpProbe(urlOf(name, http)));
  if (tcp !== undefined) probes.push(tcpProbe(...addressOf(name, tcp)));
  if (exec !== undefined) probes.push(execProbe(exec, cwd, env));
  if (probes.length === 0) {
    throw new ReflexarcError('bad_config', `process ${name}: its health check checks nothing`, {
      where: { field: 'sources.processes[].health' },
      hint: 'add http: URL, tcp: host:port or exec: [command]',
    });
  }
  return async (signal) => {
    await Promise.all(probes.map((probe) => probe(signal)));
  };
}

const httpProbe =
  (url: URL): Probe =>
  (signal) =>
    new Promise((resolve, reject) => {
      const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
      const asked = request(url, { signal, agent: false }, (answer) => {
        const status = answer.statusCode ?? 0;
        answer.destroy();
        if (status >= 200 && status < 400) resolve();
        else reject(new Error(`${url.href} answers ${status}`));
      });
      asked.on('error', reject);
      asked.end();
    });

const tcpProbe =
  (host: string, port: number): Probe =>
  (signal) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port, signal });
      socket.once('connect', () => {
        socket.destroy();
        resolve();
      });
      socket.on('error', reject);
    });

const execProbe =
  (command: readonly string[], cwd: string | undefined, env: NodeJS.ProcessEnv): Probe =>
  (signal) =>
    new Promise((resolve, reject) => {
      const [file = '', ...args] = command;
      const child = withNothingInherited((rest) =>
        spawn(file, args, {
          cwd,
          env,
          stdio: ['ignore', 'ignore', 'ignore', ...rest],
          detached: true,
        }),
      );
      const onAbort = (): void => {
        try {
          if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
        } catch {
          // It ended by itself in the same moment.
        }
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      child.on('error', reject);
      child.on('exit', (code, killed) => {
        signal.removeEventListener('abort', onAbort);
        if (code === 0) resolve();
        else reject(new Error(`${file} ended with ${code ?? killed}`));
      });
    });

function urlOf(name: string, text: string): URL {
  const url = parseHttpUrl(text);
  if (url !== undefined) return url;
  throw new ReflexarcError('bad_config', `process ${name}: not an HTTP address: ${text}`, {
    where: { field: 'sources.processes[].health.http' },
    hint: 'write it like http://127.0.0.1:8080/healthz',
  });
}

function addressOf(name: string, text: string): [string, number] {
  const found = parseHostPort(text);
  if (found !== undefined) return [found.host, found.port];
  throw new ReflexarcError('bad_config', `process ${name}: not a host and a port: ${text}`, {
    where: { field: 'sources.processes[].health.tcp' },
    hint: 'write it like 127.0.0.1:6379',
  });
}
