import { lookup } from 'node:dns/promises';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { messageOf, ReflexarcError } from '../core/errors.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

const HINT = 'write it like 127.0.0.1:4440, localhost:4440, [::1]:4440 or 0.0.0.0:4440';

/** `host:port`, `[v6]:port` or `:port` (every address). @throws bad_config */
export function parseAddress(text: string): Address {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]*)):(\d{1,5})$/.exec(text.trim());
  const port = Number(found?.[3]);
  if (found === null || port > 65_535 || (found[1] !== undefined && !isIPv6(found[1]))) {
    throw new ReflexarcError('bad_config', `not an address to listen on: ${JSON.stringify(text)}`, {
      where: { field: 'listen' },
      hint: HINT,
    });
  }
  const host = found[1] ?? found[2] ?? '';
  return { host: host === '' ? '::' : host, port };
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Also `::ffff:127.0.0.1`, which is the same place. */
export function isLoopbackIp(ip: string): boolean {
  if (isIPv4(ip)) return LOOPBACK.check(ip, 'ipv4');
  return isIPv6(ip) && LOOPBACK.check(ip, 'ipv6');
}

/** Whether only this machine can reach it. A name counts by every address that it has. */
export async function isLoopback(host: string): Promise<boolean> {
  if (isIPv4(host) || isIPv6(host)) return isLoopbackIp(host);
  try {
    const addresses = await lookup(host, { all: true });
    return addresses.length > 0 && addresses.every(({ address }) => isLoopbackIp(address));
  } catch (cause) {
    throw new ReflexarcError(
      'bad_config',
      `cannot listen on ${JSON.stringify(host)}: ${messageOf(cause)}`,
      { cause, where: { field: 'listen' }, hint: HINT },
    );
  }
}

/** @returns the port that was taken. @throws unavailable, permission, bad_config */
export async function listen(app: FastifyInstance, { host, port }: Address): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw explain(cause, host, port);
  }
  const taken = app.server.address();
  return taken === null || typeof taken === 'string' ? port : taken.port;
}

function explain(cause: unknown, host: string, port: number): ReflexarcError {
  const where = { field: 'listen' };
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new ReflexarcError('unavailable', `port ${port} of ${host} is in use`, {
        cause,
        where,
        hint: 'stop what listens there (another Reflexarc?), or choose another port with --listen or `listen` in reflexarc.yaml',
      });
    case 'EACCES':
      return new ReflexarcError('permission', `port ${port} of ${host} may not be listened on`, {
        cause,
        where,
        hint: 'ports below 1024 need a privilege: choose a higher one',
      });
    case 'EADDRNOTAVAIL':
      return new ReflexarcError('bad_config', `this machine has no address ${host}`, {
        cause,
        where,
        hint: HINT,
      });
    default:
      return new ReflexarcError('unavailable', `cannot listen on ${host}: ${messageOf(cause)}`, {
        cause,
        where,
        hint: HINT,
      });
  }
}

/** For URLs and Host headers. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
