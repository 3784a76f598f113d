import { describe, expect, it } from 'vitest';
import { formatAddress, isLoopback, parseAddress } from './listen.ts';

describe('parseAddress', () => {
  it.each([
    ['127.0.0.1:4440', '127.0.0.1', 4440],
    ['localhost:0', 'localhost', 0],
    ['[::1]:80', '::1', 80],
    [':4440', '::', 4440],
    ['0.0.0.0:65535', '0.0.0.0', 65_535],
    ['my-host.example:1', 'my-host.example', 1],
  ])('%s', (text, host, port) => expect(parseAddress(text)).toEqual({ host, port }));

  it.each([
    '',
    '4440',
    '127.0.0.1',
    '127.0.0.1:65536',
    '::1:80',
    '[::zz]:80',
    'http://a:1',
    'a b:1',
  ])('%s is none', (text) => {
    expect(() => parseAddress(text)).toThrow(
      expect.objectContaining({
        code: 'bad_config',
        hint: expect.stringContaining('write it like'),
      }),
    );
  });
});

it.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['localhost', true],
  ['0.0.0.0', false],
  ['::', false],
  ['192.168.0.1', false],
  ['::ffff:10.0.0.1', false],
])('isLoopback(%s) is %s', async (host, loopback) => {
  expect(await isLoopback(host)).toBe(loopback);
});

it('formatAddress', () => {
  expect([formatAddress('::1', 1), formatAddress('a', 2)]).toEqual(['[::1]:1', 'a:2']);
});
