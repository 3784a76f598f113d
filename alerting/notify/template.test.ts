import { describe, expect, it } from 'vitest';
import { formatError } from '../../core/errors.ts';
import { messageOf } from './message.ts';
import { compileMessageTemplate } from './template.ts';

const message = messageOf(
  {
    receiver: 'team',
    key: '{}:{alertname="Down"}',
    labels: { alertname: 'Down' },
    externalUrl: 'http://arc',
  },
  [
    {
      fingerprint: 'a',
      labels: { alertname: 'Down', service: 'web' },
      annotations: { summary: 'web is down' },
      startsAt: 0,
      generatorUrl: 'http://arc/q',
    },
    {
      fingerprint: 'b',
      labels: { alertname: 'Down', service: 'db' },
      annotations: {},
      startsAt: 0,
      endsAt: 1500,
      generatorUrl: 'http://arc/q',
    },
  ],
);

describe('a message template', () => {
  it.each([
    ['plain', 'plain'],
    ['{{ .Status | toUpper }}: {{ .CommonLabels.alertname }}', 'FIRING: Down'],
    ['{{ .GroupLabels.missing }}|', '|'],
    [
      '[{{ .Status }}{{ if eq .Status "firing" }}:{{ .Alerts.Firing | len }}{{ end }}]',
      '[firing:1]',
    ],
    ['{{ range .Alerts }}{{ .Labels.service }}={{ .Status }} {{ end }}', 'web=firing db=resolved '],
    [
      '{{ range .Alerts }}{{ with .Annotations.summary }}{{ . }}{{ else }}-{{ end }};{{ end }}',
      'web is down;-;',
    ],
    ['{{ range .CommonLabels.SortedPairs }}{{ .Name }}:{{ .Value }}{{ end }}', 'alertname:Down'],
    ['{{ range .Alerts }}{{ $.Receiver }},{{ end }}', 'team,team,'],
    ['a {{- /* gone */ -}} b', 'ab'],
    ['a {{- "x" -}} b', 'axb'],
    ['{{ join ", " .CommonLabels.Values }}', 'Down'],
    [
      '{{ if and (gt (len .Alerts) 1) (not false) }}many{{ else if true }}x{{ else }}y{{ end }}',
      'many',
    ],
    ['{{ printf "%s-%d%%" .Receiver 5 }}', 'team-5%'],
    ['{{ index .CommonLabels "alertname" | title }}', 'Down'],
    ['{{ (index .Alerts 1).EndsAt }}', undefined],
    ['{{ range .Alerts.Resolved }}{{ .EndsAt }}{{ end }}', '1970-01-01T00:00:01.5Z'],
    ['{{ match "^D" .CommonLabels.alertname }}', 'true'],
  ])('%s', (text, expected) => {
    if (expected === undefined) expect(() => compileMessageTemplate(text)).toThrow();
    else expect(compileMessageTemplate(text)(message)).toBe(expected);
  });

  it.each([
    ['{{ .Status', '1:1: the closing }} is missing'],
    ['a\n{{ nothing . }}', '2:4: there is no function nothing'],
    ['{{ if .Status }}', '1:4: the {{ end }} of this {{ if }} is missing'],
    ['{{ end }}', '1:4: {{ end }} has nothing that it belongs to'],
    ['{{ }}', '1:1: an empty {{ }}'],
    ['{{ . | }}', '1:6: a value is missing'],
    ['{{ len (.Alerts }}', '1:8: the closing ) is missing'],
    ['{{ $x := 1 }}', '1:4: variables are not supported in templates yet'],
    ['{{ template "x" . }}', '1:4: {{ template }} is not supported in templates yet'],
    ['{{ .Status ! }}', '1:12: unexpected "!"'],
  ])('%s is refused', (text, expected) => {
    try {
      compileMessageTemplate(text);
      expect.unreachable();
    } catch (error) {
      expect(formatError(error)).toBe(expected);
    }
  });
});
