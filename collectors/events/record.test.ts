import { describe, expect, it } from 'vitest';
import { instanceOf } from '../testing/runtime.ts';
import { isNoise } from './noise.ts';
import { eventLevel, eventRecord } from './record.ts';

const labelling = { host: 'h', labels: {}, promote: [] };
const event = (action: string, attributes: Record<string, string> = {}, changes = {}) => ({
  time: 1767225602000000000n,
  action,
  attributes,
  instance: instanceOf(changes),
});

describe('events', () => {
  it.each([
    ['die', { exit_code: '1' }, 'error'],
    ['die', { exit_code: '0' }, 'info'],
    ['die', {}, 'info'],
    ['oom', {}, 'error'],
    ['health_status', { health_status: 'unhealthy' }, 'warn'],
    ['health_status', { health_status: 'healthy' }, 'info'],
    ['start', {}, 'info'],
  ] as const)('level of %s %j', (action, attributes, level) => {
    expect(eventLevel(event(action, attributes))).toBe(level);
  });

  it('quote what logfmt would take apart', () => {
    const { line } = eventRecord(
      event('die', { reason: 'out of "memory"', empty: '' }, { name: 'a b', image: undefined }),
      [1, 0],
      labelling,
    );
    expect(line).toBe(
      'action=die reason="out of \\"memory\\"" container="a b" service=web project=shop',
    );
  });

  it.each([
    ['exec_create: sh -c true', true],
    ['exec_die', true],
    ['top', true],
    ['start', false],
    ['health_status', false],
  ])('noise: %s', (action, noise) => expect(isNoise(action)).toBe(noise));
});
