import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './wait.ts';

/** Alertmanager's webhook payload, version 4, as far as tests look at it. */
export interface Hooked {
  readonly status: string;
  readonly alerts: readonly {
    readonly status: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

export interface Receiver {
  readonly url: string;
  readonly hooks: Hooked[];
  /** From now on requests are taken and never answered. */
  hang(): void;
  close(): Promise<void>;
}

/** A receiver of webhooks on a free port. */
export async function startReceiver(): Promise<Receiver> {
  const hooks: Hooked[] = [];
  let hanging = false;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      hooks.push(JSON.parse(body) as Hooked);
      if (!hanging) response.end();
    });
  }).listen(0, '127.0.0.1');
  await until('the receiver to listen', () => server.listening);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    hooks,
    hang() {
      hanging = true;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
