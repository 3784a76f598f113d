import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DuckDBInstance } from '@duckdb/node-api';
import pino from 'pino';
import { Registry } from 'prom-client';
import { systemClock } from '../core/clock.ts';
import type { LogSelect } from '../core/contracts/queryable.ts';
import { decodeLogs, encodeLog, lineId, StreamCache, sourceId } from '../core/records/codec.ts';
import { openEmbeddedStore } from '../engines/embedded/store/open.ts';
import { heading, MIB, percentile, row, usageOf } from './support.ts';

/** The embedded store alone: ingest, memory, and queries over one day of lines. */

const LINES = Number(process.env['LINES'] ?? 5_000_000);
const BATCH = 4000;
const SERVICES = 20;
const DAY = 86_400_000_000_000n;
const START = BigInt(Date.UTC(2026, 0, 5)) * 1_000_000n;

heading(`Store: ${LINES} lines in one day, ${SERVICES} services`, 'npm run bench store');

const folder = mkdtempSync(join(tmpdir(), 'reflexarc-bench-'));
const telemetry = {
  log: pino({ level: 'warn' }),
  metrics: new Registry(),
  clock: systemClock,
};
const store = await openEmbeddedStore({
  folder,
  maxSize: 100e9,
  maxAge: 365 * 86_400_000,
  memory: 160 * MIB,
  telemetry,
});

const width = 7;
const prefix = sourceId('bench', '1');
/** One message as the collector writes it; the bytes that differ from batch to batch are patched. */
const batches = Array.from({ length: SERVICES }, (_, service) => batchOf(service));

function batchOf(service: number) {
  const stream = {
    labels: {
      service: `service-${service}`,
      container: `service-${service}-1`,
      host: 'bench',
      stream: 'stdout',
      level: 'info',
    },
    resource: {
      'host.name': 'bench',
      'service.name': `service-${service}`,
      'container.id': `${service}`.padStart(64, 'a'),
      'reflexarc.source': 'bench',
      'reflexarc.generation': '1',
    },
  };
  const lines = Array.from({ length: BATCH }, (_, index) => {
    const line = `level=info msg="request handled" method=GET path=/api/v1/items/${(index * 7919) % 100_003} status=${index % 50 === 0 ? 500 : 200} duration=${(index * 31) % 977}ms trace=${((index + 1) * 2_654_435_761).toString(36)}${((index + service) * 40_503_123).toString(36)} user=${index % 1000} bytes=${(index * 13) % 65_537} agent="Mozilla/5.0"`;
    const position = 36 ** (width - 1);
    return encodeLog({
      timestamp: '2026-01-05T00:00:00.000000000Z',
      id: lineId(prefix, position),
      position,
      line,
      stream,
    });
  });
  const bytes = Buffer.from(lines.join(''));
  const offsets: number[] = [];
  let at = 0;
  for (const line of lines) {
    offsets.push(at);
    at += Buffer.byteLength(line);
  }
  return { bytes, offsets };
}

const timeAt = '{"@timestamp":"'.length;
const idAt = bytesBefore('.', 0) + 1;
const positionAt = bytesBefore('"reflexarc.position":', 0) + '"reflexarc.position":'.length;
function bytesBefore(text: string, from: number): number {
  const bytes = batches[0]?.bytes;
  const start = bytes?.indexOf(prefix) ?? 0;
  return bytes?.indexOf(text, text === '.' ? start : from) ?? 0;
}

let made = 0;
function nextBatch(service: number): Uint8Array {
  const { bytes, offsets } = batches[service] ?? batchOf(service);
  const first = START + (BigInt(made) * DAY) / BigInt(LINES);
  const step = DAY / BigInt(LINES);
  const base = 36 ** (width - 1);
  let second = '';
  let last = 0;
  let nanos = first;
  for (const offset of offsets) {
    const ms = Number(nanos / 1_000_000n);
    if (Math.floor(ms / 1000) !== last) {
      last = Math.floor(ms / 1000);
      second = new Date(ms).toISOString().slice(0, 19);
    }
    bytes.write(
      `${second}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}Z`,
      offset + timeAt,
      'latin1',
    );
    const position = base + made++;
    bytes.write(position.toString(36), offset + idAt, 'latin1');
    bytes.write(position.toString(), offset + positionAt, 'latin1');
    nanos += step;
  }
  return bytes;
}

// The ceiling of all that follows: reading the same bytes, on one core, and doing nothing with them.
const decodeRate = (() => {
  const cache = new StreamCache();
  const value = batches[0]?.bytes ?? Buffer.alloc(0);
  for (let i = 0; i < 5; i++) decodeLogs(value, cache);
  const from = performance.now();
  for (let i = 0; i < 50; i++) decodeLogs(value, cache);
  return (50 * BATCH) / ((performance.now() - from) / 1000);
})();

