// How much of a core collecting takes: docker's json-file lines of 200 bytes from disk to encoded
// records on a bus that keeps nothing, beside the ceiling of reading and splitting the same file.
//   node bench/collect.ts [lines]
import { createWriteStream, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { Checkpoints } from '../collectors/checkpoints.ts';
import { Runs } from '../collectors/logs/runs.ts';
import { collectMeasures } from '../collectors/measures.ts';
import { Output } from '../collectors/output/output.ts';
import { Streams } from '../collectors/streams.ts';
import { jsonFileFramer } from '../collectors/tail/json-file.ts';
import { Tailing } from '../collectors/tail/tailing.ts';
import { MemoryState, testTelemetry } from '../collectors/testing/fakes.ts';
import type { Clock } from '../core/clock.ts';

const lines = Number(process.argv[2] ?? 1_000_000);
const folder = mkdtempSync(join(tmpdir(), 'reflexarc-bench-'));
const path = join(folder, 'c-json.log');

async function write(): Promise<number> {
  const file = createWriteStream(path);
  let bytes = 0;
  for (let batch = 0; batch < lines / 1000; batch++) {
    let text = '';
    for (let line = 0; line < 1000; line++) {
      const number = batch * 1000 + line;
      const log = `2026-01-02T03:04:05.678Z INFO  request ${number} served path="/api/items/${number % 97}" status=200 duration=${number % 251}ms user=u${number % 1013} trace=${number.toString(16).padStart(16, '0')}`;
      text += `${JSON.stringify({ log: `${log}\n`, stream: 'stdout', time: `2026-01-02T03:04:05.${String(number % 1e9).padStart(9, '0')}Z` })}\n`;
    }
    bytes += text.length;
    if (!file.write(text))
      await new Promise((resolve) => void file.once('drain', () => resolve(undefined)));
  }
  file.end();
  await finished(file);
  return bytes;
}

function ceiling(): number {
  const started = process.cpuUsage();
  const fd = openSync(path, 'r');
  const buffer = Buffer.alloc(1024 * 1024);
  let found = 0;
  for (let read = 1; read > 0; ) {
    read = readSync(fd, buffer, 0, buffer.length, null);
    const text = buffer.toString('latin1', 0, read);
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) found++;
  }
  const used = process.cpuUsage(started);
  return (used.user + used.system) / found;
}

async function collect(): Promise<{ cpu: number; rate: number }> {
  const telemetry = testTelemetry();
  const measures = collectMeasures(telemetry.metrics);
  const checkpoints = new Checkpoints({ state: new MemoryState(), telemetry, measures });
  let seen = 0;
  const done = Promise.withResolvers<void>();
  const output = new Output({
    bus: {
      publish: (_topic, messages) => {
        for (const message of messages) seen += message.records;
        if (seen >= lines) done.resolve();
        return new Promise((resolve) => setImmediate(resolve));
      },
    },
    telemetry,
    measures,
  });
  const maxLine = 256 * 1024;
  const tailing = new Tailing({ telemetry, measures, checkpoints, output, maxLine });
  const cpu = process.cpuUsage();
  const started = performance.now();
  const streams = new Streams({ service: 'bench', container: 'c', host: 'h' }, {});
  tailing.add(
    {
      path,
      key: 'bench',
      kind: 'docker',
      from: 'beginning',
      older: true,
      maxLine: maxLine + CHUNK_SPARE,
      linger: 0,
      name: (_place, fingerprint) => ({ source: 'docker:bench', generation: fingerprint }),
    },
    'docker:bench',
    (writer) =>
      jsonFileFramer({
        writer,
        streams: () => streams,
        runs: knownRuns(telemetry.clock),
        clock: telemetry.clock,
        maxLine,
      }),
  );
  await done.promise;
  const elapsed = performance.now() - started;
  const used = process.cpuUsage(cpu);
  await tailing.stop();
  await output.stop(1000);
  await checkpoints.stop();
  await tailing.close();
  return { cpu: (used.user + used.system) / lines, rate: lines / (elapsed / 1000) };
}

function knownRuns(clock: Clock): Runs {
  const runs = new Runs(clock, () => undefined);
  runs.started('2025-01-01T00:00:00Z');
  return runs;
}

const CHUNK_SPARE = 64 * 1024;

try {
  const bytes = await write();
  console.log(`${lines} lines of ${Math.round(bytes / lines)} bytes`);
  const base = ceiling();
  console.log(`ceiling, read and split: ${base.toFixed(2)} µs CPU a line`);
  for (let round = 0; round < 2; round++) {
    const { cpu, rate } = await collect();
    console.log(
      `collect: ${Math.round(rate)} lines/s, ${cpu.toFixed(2)} µs CPU a line, ${(cpu / base).toFixed(1)} times the ceiling`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
