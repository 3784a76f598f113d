import { describe, expect, it } from 'vitest';
import {
  describe as describeContainer,
  type EngineFacts,
  fromHere,
  type Inspected,
  identityOf,
} from './identity.ts';

const facts: EngineFacts = {
  root: '/var/lib/docker',
  logRoot: '/var/lib/docker',
  dualLogging: true,
};

describe('who a container is', () => {
  it.each([
    ['nothing', {}, { service: 'web-1' }],
    ['our label', { 'reflexarc.service': 'web' }, { service: 'web' }],
    [
      'Compose, before our label',
      {
        'reflexarc.service': 'other',
        'com.docker.compose.project': 'shop',
        'com.docker.compose.service': 'web',
        'com.docker.compose.container-number': '2',
      },
      {
        service: 'web',
        project: 'shop',
        orchestrator: { type: 'compose', service: 'web', task: '2', namespace: 'shop' },
      },
    ],
    [
      'Swarm, before Compose',
      {
        'com.docker.compose.service': 'other',
        'com.docker.stack.namespace': 'shop',
        'com.docker.swarm.service.name': 'shop_web',
        'com.docker.swarm.task.id': 't1',
      },
      {
        service: 'shop_web',
        project: 'shop',
        orchestrator: { type: 'swarm', service: 'shop_web', task: 't1', namespace: 'shop' },
      },
    ],
    ['an empty label', { 'reflexarc.service': '' }, { service: 'web-1' }],
  ])('by %s', (_, labels, identity) => expect(identityOf(labels, 'web-1')).toEqual(identity));
});

const inspected = (over: {
  state?: Partial<Inspected['State']>;
  host?: Inspected['HostConfig'];
  logPath?: string;
}): Inspected => ({
  Id: 'ab12',
  Name: '/web',
  Image: 'sha256:1',
  RestartCount: 2,
  LogPath: over.logPath ?? '/var/lib/docker/containers/ab12/ab12-json.log',
  Config: { Image: 'web:1', Labels: null },
  State: { Status: 'running', StartedAt: '0001-01-01T00:00:00Z', ...over.state },
  HostConfig: over.host ?? {},
});

describe('what a container is', () => {
  it('gives times in the one form, and none for never', () => {
    const { instance } = describeContainer(
      'docker',
      inspected({
        state: {
          Status: 'exited',
          StartedAt: '2026-01-02T03:04:05.12Z',
          FinishedAt: '2026-01-02T03:04:06Z',
          ExitCode: 3,
        },
      }),
      facts,
      'sha256:1',
    );
    expect(instance).toMatchObject({
      startedAt: '2026-01-02T03:04:05.120000000Z',
      finishedAt: '2026-01-02T03:04:06.000000000Z',
      exitCode: 3,
      image: 'web:1',
      imageDigest: 'sha256:1',
      restarts: 2,
    });
    const never = describeContainer(
      'docker',
      inspected({ state: { Status: 'created' } }),
      facts,
      undefined,
    );
    expect(never.instance.startedAt).toBeUndefined();
    expect(never.instance.exitCode).toBeUndefined();
  });

  it.each([
    [
      'json-file',
      {},
      true,
      { format: 'json-file', path: '/var/lib/docker/containers/ab12/ab12-json.log' },
    ],
    ['local', {}, true, { format: 'api', driver: 'local' }],
    ['journald', {}, false, { format: 'api', driver: 'journald' }],
    ['none', {}, true, { format: 'none', driver: 'none' }],
    ['syslog', {}, true, { format: 'api', driver: 'syslog' }],
    ['syslog', { 'cache-disabled': 'true' }, true, { format: 'none', driver: 'syslog' }],
    ['syslog', {}, false, { format: 'none', driver: 'syslog' }],
  ])('log driver %s %j, cache %j', (Type, Config, dualLogging, log) => {
    const host = { LogConfig: { Type, Config: Config as Record<string, string> } };
    const found = describeContainer(
      'docker',
      inspected({ host }),
      { ...facts, dualLogging },
      undefined,
    );
    expect(found.instance.log).toEqual(log);
  });

  it('names the file of a container that never ran', () => {
    const found = describeContainer('docker', inspected({ logPath: '' }), facts, undefined);
    expect(found.instance.log).toEqual({
      format: 'json-file',
      path: '/var/lib/docker/containers/ab12/ab12-json.log',
    });
  });

  it.each([
    ['/var/lib/docker', '/var/lib/docker', '/var/lib/docker/x', '/var/lib/docker/x'],
    ['/mnt/docker', '/var/lib/docker', '/mnt/docker/x', '/mnt/docker/x'],
    ['/mnt/docker', '/host/docker', '/mnt/docker/x', '/host/docker/x'],
    ['/var/lib/docker', '/host/docker/', '/var/lib/docker/x', '/host/docker/x'],
    ['/var/lib/docker', '/host', '/var/lib/docker-other/x', '/var/lib/docker-other/x'],
  ])('root %s seen at %s: %s is %s', (root, logRoot, path, here) => {
    expect(fromHere(path, { ...facts, root, logRoot })).toBe(here);
  });
});
