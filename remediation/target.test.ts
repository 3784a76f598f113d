import { describe, expect, it } from 'vitest';
import type { Instance } from '../core/contracts/runtime.ts';
import type { Evidence } from '../core/records/alert.ts';
import { type Ground, groundsOf, resolve, type Wanted } from './target.ts';

const instance = (id: string, more: Partial<Instance> = {}): Instance => ({
  runtime: 'docker',
  id,
  name: `${id}-name`,
  service: 'web',
  project: 'shop',
  labels: {},
  state: 'running',
  health: 'none',
  startedAt: '2026-01-01T00:00:00.000000000Z',
  oomKilled: false,
  restarts: 0,
  restartPolicy: 'no',
  stoppedByHand: false,
  log: { format: 'none', driver: 'none' },
  ...more,
});

const web: Wanted = { kind: 'service', name: 'web' };
const on = (id: string, start = '1', at = 1, own = false): Ground => ({ id, start, at, own });
const never = (): boolean => false;

type Outcome = string | readonly string[];
const a = instance('a');
const b = instance('b');
const c = instance('c');
const other = instance('o', { service: 'other' });

describe('which instances are meant', () => {
  it.each<[what: string, wanted: Wanted, grounds: Ground[], instances: Instance[], Outcome]>([
    ['an empty name', { ...web, name: '' }, [on('a')], [a], 'no_target'],
    ['an unknown service', { ...web, name: 'nope' }, [on('a')], [a], 'no_target'],
    ['the one that the evidence names', web, [on('b')], [a, b, c], ['b']],
    ['the two that it names', web, [on('b'), on('c')], [a, b, c], ['b', 'c']],
    ['what it names elsewhere does not count', web, [on('b'), on('o')], [a, b, other], ['b']],
    ['none is named, there is one', web, [], [a, other], ['a']],
    ['none is named, there are three', web, [], [a, b, c], 'ambiguous_target'],
    [
      'none is named, one is down and one is ill',
      web,
      [],
      [a, instance('d', { state: 'exited' }), instance('u', { health: 'unhealthy' })],
      ['d', 'u'],
    ],
    ['it names another service, there is one', web, [on('o')], [a, other], ['a']],
    ['what it names is gone', web, [on('gone')], [a], 'changed'],
    [
      'two projects have the service',
      web,
      [on('a')],
      [a, instance('s', { project: 'staging' })],
      'ambiguous_target',
    ],
    [
      'two projects, and the alert says which',
      { ...web, project: 'staging' },
      [],
      [a, instance('s', { project: 'staging' })],
      ['s'],
    ],
    ['the alert names another project', { ...web, project: 'x' }, [], [a], 'no_target'],
    ['two runtimes have it', web, [], [a, instance('l', { runtime: 'local' })], 'ambiguous_target'],
    ['a container by name', { kind: 'container', name: 'b-name' }, [], [a, b], ['b']],
    [
      'a container by its short id',
      { kind: 'container', name: 'deadbeef0123' },
      [],
      [a, instance('deadbeef0123456789')],
      ['deadbeef0123456789'],
    ],
    ['no container by a service', { kind: 'container', name: 'web' }, [], [a, b], 'no_target'],
    [
      'two containers of one name',
      { kind: 'container', name: 'x' },
      [],
      [instance('a', { name: 'x' }), instance('b', { name: 'x', runtime: 'local' })],
      'ambiguous_target',
    ],
  ])('%s', (_, wanted, grounds, instances, outcome) => {
    const found = resolve(wanted, grounds, 1, instances, never);
    if (found.kind === 'none') expect(found.reason).toBe(outcome);
    else expect(found.aims.map((aim) => aim.instance.id)).toEqual(outcome);
  });

  it('takes the newest start that is named', () => {
    const found = resolve(web, [on('a', '1', 9), on('a', '2', 5)], 1, [a, b], never);
    expect(found).toMatchObject({ aims: [{ start: '2', at: 5, own: false }] });
  });

  it('counts what we caused only where there is nothing else', () => {
    const caused = (_: Instance, ground: Ground): boolean => ground.at === 9;
    const both = resolve(web, [on('a', '1', 9), on('a', '1', 5)], 1, [a, b], caused);
    expect(both).toMatchObject({ aims: [{ at: 5, own: false }] });
    const only = resolve(web, [on('a', '1', 9)], 1, [a, b], caused);
    expect(only).toMatchObject({ aims: [{ at: 9, own: true }] });
  });
});

describe('evidence', () => {
  const evidence = (more: Partial<Evidence>): Evidence => ({
    timestamp: '2026-01-01T00:00:01.000000001Z',
    text: '',
    labels: {},
    ...more,
  });

  it('has starts in one form', () => {
    const origin = { id: 'a', startedAt: '2026-01-01T01:00:00.5+01:00' };
    expect(groundsOf([evidence({ origin })])).toEqual([
      { id: 'a', start: '2026-01-01T00:00:00.500000000Z', at: 1767225601000, own: false },
    ]);
  });

  it.each<[what: string, Partial<Evidence>, own: boolean]>([
    ['a label', { labels: { by: 'reflexarc' } }, true],
    ['an event', { labels: { stream: 'events' }, text: 'action=die by=reflexarc' }, true],
    ['an event, quoted', { labels: { stream: 'events' }, text: 'by="reflexarc" action=die' }, true],
    ['an event by hand', { labels: { stream: 'events' }, text: 'action=die by=user' }, false],
    ['a line that says so', { labels: { stream: 'stdout' }, text: 'by=reflexarc' }, false],
  ])('knows our own by %s', (_, more, own) => {
    expect(groundsOf([evidence(more)])[0]?.own).toBe(own);
  });
});
