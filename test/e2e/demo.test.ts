import { expect, it } from 'vitest';
import { runCommand } from '../support/program.ts';

it('the demo heals all three services and says each step', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await runCommand(['demo', '--json']);
  expect(stderr).toBe('');
  const steps = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { service?: string; step: string; seconds: number });
  for (const service of ['queue-worker', 'web', 'uploads']) {
    const own = steps.filter((step) => step.service === service);
    expect(own.map((step) => step.step)).toEqual(
      expect.arrayContaining([
        'breaks',
        'detected',
        'decided',
        'acting',
        'restarted',
        'notified',
        'verified',
      ]),
    );
    // One case, one restart.
    expect(own.filter((step) => step.step === 'restarted')).toHaveLength(1);
    expect(own.map((step) => step.seconds)).toEqual(
      own.map((step) => step.seconds).sort((a, b) => a - b),
    );
  }
  expect(steps.at(-1)).toMatchObject({ step: 'end', healed: 3, all: 3 });
  expect(code).toBe(0);
});
