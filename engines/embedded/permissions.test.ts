import { globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { encodeLogs } from '../../core/records/codec.ts';
import { until } from '../../test/support/wait.ts';
import { openStoreIn } from './store/testing.ts';
import { makeFolder, openIn } from './testing.ts';

it.skipIf(process.platform === 'win32')(
  'what is in the data folder is its owner’s alone',
  async () => {
    const folder = await makeFolder();
    try {
      const data = join(folder.path, 'data');
      const { bus, state, close } = await openIn(data);
      await bus.publish('alerts', [{ key: 'k', value: Buffer.from('v'), records: 1 }]);
      await state.put([{ key: 'k', value: 'v' }]);
      const store = await openStoreIn(join(data, 'store'), {}, { tuning: { sealRows: 10 } });
      const stream = { labels: { service: 'web' }, resource: {} };
      const record = (id: number) => ({
        timestamp: '2026-01-02T03:04:05.000000000Z',
        id: `i${id}`,
        line: 'x',
        stream,
      });
      for (let from = 0; from < 90; from += 30) {
        const records = Array.from({ length: 30 }, (_, index) => record(from + index));
        await store.append('logs', [encodeLogs(records)]);
      }
      const segments = (): string[] =>
        globSync('data/store/logs/segments/**/*.parquet', { cwd: folder.path });
      await until('a segment', () => segments().length > 0);
      const modes = (): string[] =>
        globSync('**', { cwd: folder.path })
          .filter((name) => name !== '.' && name !== '')
          .flatMap((name) => {
            const stat = statSync(join(folder.path, name), { throwIfNoEntry: false });
            if (stat === undefined || (stat.isDirectory() && name !== 'data')) return [];
            return (stat.mode & 0o077) === 0 ? [] : [`${name} ${(stat.mode & 0o777).toString(8)}`];
          });

      await store.close();
      await close();
      expect(modes()).toEqual([]);
    } finally {
      await folder.remove();
    }
  },
);
