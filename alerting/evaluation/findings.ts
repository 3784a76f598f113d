import { messageOf, ReflexarcError } from '../../core/errors.ts';
import { fingerprint, formatLabels, type Labels } from '../../core/labels.ts';
import type { ResultSample } from '../rules/query.ts';
import type { AlertRule, TemplateData, Templates } from '../rules/rule.ts';
import type { Finding } from '../state/machine.ts';

/**
 * An expression's result with the rule's labels and annotations, as Prometheus makes them: the
 * metric's name goes, the rule's labels win, an empty label is none.
 *
 * @throws bad_query when two elements have the same labels then
 */
export function findingsOf(
  rule: AlertRule,
  result: readonly ResultSample[],
  externalURL: string,
  onTemplateError: (error: unknown) => void,
): Finding[] {
  const seen = new Set<string>();
  return result.map(({ labels: all, value }) => {
    const { __name__: _, ...metric } = all;
    const data: TemplateData = { labels: all, value, externalURL };
    const added = expand(rule.labels, data, onTemplateError);
    const labels = withoutEmpty({ ...metric, ...added, alertname: rule.name });
    const id = fingerprint(labels);
    if (seen.has(id)) {
      throw new ReflexarcError(
        'bad_query',
        `the result has two elements with the labels ${formatLabels(labels)}`,
        { hint: "make the rule's labels tell them apart, or aggregate in the expression" },
      );
    }
    seen.add(id);
    const annotations = expand(rule.annotations, data, onTemplateError);
    return { fingerprint: id, labels, metric, annotations, value };
  });
}

function expand(
  templates: Templates,
  data: TemplateData,
  onError: (error: unknown) => void,
): Labels {
  const texts: Record<string, string> = {};
  for (const [name, template] of templates) {
    try {
      texts[name] = template(data);
    } catch (error) {
      onError(error);
      texts[name] = `<error expanding template: ${messageOf(error)}>`;
    }
  }
  return texts;
}

function withoutEmpty(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ''));
}
