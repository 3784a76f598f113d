import type { Matcher } from '../../core/labels.ts';
import { compileRegex } from '../../core/regex.ts';
import type { Comparison, LabelFilter } from './ast.ts';
import type { Scratch } from './scratch.ts';
import { parseByteSize, parseFloatStrict, parseGoDuration } from './units.ts';

type Test = (labels: Scratch) => boolean;

const COMPARE: Readonly<Record<Comparison, (a: number, b: number) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
};

const READ = {
  number: parseFloatStrict,
  duration: parseGoDuration,
  bytes: parseByteSize,
} as const;

/** @throws bad_query when a regex does not compile */
export function compileLabelFilter(filter: LabelFilter): Test {
  switch (filter.kind) {
    case 'and':
    case 'or': {
      const [left, right] = [compileLabelFilter(filter.left), compileLabelFilter(filter.right)];
      return filter.kind === 'and'
        ? (labels) => left(labels) && right(labels)
        : (labels) => left(labels) || right(labels);
    }
    case 'match':
      return compileMatch(filter.matcher);
    default: {
      const { name, op, value, unit } = filter;
      const [compare, read] = [COMPARE[op], READ[unit]];
      // As in Loki: without the label the line is dropped; what cannot be read passes, marked; and
      // a line that failed before passes.
      return (labels) => {
        if (labels.failed) return true;
        const text = labels.get(name);
        if (text === '') return false;
        const found = read(text);
        if (found !== undefined) return compare(found, value);
        labels.fail('LabelFilterErr', `${name}: not a ${unit}: ${text.slice(0, 100)}`);
        return true;
      };
    }
  }
}

function compileMatch({ name, op, value }: Matcher): Test {
  if (op === '=') return (labels) => labels.get(name) === value;
  if (op === '!=') return (labels) => labels.get(name) !== value;
  const regex = compileRegex(value, { anchored: true });
  const wanted = op === '=~';
  return (labels) => regex.test(labels.get(name)) === wanted;
}
