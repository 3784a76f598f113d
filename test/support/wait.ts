import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks again and again, every few milliseconds, until there is an answer.
 *
 * @throws after `within` milliseconds, with the last error that `ask` threw as its cause
 */
export async function until<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  within = 20_000,
): Promise<T> {
  const end = performance.now() + within;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > end) {
      throw new Error(`waited ${within} ms in vain: ${what}`, { cause });
    }
    await sleep(15);
  }
}
