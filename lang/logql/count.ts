import type { LogQueryable } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import { formatLabels, type Labels, labelsKey } from '../../core/labels.ts';
import { millisToNanos, type Nanos } from '../../core/time.ts';
import { ABSENT, emptyValues, type Grid, hasSample, type StepSeries } from '../series/grid.ts';
import { keep, labelOf } from '../series/labels.ts';
import type { Pace } from '../series/pace.ts';
import type { LogRangeNode } from './ast.ts';
import { compilePipeline, type Pipeline } from './pipeline.ts';
import { rowLabels } from './rows.ts';

/** Windows `(end - window, end]` in nanoseconds, one for each step. */
interface WindowGrid {
  readonly first: Nanos;
  readonly step: Nanos;
  readonly count: number;
  readonly window: Nanos;
}

/**
 * Lines or bytes in each step's window, by series; ABSENT for a window without a line. `by` sums
 * over all other labels. Counted by the queryable where the pipeline lets it; otherwise line by
 * line, in memory that grows with series and steps and not with lines.
 */
export async function countWindows(
  node: LogRangeNode,
  queryable: LogQueryable,
  grid: Grid,
  pace: Pace,
  by?: readonly string[],
): Promise<StepSeries[]> {
  const pipeline = compilePipeline(node.logs);
  const windows: WindowGrid = {
    first: millisToNanos(grid.start - node.offset),
    step: millisToNanos(grid.step),
    count: grid.count,
    window: millisToNanos(node.range),
  };
  const measure = node.op === 'bytes_over_time' || node.op === 'bytes_rate' ? 'bytes' : 'lines';
  const series = pipeline.pushable
    ? await pushDown(pipeline, queryable, windows, grid, pace, measure, by)
    : await readLines(node, pipeline, queryable, windows, grid, pace, measure, by);
  pace.made(series.length, grid.count);
  return series;
}

async function pushDown(
  { matchers, filters }: Pipeline,
  queryable: LogQueryable,
  { first, step, count, window }: WindowGrid,
  grid: Grid,
  pace: Pace,
  measure: 'lines' | 'bytes',
  by?: readonly string[],
): Promise<StepSeries[]> {
  const counted = await queryable.countLogs(
    {
      matchers,
      filters,
      start: first,
      end: first + BigInt(count - 1) * step,
      step,
      window,
      measure,
      ...(by === undefined ? {} : { by }),
    },
    pace.signal,
  );
  return counted.map(({ labels, points }) => {
    const values = emptyValues(grid);
    for (const { at, value } of points) values[Number((at - first) / step)] = value;
    return { labels, values };
  });
}

/** Differences from step to step; a line changes two of them, however many windows hold it. */
interface Tally {
  readonly labels: Labels;
  readonly lines: Float64Array;
  readonly bytes: Float64Array;
}

async function readLines(
  node: LogRangeNode,
  pipeline: Pipeline,
  queryable: LogQueryable,
  windows: WindowGrid,
  grid: Grid,
  pace: Pace,
  measure: 'lines' | 'bytes',
  by?: readonly string[],
): Promise<StepSeries[]> {
  const { first, step, count, window } = windows;
  const tallies = new Map<string, Tally>();
  const rows = queryable.selectLogs(
    {
      matchers: pipeline.matchers,
      filters: pipeline.filters,
      start: first - window + 1n,
      end: first + BigInt(count - 1) * step + 1n,
      direction: 'forward',
    },
    pace.signal,
  );
  for await (const batch of rows) {
    pace.read(batch.length);
    for (const row of batch) {
      const passed = pipeline.process(row.line, rowLabels(row));
      if (passed === undefined) continue;
      const from = Number(ceilDivide(row.timestamp - first, step));
      const to = Number(ceilDivide(row.timestamp + window - first, step)) - 1;
      const [begin, end] = [Math.max(0, from), Math.min(count - 1, to)];
      if (begin > end) continue;
      refuseFailed(node, passed.labels);
      const labels = by === undefined ? passed.labels : keep(passed.labels, by);
      const key = labelsKey(labels);
      let tally = tallies.get(key);
      if (tally === undefined) {
        tally = { labels, lines: new Float64Array(count + 1), bytes: new Float64Array(count + 1) };
        tallies.set(key, tally);
        pace.made(tallies.size, 0);
        pace.made(1, 2 * count);
      }
      const size = measure === 'bytes' ? Buffer.byteLength(row.line) : 1;
      tally.lines[begin] = (tally.lines[begin] ?? 0) + 1;
      tally.lines[end + 1] = (tally.lines[end + 1] ?? 0) - 1;
      tally.bytes[begin] = (tally.bytes[begin] ?? 0) + size;
      tally.bytes[end + 1] = (tally.bytes[end + 1] ?? 0) - size;
    }
    // A line costs about as much as some hundred additions.
    await pace.worked(batch.length * 100);
  }
  return [...tallies.values()]
    .map((tally) => ({ labels: tally.labels, values: runningSums(tally, grid) }))
    .filter(({ values }) => hasSample(values));
}

function runningSums({ lines, bytes }: Tally, grid: Grid): Float64Array {
  const values = emptyValues(grid);
  let [present, total] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    present += lines[i] ?? 0;
    total += bytes[i] ?? 0;
    values[i] = present > 0 ? total : ABSENT;
  }
  return values;
}

function ceilDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b > 0n ? quotient + 1n : quotient;
}

/** A line that a parser or a filter failed on would be counted wrongly: as Loki, no answer. */
function refuseFailed(node: LogRangeNode, labels: Labels): void {
  const error = labelOf(labels, '__error__');
  if (error === '') return;
  throw new ReflexarcError('bad_query', `pipeline error: ${error} for ${formatLabels(labels)}`, {
    where: node.logs.where,
    hint: 'leave such lines out with | __error__="" behind the parser, or select others',
  });
}
