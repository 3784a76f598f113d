import type { LineFilter } from '../../core/contracts/queryable.ts';
import { messageOf } from '../../core/errors.ts';
import { compileMatchers, type Labels, type Matcher } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import type { LineFilterStage, LogSelectorExpr, Stage } from './ast.ts';
import { readJson } from './json.ts';
import { compileLabelFilter } from './label-filter.ts';
import { readLogfmt } from './logfmt.ts';
import { sanitizeLabel } from './sanitize.ts';
import { Scratch } from './scratch.ts';

/** A log query, ready to be run over lines. Holds no state between lines. */
export interface Pipeline {
  readonly matchers: readonly Matcher[];
  /** Line filters of the query: a line that fails one of them never passes. */
  readonly filters: readonly LineFilter[];
  /** The pipeline is its `filters` and nothing else. */
  readonly pushable: boolean;
  /** Whether a stream is selected. */
  matches(labels: Labels): boolean;
  /** A line of a selected stream through all stages; undefined when a filter drops it. */
  process(line: string, labels: Labels): Processed | undefined;
}

export interface Processed {
  readonly line: string;
  /** With what parsers found, and `__error__` where one failed. */
  readonly labels: Labels;
}

/** False: the line is dropped. */
type Run = (line: string, labels: Scratch) => boolean;

/** @throws bad_query when a regex does not compile */
export function compilePipeline(expr: LogSelectorExpr): Pipeline {
  const runs = expr.stages.map(compileStage);
  const pushable = expr.stages.every(({ kind }) => kind === 'line');
  // No stage built today changes the line, so that a line filter may run before all others.
  const filters = expr.stages.flatMap((stage) => (stage.kind === 'line' ? filtersOf(stage) : []));
  const matches = compileMatchers(expr.matchers);
  return {
    matchers: expr.matchers,
    filters,
    pushable,
    matches,
    process(line, labels) {
      const scratch = new Scratch(labels);
      for (const run of runs) if (!run(line, scratch)) return undefined;
      return { line, labels: scratch.result() };
    },
  };
}

/** `|= "a" or "b"` has no form of its own in the contract: it becomes one regex. */
function filtersOf({ op, values }: LineFilterStage): LineFilter[] {
  const [first] = values;
  if (first === undefined) return [];
  if (values.length === 1 || op === '!=' || op === '!~') {
    return values.map((value) => ({ op, value }));
  }
  const parts = op === '|=' ? values.map(quoteRegex) : values;
  return [{ op: '|~', value: parts.map((part) => `(?:${part})`).join('|') }];
}

const quoteRegex = (text: string): string => text.replaceAll(/[\\.+*?()|[\]{}^$]/g, '\\$&');

function compileStage(stage: Stage): Run {
  switch (stage.kind) {
    case 'line':
      return compileLine(stage);
    case 'label': {
      const test = compileLabelFilter(stage.filter);
      return (_, labels) => test(labels);
    }
    case 'logfmt':
      return (line, labels) => {
        const problem = readLogfmt(line, stage.strict, (key, value) => {
          if (value !== '' || stage.keepEmpty) labels.extract(sanitizeLabel(key), value);
        });
        if (stage.strict && problem !== undefined) labels.fail('LogfmtParserErr', problem);
        return true;
      };
    default:
      return (line, labels) => {
        try {
          readJson(line, (key, value) => labels.extract(key, value));
        } catch (error) {
          // Whatever the line holds, it stays a line: the error is a label that a query can see.
          labels.fail('JSONParserErr', messageOf(error));
        }
        return true;
      };
  }
}

function compileLine({ op, values }: LineFilterStage): Run {
  const wanted = op === '|=' || op === '|~';
  const tests = values.map((value) => {
    if (op === '|=' || op === '!=') return (line: string) => line.includes(value);
    const regex = compileRegex(value);
    return (line: string) => regex.test(line);
  });
  return (line) => tests.some((test) => test(line)) === wanted;
}
