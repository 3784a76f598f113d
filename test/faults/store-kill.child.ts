import { writeSync } from 'node:fs';
import { argv } from 'node:process';
import { encodeLogs, lineId, sourceId } from '../../core/records/codec.ts';
import type { Step } from '../../engines/embedded/store/report.ts';
import { openStoreIn } from '../../engines/embedded/store/testing.ts';

// Appends numbered lines, from the first on that the store has not committed, and checks by queries
// that each is there once, until it is killed or dies at a step. Says what was acknowledged.
const [, , folder = '', dieAt = ''] = argv;
const stream = {
  labels: { service: 'web' },
  resource: { 'reflexarc.source': 's', 'reflexarc.generation': '1' },
};
const T0 = 1_767_323_045_000_000_000n;
const store = await openStoreIn(
  folder,
  // Small enough that segments are removed, too.
  dieAt === 'retain-manifest-written' ? { maxSize: 20_000 } : {},
  { tuning: { sealRows: 400 }, ...(dieAt === '' ? {} : { dieAt: dieAt as Step }) },
);
const say = (text: string): number => writeSync(1, `${text}\n`);
say('open');

const record = (number: number) => ({
  timestamp: `2026-01-02T03:04:05.${String(number).padStart(9, '0')}Z`,
  id: lineId(sourceId('s', '1'), number),
  position: number,
  line: `line ${number}`,
  stream,
});

let next = (await store.position('g', 'logs', 0)) ?? 0;
async function append(): Promise<void> {
  for (;;) {
    const count = 1 + Math.floor(Math.random() * 150);
    const from = next;
    const records = Array.from({ length: count }, (_, index) => record(from + index));
    // Pushed lines beside them, told apart by id.
    const free = { ...record(from), id: `free-${from}`, position: undefined, line: `free ${from}` };
    const { position: _, ...pushed } = free;
    await store.append('logs', [encodeLogs(records), encodeLogs([pushed])], {
      group: 'g',
      topic: 'logs',
      partition: 0,
      next: from + count,
    });
    next = from + count;
    say(`a ${from} ${next}`);
    if (dieAt === 'retain-manifest-written') await store.retain();
  }
}

async function query(): Promise<void> {
  for (;;) {
    const known = next;
    const seen = new Map<string, number>();
    const whole = { start: T0, end: T0 + 2_000_000_000n, matchers: [], filters: [] };
    for await (const rows of store.selectLogs(
      { ...whole, direction: 'forward' },
      new AbortController().signal,
    )) {
      for (const { id } of rows) seen.set(id, (seen.get(id) ?? 0) + 1);
    }
    for (const [id, times] of seen) if (times !== 1) say(`twice ${id}`);
    if (dieAt === 'retain-manifest-written') continue;
    for (let number = 0; number < known; number++) {
      if (!seen.has(record(number).id)) say(`missing ${number}`);
    }
  }
}

await Promise.all([append(), query()]);
