import { expect, it } from 'vitest';
import { encodeLogs, lineId, sourceId } from '../../../core/records/codec.ts';
import { makeFolder } from '../testing.ts';
import { openStoreIn } from './testing.ts';

const T0 = 1_767_323_045_000_000_000n;
const stream = {
  labels: { service: 'web' },
  resource: { 'reflexarc.source': 's', 'reflexarc.generation': '1' },
};

it('answers right rows while others are appended', { timeout: 60_000 }, async () => {
  const folder = await makeFolder();
  try {
    for (let round = 0; round < 3; round++) {
      const store = await openStoreIn(`${folder.path}/${round}`);
      const prefix = sourceId('s', '1');
      let next = 0;
      let wrong = 0;
      const append = async (): Promise<void> => {
        while (next < 3000) {
          const from = next;
          const records = Array.from({ length: 1 + ((from * 7) % 150) }, (_, index) => ({
            timestamp: `2026-01-02T03:04:05.${String(from + index).padStart(9, '0')}Z`,
            id: lineId(prefix, from + index),
            position: from + index,
            line: `line ${from + index}`,
            stream,
          }));
          await store.append('logs', [encodeLogs(records)]);
          next = from + records.length;
        }
      };
      const query = async (): Promise<void> => {
        const signal = new AbortController().signal;
        const whole = { start: T0, end: T0 + 2_000_000_000n, matchers: [], filters: [] };
        while (next < 3000) {
          const known = next;
          let seen = 0;
          for await (const rows of store.selectLogs({ ...whole, direction: 'forward' }, signal)) {
            for (const { line, id, timestamp } of rows) {
              const right =
                line === `line ${seen}` &&
                id === lineId(prefix, seen) &&
                timestamp === T0 + BigInt(seen);
              if (!right) wrong++;
              seen++;
            }
          }
          if (seen < known) wrong++;
        }
      };
      await Promise.all([append(), query(), query()]);
      await store.close();
      expect(wrong).toBe(0);
    }
  } finally {
    await folder.remove();
  }
});
