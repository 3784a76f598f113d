import { messageOf, ReflexarcError } from '../core/errors.ts';
import type { Labels } from '../core/labels.ts';
import { isTrue, TEMPLATE_FUNCTIONS } from './template/functions.ts';
import { goText, type Value } from './template/go-format.ts';
import { type Expression, type Piece, parseTemplate } from './template/parse.ts';

export interface TemplateData {
  readonly labels: Labels;
  readonly value: number;
  readonly externalLabels?: Labels;
  readonly annotations?: Labels;
}

/** @throws bad_config when a function is given what it cannot take, as a text to `humanize` */
export type Template = (data: TemplateData) => string;

/**
 * Go templates as alerting rules use them:
 *
 * | Form | Meaning |
 * | --- | --- |
 * | `{{ $labels.x }}`, `{{ .Labels.x }}`, `{{ index $labels "x" }}` | a label; empty where it is missing |
 * | `{{ $value }}`, `{{ .Value }}` | the expression's value, a float |
 * | `{{ $externalLabels.x }}`, `{{ .ExternalLabels.x }}` | a label of this installation |
 * | `{{ $annotations.x }}`, `{{ .Annotations.x }}` | an annotation, where the caller gives them |
 * | `{{ a \| f }}`, `{{ f a b }}`, `{{ f (g a) }}` | functions: see template/functions.ts |
 * | `{{ if a }}…{{ else if b }}…{{ else }}…{{ end }}` | conditions |
 * | `{{- a -}}` | takes the white space beside it away |
 * | `{{/* … *\/}}` | a comment |
 * | "…", `…`, 1, 1.5, true, false | literals |
 *
 * @throws bad_config with the place within the text; not_supported for other parts of Go's templates
 */
export function compileTemplate(text: string): Template {
  const pieces = parseTemplate(text);
  if (pieces.every((piece) => piece.kind === 'text')) {
    const fixed = pieces.map((piece) => piece.text).join('');
    return () => fixed;
  }
  return (data) => render(pieces, data);
}

function render(pieces: readonly Piece[], data: TemplateData): string {
  let out = '';
  for (const piece of pieces) {
    if (piece.kind === 'text') out += piece.text;
    else if (piece.kind === 'print') out += goText(evaluate(piece.expression, data));
    else {
      const branch = isTrue(evaluate(piece.condition, data)) ? piece.yes : piece.no;
      out += render(branch, data);
    }
  }
  return out;
}

function evaluate(expression: Expression, data: TemplateData): Value {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'value':
      return data.value;
    case 'labels': {
      const labels = data[expression.source] ?? {};
      if (expression.name === undefined) return labels;
      const found: unknown = labels[expression.name];
      return typeof found === 'string' ? found : '';
    }
    default: {
      const { name, where } = expression;
      const implementation = TEMPLATE_FUNCTIONS[name];
      try {
        if (implementation === undefined) throw new TypeError('no such function');
        return implementation.call(expression.args.map((arg) => evaluate(arg, data)));
      } catch (cause) {
        if (cause instanceof ReflexarcError && cause.where !== undefined) throw cause;
        throw new ReflexarcError('bad_config', `template: ${name}: ${messageOf(cause)}`, {
          cause,
          where,
        });
      }
    }
  }
}
