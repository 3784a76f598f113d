import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { readSecret } from '../core/config/fields.ts';
import type { ReflexarcConfig } from '../core/config/reflexarc.ts';
import { ReflexarcError } from '../core/errors.ts';
import { HttpError } from './errors.ts';
import { isLoopbackIp } from './listen.ts';

/** Who may speak to the API: by bearer token, or by being on this machine. */

declare module 'fastify' {
  interface FastifyContextConfig {
    /** No token is asked for: probes have none. */
    open?: boolean;
  }
}

/** Throws what is wrong with a request; runs before anything of it is read. */
export type AccessCheck = (request: FastifyRequest) => void;

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();

const MIN_TOKEN = 16;

type Token = ReflexarcConfig['tokens'][number];

/** @throws bad_config when a token cannot be read or is too short to be one */
export function readTokens(tokens: readonly Token[]): readonly Buffer[] {
  return tokens.map(readToken);
}

/** The token's hash; `index` is its place in the file. @throws as `readTokens` */
export function readToken({ name, token, token_file }: Token, index: number): Buffer {
  const field = `tokens[${index}].token`;
  const secret = readSecret(token, token_file, field);
  if (secret === undefined || secret.length < MIN_TOKEN) {
    throw new ReflexarcError(
      'bad_config',
      secret === undefined
        ? `token ${JSON.stringify(name)} has neither token nor token_file`
        : `token ${JSON.stringify(name)} is shorter than ${MIN_TOKEN} characters`,
      { where: { field }, hint: 'make one with: openssl rand -hex 32' },
    );
  }
  return hash(secret);
}

/** Hashes are compared, and all of them: neither length nor order shows in the time it takes. */
export function tokenCheck(hashes: readonly Buffer[]): AccessCheck {
  return (request) => {
    if (request.routeOptions.config.open === true) return;
    const found = /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '');
    const given = hash(found?.[1] ?? '');
    let known = false;
    for (const one of hashes) known = timingSafeEqual(one, given) || known;
    if (found === null || !known) {
      throw new HttpError(
        401,
        'unauthorized',
        found === null ? 'a bearer token is required' : 'the bearer token is not known',
        'send the header Authorization: Bearer <token>, one of tokens in reflexarc.yaml',
      );
    }
  };
}

/**
 * Against DNS rebinding: without tokens, being on this machine is all that is asked for, and a page
 * in a browser on this machine can point a name of its own at 127.0.0.1. Such a request carries
 * that name as its Host.
 */
export function hostCheck(listenHost: string): AccessCheck {
  const known = new Set(['localhost', listenHost.toLowerCase()]);
  return (request) => {
    const header = request.headers.host ?? '';
    const host = /^(?:\[([^\]]+)\]|([^:]*))(?::\d*)?$/.exec(header.toLowerCase());
    const name = host?.[1] ?? host?.[2] ?? '';
    if (known.has(name) || isLoopbackIp(name)) return;
    throw new HttpError(
      403,
      'unauthorized',
      `the Host header ${JSON.stringify(header.slice(0, 200))} is not one of this server`,
      'without tokens only localhost, 127.0.0.1, [::1] and the listen address are answered; configure tokens to use other names',
    );
  };
}
