import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatLabels } from '../../core/labels.ts';
import { formatValue } from '../format.ts';
import type { QueryValue } from '../value.ts';
import { evaluatePromQL } from './evaluate.ts';
import { parsePromQL } from './parse.ts';
import { type Case, inMemory, parseNumber, parseScript, parseSeries } from './testing.ts';

/** Expectations come from Prometheus' own engine (v3.5). */

type Line = { labels: string; values: (number | undefined)[] };

function actualLines(value: QueryValue, { start, end, step }: Case): Line[] {
  switch (value.type) {
    case 'scalar':
      return [{ labels: 'scalar', values: [value.value] }];
    case 'string':
      return [{ labels: `string ${value.value}`, values: [] }];
    case 'vector':
      return value.samples.map(({ labels, value: v }) => ({
        labels: formatLabels(labels),
        values: [v],
      }));
    default:
      return value.series.map(({ labels, timestamps, values }) => {
        // A range vector shows its own times.
        if (start === end) {
          const shown = [...timestamps].map((at, i) => `${at}:${formatValue(values[i] ?? 0)}`);
          return { labels: `${formatLabels(labels)} ${shown.join(' ')}`, values: [] };
        }
        const byTime = new Map([...timestamps].map((at, i) => [at, values[i]]));
        const all: (number | undefined)[] = [];
        for (let at = start; at <= end; at += step) all.push(byTime.get(at));
        return { labels: formatLabels(labels), values: all };
      });
  }
}

function expectedLine(line: string): Line {
  if (line.startsWith('string ')) return { labels: line, values: [] };
  if (line.startsWith('scalar ')) return { labels: 'scalar', values: [parseNumber(line.slice(7))] };
  const { labels, rest } = parseSeries(line);
  if (rest.includes(':')) return { labels: `${formatLabels(labels)} ${rest}`, values: [] };
  const values = rest.split(' ').map((text) => (text === '_' ? undefined : parseNumber(text)));
  return { labels: formatLabels(labels), values };
}

/** Sums of floats may differ in their last bit; NaN is NaN. */
function near(a: number | undefined, b: number | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  return Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b));
}

function same(actual: readonly Line[], expected: readonly Line[]): boolean {
  return (
    actual.length === expected.length &&
    actual.every(({ labels, values }, i) => {
      const other = expected[i];
      return (
        labels === other?.labels &&
        values.length === other.values.length &&
        values.every((value, k) => near(value, other.values[k]))
      );
    })
  );
}

// Where the engine promises no order, the lines are compared sorted.
const ordered = (query: string) => /^(?:sort|topk|bottomk)/.test(query);
const sorted = (lines: Line[]) => lines.toSorted((a, b) => (a.labels < b.labels ? -1 : 1));

for (const file of globSync(join(import.meta.dirname, 'testdata/*.test')).sort()) {
  const { series, cases } = parseScript(readFileSync(file, 'utf8'));
  describe(basename(file), () => {
    it.each(cases.map((one) => [`${one.line}: ${one.query}`, one] as const))(
      '%s',
      async (_, one) => {
        const run = async () =>
          evaluatePromQL(
            parsePromQL(one.query),
            inMemory(series),
            one,
            new AbortController().signal,
          );
        if (one.kind === 'fail') {
          await expect(run()).rejects.toThrow(one.expected[0]);
          return;
        }
        let actual = actualLines(await run(), one);
        let expected = one.expected.map(expectedLine);
        if (!ordered(one.query)) [actual, expected] = [sorted(actual), sorted(expected)];
        if (!same(actual, expected)) expect(actual).toEqual(expected);
      },
    );
  });
}
