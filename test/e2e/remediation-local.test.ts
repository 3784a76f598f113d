import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ActionRecord } from '../../core/records/action.ts';
import { type Program, startUp } from '../support/program.ts';
import { until } from '../support/wait.ts';

/**
 * kill -9 of the program in the middle of a restart step, on local processes: the case is taken up
 * where it was, the step is not done twice, and the records say what happened.
 */
describe('remediation through kill -9', () => {
  let dir: string;
  let program: Program | undefined;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'reflexarc-kill-'));
    const script = join(dir, 'service.mjs');
    // It notes each of its starts, is ill in its first, and takes its time to end.
    await writeFile(
      script,
      `import { appendFileSync, readFileSync } from 'node:fs';
appendFileSync('starts', process.pid + '\\n');
const first = readFileSync('starts', 'utf8').trim().split('\\n').length === 1;
console.log(first ? 'level=error msg=stuck' : 'level=info msg=fine');
process.on('SIGTERM', () => {
  appendFileSync('ends', process.pid + '\\n');
  setTimeout(() => process.exit(0), 1500);
});
setInterval(() => undefined, 1000);
`,
    );
    await writeFile(
      join(dir, 'reflexarc.yaml'),
      `sources:
  docker: { enabled: false }
  host_metrics: 0s
  processes:
    - { name: worker, command: ['${process.execPath}', '${script}'], cwd: '${dir}' }
`,
    );
    await writeFile(
      join(dir, 'remediations.yaml'),
      `remediations:
  - name: unstick
    match: ['alertname="Stuck"']
    target: '{{ $labels.service }}'
    steps: [{ restart: { grace: 5s }, verify: { within: 30s, healthy_for: 500ms } }]
`,
    );
    await mkdir(join(dir, 'rules'));
    await writeFile(
      join(dir, 'rules', 'stuck.yaml'),
      `groups:
  - name: stuck
    type: logql
    interval: 1s
    rules:
      - alert: Stuck
        expr: sum by (service) (count_over_time({service="worker"} |= "msg=stuck" [1m])) > 0
`,
    );
  });
  afterEach(async () => {
    await program?.end('SIGTERM');
    await rm(dir, { recursive: true, force: true });
  });

  const lines = async (file: string): Promise<string[]> =>
    (await readFile(join(dir, file), 'utf8').catch(() => '')).split('\n').filter(Boolean);
  const actions = async (): Promise<ActionRecord[]> => {
    const answer = await fetch(`${program?.url}/api/actions?service=worker&limit=100`);
    return ((await answer.json()) as { actions: ActionRecord[] }).actions.reverse();
  };

  it('takes the step up, and does not do it twice', { timeout: 90_000 }, async () => {
    program = await startUp(dir);
    await until('the restart to be under way', async () => (await lines('ends')).length === 1);
    await program.end('SIGKILL');

    program = await startUp(dir);
    const told = await until(
      'the heal to be verified',
      async () => {
        const found = await actions();
        return found.at(-1)?.phase === 'verified' ? found : undefined;
      },
      60_000,
    );
    expect(await lines('starts')).toHaveLength(2);
    expect(await lines('ends')).toHaveLength(1);
    expect(new Set(told.map((record) => record.case)).size).toBe(1);
    expect(told.map((record) => record.phase).filter((phase) => phase !== 'waiting')).toEqual([
      'decided',
      'started',
      'done',
      'verified',
    ]);
    expect(told.find((record) => record.phase === 'done')?.reason).toBe('interrupted');
    expect(new Set(told.map((record) => record.id)).size).toBe(told.length);
  });
});
