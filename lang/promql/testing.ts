import type { SampleQueryable, SampleSeries } from '../../core/contracts/queryable.ts';
import { parseDuration } from '../../core/durations.ts';
import { compileMatchers, type Labels } from '../../core/labels.ts';
import { STALE_MARKER } from '../../core/records/metric.ts';
import { parseMatchers } from '../matchers.ts';

/**
 * Scripts for tests of PromQL. Times count from the epoch.
 *
 *     load 15s
 *       name{a="b"} 0+10x4 _ stale NaN +Inf 7x2
 *     eval 5m: sum(name)
 *       {} 40
 *     eval 0s to 10m step 5m: name
 *       name{a="b"} 0 _ 20
 *     fail 5m: name + on() name
 *       many-to-many
 *
 * `0+10x4` is a value and four more, each 10 above the last; `7x2` is 7 and two more; `_` is none.
 */
export interface Script {
  readonly series: readonly SampleSeries[];
  readonly cases: readonly Case[];
}

export interface Case {
  readonly line: number;
  readonly kind: 'eval' | 'fail';
  readonly query: string;
  readonly start: number;
  readonly end: number;
  readonly step: number;
  readonly expected: readonly string[];
}

export function parseScript(text: string): Script {
  const series: SampleSeries[] = [];
  const cases: (Case & { expected: string[] })[] = [];
  let interval = 0;
  let mode: 'load' | 'case' = 'load';
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/^#.*/, '').trimEnd();
    if (line === '') continue;
    if (!line.startsWith(' ')) {
      const load = /^load (\S+)$/.exec(line);
      const found = /^(eval|fail) (\S+?)(?: to (\S+) step (\S+))?: (.*)$/.exec(line);
      if (load?.[1] !== undefined) {
        mode = 'load';
        interval = parseDuration(load[1]);
      } else if (found !== null) {
        mode = 'case';
        const [, kind, start = '', end, step, query = ''] = found;
        cases.push({
          line: index + 1,
          kind: kind === 'eval' ? 'eval' : 'fail',
          query,
          start: parseDuration(start),
          end: parseDuration(end ?? start),
          step: parseDuration(step ?? '1m'),
          expected: [],
        });
      } else throw new Error(`line ${index + 1}: ${line}`);
    } else if (mode === 'load') series.push(loadSeries(line.trim(), interval));
    else cases.at(-1)?.expected.push(line.trim());
  }
  return { series, cases };
}

function loadSeries(line: string, interval: number): SampleSeries {
  const { labels, rest } = parseSeries(line);
  const timestamps: number[] = [];
  const values: number[] = [];
  let at = 0;
  for (const part of rest.split(/\s+/)) {
    for (const value of expandValues(part)) {
      if (value !== undefined) {
        timestamps.push(at);
        values.push(value);
      }
      at += interval;
    }
  }
  return { labels, timestamps: Float64Array.from(timestamps), values: Float64Array.from(values) };
}

/** `name{a="b"} rest` */
export function parseSeries(line: string): { labels: Labels; rest: string } {
  const found = /^([a-zA-Z_:][\w:]*)?(\{.*?\})?\s+(.*)$/.exec(line);
  if (found === null) throw new Error(`not a series: ${line}`);
  const [, name, matchers, rest = ''] = found;
  const labels: Record<string, string> = name === undefined ? {} : { __name__: name };
  for (const matcher of parseMatchers(matchers ?? '{}')) labels[matcher.name] = matcher.value;
  return { labels, rest };
}

export function parseNumber(text: string): number {
  if (text === 'stale') return STALE_MARKER;
  return Number(text.replace(/^([+-]?)Inf$/, '$1Infinity'));
}

function expandValues(part: string): (number | undefined)[] {
  if (part === '_') return [undefined];
  const found = /^(-?[\d.]+)(?:([+-][\d.]+))?x(\d+)$/.exec(part);
  if (found === null) return [parseNumber(part)];
  const [, first, step = '0', times] = found;
  return Array.from({ length: Number(times) + 1 }, (_, i) => Number(first) + i * Number(step));
}

/** Series in memory, selected as the contract says. */
export function inMemory(
  all: readonly SampleSeries[],
): SampleQueryable & { readonly reads: number } {
  let reads = 0;
  return {
    get reads() {
      return reads;
    },
    selectSamples({ matchers, start, end }) {
      reads++;
      const test = compileMatchers(matchers);
      const found = all
        .filter(({ labels }) => test(labels))
        .map(({ labels, timestamps, values }) => {
          const inside = (_: number, i: number) => {
            const at = timestamps[i] ?? Number.NaN;
            return at >= start && at <= end;
          };
          return { labels, timestamps: timestamps.filter(inside), values: values.filter(inside) };
        });
      return Promise.resolve(found.filter(({ timestamps }) => timestamps.length > 0));
    },
  };
}
