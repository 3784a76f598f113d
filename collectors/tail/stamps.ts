import type { Clock } from '../../core/clock.ts';
import { formatMillis } from '../../core/time.ts';

/**
 * The time of reading as RFC 3339 with nine digits, strictly rising within this process. Much
 * cheaper than `formatRfc3339(clock.nowNanos())`, since the text up to the millisecond is kept.
 */
export function risingStamps(clock: Clock): () => string {
  let millis = 0;
  let prefix = '';
  let count = 0;
  return () => {
    const now = Math.floor(clock.now());
    if (now > millis) {
      millis = now;
      count = 0;
      prefix = formatMillis(millis).slice(0, 23);
    } else if (++count === 1_000_000) {
      millis++;
      count = 0;
      prefix = formatMillis(millis).slice(0, 23);
    }
    return `${prefix}${String(count).padStart(6, '0')}Z`;
  };
}
