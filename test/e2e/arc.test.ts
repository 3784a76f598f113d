import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import { Containers, describeDocker } from '../support/docker.ts';
import { type Program, queryLines, startUp } from '../support/program.ts';
import { until } from '../support/wait.ts';

/**
 * The whole arc on the real Docker Engine, by the program as users run it and the example's rules: a
 * container logs and fails, its lines are found, a rule fires, a webhook arrives, the container is
 * restarted, the alert resolves, and the history is a query.
 */
interface Hooked {
  readonly status: string;
  readonly alerts: readonly {
    readonly status: string;
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  }[];
}

describeDocker('the arc on Docker', () => {
  const containers = new Containers();
  const hooks: Hooked[] = [];
  let server: Server;
  let dir: string;
  let program: Program;

  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        hooks.push(JSON.parse(body) as Hooked);
        response.end();
      });
    }).listen(0, '127.0.0.1');
    await until('the receiver to listen', () => server.listening);
  });
  afterAll(async () => {
    server.close();
    await containers.remove();
  });

  beforeEach(async () => {
    hooks.length = 0;
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-arc-'));
    await cp(join(import.meta.dirname, '..', '..', 'compose', 'example'), dir, { recursive: true });
    const { port } = server.address() as AddressInfo;
    const only = containers.name('');
    const files: Record<string, string> = {
      // Of all containers on this machine only this test's are acted upon.
      'remediations.yaml': `remediations:
  - name: restart-broken
    match: ['alertname=~"ContainerDied|ContainerUnhealthy"', 'service=~"${only}.*"']
    target: '{{ $labels.service }}'
    steps:
      - restart: { grace: 1s }
        verify: { within: 30s, healthy_for: 1s }
      - notify: { receiver: hook }
    limits: { cooldown: 0s, attempts: 5, window: 1h }
`,
      'notify.yaml': `route: { receiver: hook, group_by: [alertname, service], group_wait: 0s, group_interval: 1s }
receivers:
  - name: hook
    webhook_configs: [{ url: 'http://127.0.0.1:${port}/' }]
`,
      'rules/containers.yaml': `groups:
  - name: containers
    type: logql
    interval: 1s
    rules:
      - alert: ContainerDied
        expr: sum by (service, project, container) (count_over_time({stream="events"} | logfmt | action="die" | exit_code!="0" [5s])) > 0
      - alert: ContainerUnhealthy
        expr: sum by (service, project, container) (count_over_time({stream="events"} | logfmt | action="health_status" | health_status="unhealthy" [5s])) > 0
`,
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
    program = await startUp(dir);
  });
  afterEach(async () => {
    await program.end('SIGTERM');
    await rm(dir, { recursive: true, force: true });
  });

  const get = async <T>(path: string): Promise<T> =>
    (await (await fetch(`${program.url}${path}`)).json()) as T;
  const actionsOf = async (service: string): Promise<ActionRecord[]> =>
    (await get<{ actions: ActionRecord[] }>(`/api/actions?service=${service}&limit=1000`)).actions;
  const alertsOf = async (service: string): Promise<AlertRecord[]> =>
    (await get<{ alerts: AlertRecord[] }>(`/api/alerts?service=${service}&limit=1000`)).alerts;
  const phases = async (service: string): Promise<string[]> =>
    (await actionsOf(service)).map(({ phase }) => phase).reverse();
  const startOf = async (id: string): Promise<string> =>
    (await containers.docker.getContainer(id).inspect()).State.StartedAt;

  it('heals a container that crashed, and can tell the whole story', {
    timeout: 90_000,
  }, async () => {
    const service = containers.name('crash');
    // It lives until it is told, and for good the second time.
    const id = await containers.run(
      'crash',
      'echo "level=info msg=up"; test -e /again && exec sleep 600; touch /again; while [ ! -e /die ]; do sleep 0.1; done; echo "level=error msg=giving-up"; exit 3',
    );
    const first = await startOf(id);
    await until(
      'its line to be found',
      async () =>
        (await queryLines(program.url, `{service="${service}", stream="stdout"} |= "msg=up"`))
          .length === 1,
    );
    await containers.exec(id, 'touch', '/die');

    await until('the heal to be verified', async () =>
      (await phases(service)).includes('verified'),
    );
    expect(await phases(service)).toEqual(['decided', 'started', 'done', 'verified']);
    expect(await startOf(id)).not.toBe(first);
    expect((await containers.docker.getContainer(id).inspect()).State.Running).toBe(true);
    const [action] = await actionsOf(service);
    expect(action).toMatchObject({
      remediation: 'restart-broken',
      target: { service, origin: { id } },
    });

    // Firing, how the heal went, and resolved.
    await until('the webhook to tell the end', () =>
      hooks.some(({ status }) => status === 'resolved'),
    );
    expect(hooks[0]).toMatchObject({
      status: 'firing',
      alerts: [{ status: 'firing', labels: { alertname: 'ContainerDied', service } }],
    });
    expect(
      hooks
        .flatMap(({ alerts }) => alerts)
        .some(({ annotations }) => /healthy|verified/.test(annotations['remediation'] ?? '')),
    ).toBe(true);

    const alerts = await until('the history to hold the resolution', async () => {
      const found = await alertsOf(service);
      return found.some(({ state }) => state === 'resolved') ? found : undefined;
    });
    const firing = alerts.find(({ state }) => state === 'firing');
    expect(firing?.evidence[0]).toMatchObject({ origin: { id } });
    expect(firing?.evidence[0]?.text).toMatch(/^action=die .*exit_code=3/);

    // One query, the whole story in order.
    const story = await queryLines(program.url, `{service="${service}"}`);
    const at = (text: RegExp): number => story.findIndex((line) => text.test(line));
    const order = [
      /msg=up/,
      /giving-up/,
      /action=die/,
      /state=firing/,
      /phase=started/,
      /phase=verified/,
      /state=resolved/,
    ].map(at);
    expect(order).not.toContain(-1);
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it('heals a container that turned unhealthy', { timeout: 90_000 }, async () => {
    const service = containers.name('sick');
    const id = await containers.run('sick', 'exec sleep 600', {
      Healthcheck: {
        Test: ['CMD-SHELL', 'test ! -e /sick || { rm /sick.once 2>/dev/null; exit 1; }'],
        Interval: 300_000_000,
        Timeout: 2_000_000_000,
        Retries: 2,
        StartPeriod: 0,
      },
    });
    await until(
      'it to be healthy',
      async () =>
        (await containers.docker.getContainer(id).inspect()).State.Health?.Status === 'healthy',
    );
    const first = await startOf(id);
    await containers.exec(id, 'touch', '/sick');
    await until('it to be restarted', async () => (await startOf(id)) !== first);
    // What made it sick is gone with its restart, as a hung process would be.
    await containers.exec(id, 'rm', '-f', '/sick');
    await until(
      'the heal to be verified',
      async () => (await phases(service)).includes('verified'),
      40_000,
    );
    // What our own restart made the container do is another case, and no ground to act.
    const all = await actionsOf(service);
    const healed = all.find(({ phase }) => phase === 'verified')?.case;
    const own = all.filter((action) => action.case === healed).map(({ phase }) => phase);
    expect(own.reverse()).toEqual(['decided', 'started', 'done', 'verified']);
    expect(all.filter(({ phase }) => phase === 'started')).toHaveLength(1);
  });

  it('leaves alone what somebody stopped, and what Docker brings back', {
    timeout: 90_000,
  }, async () => {
    const stopped = await containers.run(
      'stopped',
      "trap 'exit 7' TERM; while :; do sleep 0.1; done",
    );
    const kept = await containers.run('kept', 'sleep 1; exit 4', {
      HostConfig: {
        NetworkMode: 'none',
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 },
      },
    });
    await until(
      'the start to be seen',
      async () =>
        (
          await queryLines(
            program.url,
            `{service="${containers.name('stopped')}", stream="events"} |= "action=start"`,
          )
        ).length > 0,
    );
    await containers.docker.getContainer(stopped).stop({ t: 5 });
    const refusal = async (name: string): Promise<string | undefined> =>
      (await actionsOf(containers.name(name))).find(({ phase }) => phase === 'refused')?.reason;
    expect(await until('a refusal', () => refusal('stopped'))).toBe('stopped_by_hand');
    // Docker may have brought it back before anybody looked: then it is another start.
    expect(['engine_acts', 'changed']).toContain(await until('a refusal', () => refusal('kept')));
    expect((await phases(containers.name('stopped'))).includes('started')).toBe(false);
    expect((await containers.docker.getContainer(stopped).inspect()).State.Running).toBe(false);
    await containers.docker.getContainer(kept).remove({ force: true });
  });
});