const loop = monitorEventLoopDelay({ resolution: 5 });
const startCpu = usageOf(process.pid).cpu;
const started = performance.now();
let making = 0;
const under: Promise<unknown>[] = [];
for (let batch = 0; made < LINES; batch++) {
  const from = performance.now();
  const value = nextBatch(batch % SERVICES);
  making += performance.now() - from;
  // A few at a time, as the ingest service has them under way.
  under.push(store.append('logs', [value]));
  if (under.length > 4) await under.shift();
}
await Promise.all(under);
const took = (performance.now() - started) / 1000;
const rate = made / took;
const usage = usageOf(process.pid);
const cpu = usage.cpu - startCpu - making / 1000;
row(
  'ingest, records/s (goal 185k)',
  Math.round(rate).toLocaleString('en'),
  `${(rate / decodeRate).toFixed(2)} of decoding alone (${Math.round(decodeRate).toLocaleString('en')}/s)`,
);
row(
  '  of that, making the records on the same cores, s',
  (making / 1000).toFixed(1),
  `of ${took.toFixed(1)} s`,
);
row('  CPU of all threads without that, µs a record', ((cpu / made) * 1e6).toFixed(1));
row('peak memory of the process, MiB (limit 700)', (usage.peakRssBytes / MIB).toFixed(0));
const { bytes } = await store.stats();
row(
  'bytes on disk a record',
  (bytes / made).toFixed(1),
  `${((batches[0]?.bytes.length ?? 0) / BATCH).toFixed(0)} on the bus`,
);
// One rare line in the middle of the day.
await store.append('logs', [
  Buffer.from(
    encodeLog({
      timestamp: '2026-01-05T09:30:00.000000000Z',
      id: 'rare',
      line: 'a needle_in_the_haystack, once',
      stream: { labels: { service: 'service-3' }, resource: {} },
    }),
  ),
]);

const day = { start: START, end: START + DAY };
const signal = new AbortController().signal;

async function select(query: Partial<LogSelect>): Promise<number> {
  let rows = 0;
  const whole = { ...day, matchers: [], filters: [], direction: 'backward' as const, ...query };
  for await (const part of store.selectLogs(whole, signal)) rows += part.length;
  return rows;
}

async function timed(
  run: () => Promise<number>,
): Promise<{ ms: number; cold: number; rows: number }> {
  const times: number[] = [];
  let rows = 0;
  for (let i = 0; i < 8; i++) {
    const from = performance.now();
    rows = await run();
    times.push(performance.now() - from);
  }
  return { ms: percentile(times.slice(1), 50), cold: times[0] ?? 0, rows };
}

// What DuckDB alone takes to look at every line of the same files.
const duckdb = await (
  await DuckDBInstance.create(':memory:', { memory_limit: '256MiB' })
).connect();
const files = globSync(join(folder, 'logs', 'segments', '*', '*.parquet'));
const scanOf = (sql: string) =>
  timed(async () => {
    const found = await duckdb.runAndReadAll(
      sql.replace('SEGMENTS', `read_parquet([${files.map((file) => `'${file}'`).join(',')}])`),
    );
    return found.currentRowCount;
  });
const scan = await scanOf("SELECT count(*) FROM SEGMENTS WHERE contains(line, 'needle_in_the')");
const scanTimes = await scanOf('SELECT ts // 60000000000, count(*) FROM SEGMENTS GROUP BY 1');

loop.enable();
const service = [{ name: 'service', op: '=' as const, value: 'service-3' }];
const newest = await timed(() =>
  select({ matchers: service, filters: [{ op: '|=', value: 'status=500' }], limit: 100 }),
);
const rare = await timed(() =>
  select({ filters: [{ op: '|=', value: 'needle_in_the_haystack' }], limit: 100 }),
);
const regex = await timed(() =>
  select({ filters: [{ op: '|~', value: 'needle_in_.*once$' }], limit: 100 }),
);
const count = await timed(async () => {
  const minute = 60_000_000_000n;
  const series = await store.countLogs(
    {
      matchers: [],
      filters: [],
      start: START + minute,
      end: START + DAY,
      step: minute,
      window: minute,
      measure: 'lines',
      by: [],
    },
    signal,
  );
  return series.reduce((sum, { points }) => sum + points.length, 0);
});
loop.disable();

const against = (ms: number, ceiling: number): string =>
  `${(ms / ceiling).toFixed(2)} of DuckDB's bare scan (${ceiling.toFixed(0)} ms)`;
const show = (what: string, { ms, cold, rows }: typeof newest, ceiling: number): void =>
  row(
    what,
    `${ms.toFixed(0)} ms`,
    `${against(ms, ceiling)}; ${rows} rows; first ${cold.toFixed(0)} ms`,
  );
show('newest 100 of a service with a literal (goal 100)', newest, scan.ms);
show('a rare literal over the day (goal 1000)', rare, scan.ms);
show('a rare regex over the day', regex, scan.ms);
show('count by minute over the day (goal 500)', count, scanTimes.ms);
row("main event loop's delay meanwhile, p99", `${(loop.percentile(99) / 1e6).toFixed(1)} ms`);
row('peak memory after the queries, MiB', (usageOf(process.pid).peakRssBytes / MIB).toFixed(0));

await store.close();
rmSync(folder, { recursive: true, force: true });
