import type { Logger } from 'pino';
import { systemClock } from '../core/clock.ts';
import type { Running } from './run.ts';

const DRAIN_MS = 10_000;

/**
 * Waits for SIGTERM or SIGINT, then drains and checkpoints within ten seconds; a second signal ends
 * the process at once. SIGHUP reads the files again.
 */
export async function stopOnSignals(
  running: Pick<Running, 'stop' | 'reload'>,
  log: Logger,
): Promise<void> {
  // Timers of the clock do not keep a process alive; waiting for a signal has to.
  const alive = setInterval(() => undefined, 1 << 30);
  process.on('SIGHUP', () => {
    running.reload().catch((error: unknown) => log.error({ err: error }, 'reload failed'));
  });
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => process.exit(name === 'SIGTERM' ? 143 : 130));
  }
  log.info(`${signal}: draining; once more ends at once`);
  const timer = systemClock.after(DRAIN_MS, () => {
    log.error(
      `not drained within ${DRAIN_MS / 1000} s: ending; what was not checkpointed is read again`,
    );
    process.exit(1);
  });
  const began = systemClock.monotonic();
  await running.stop();
  log.info({ ms: Math.round(systemClock.monotonic() - began) }, 'drained');
  timer.cancel();
  clearInterval(alive);
}
