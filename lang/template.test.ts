import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isReflexarcError, type ReflexarcError } from '../core/errors.ts';
import { compileTemplate, type TemplateData } from './template.ts';

const data: TemplateData = {
  labels: { alertname: 'Died', service: 'api', instance: 'web.example.org:9100', n: '1234.5' },
  value: 0.1234,
  externalLabels: { region: 'eu' },
  annotations: { summary: 's' },
};

const render = (text: string, value = data.value): string =>
  compileTemplate(text)({ ...data, value });

describe('templates', () => {
  it.each([
    ['plain', 'plain'],
    ['', ''],
    ['{{ $labels.service }} is down', 'api is down'],
    ['{{ .Labels.service }}', 'api'],
    ['{{$labels.service}}', 'api'],
    ['{{ $labels.missing }}|', '|'],
    ['{{ $labels.constructor }}|', '|'],
    ['{{ index $labels "service" }}', 'api'],
    ['{{ index .Labels "a.b" }}|', '|'],
    ['{{ $labels.service | toUpper }}', 'API'],
    ['{{ $labels.service | toUpper | toLower | title }}', 'Api'],
    ['{{ toUpper $labels.service }}', 'API'],
    ['{{ title "two words" }}', 'Two Words'],
    ['{{ " x " | trim }}|{{ " y " | trimSpace }}|', 'x|y|'],
    ['{{ $value }}', '0.1234'],
    ['{{ .Value }}', '0.1234'],
    ['{{ $value | humanizePercentage }}', '12.34%'],
    ['{{ $value | humanize }}', '123.4m'],
    ['{{ $labels.n | humanize }}', '1.234k'],
    ['{{ printf "%.2f" $value }}', '0.12'],
    ['{{ $value | printf "%.1f%%" }}', '0.1%'],
    ['{{ printf "%s=%q" "a" "b" }}', 'a="b"'],
    ['{{ printf "%d" $value }}', '%!d(float64=0.1234)'],
    ['{{ printf "%05d|%-4d|%x" 42 7 255 }}', '00042|7   |ff'],
    ['{{ $externalLabels.region }}/{{ .ExternalLabels.region }}', 'eu/eu'],
    ['{{ $annotations.summary }}', 's'],
    ['{{ if $labels.service }}yes{{ else }}no{{ end }}', 'yes'],
    ['{{ if $labels.missing }}yes{{ else }}no{{ end }}', 'no'],
    ['{{ if $labels.missing }}yes{{ end }}|', '|'],
    [
      '{{ if eq $labels.service "db" }}1{{ else if eq $labels.service "api" }}2{{ else }}3{{ end }}',
      '2',
    ],
    ['{{ if and (gt $value 0.1) (lt $value 1.0) }}in{{ end }}', 'in'],
    ['{{ if or (gt $value 5) (not false) }}in{{ end }}', 'in'],
    ['{{ if eq $labels.service "a" "api" }}in{{ end }}', 'in'],
    ['a {{- " b " -}} c', 'a b c'],
    ['a {{- /* comment */ -}} b', 'ab'],
    ['a{{/* }} */}}b', 'ab'],
    ['{{ `raw\\n` }}', 'raw\\n'],
    ['{{ "tab\\t" }}', 'tab\t'],
    ['{{ len $labels.service }}', '3'],
    ['{{ $labels.instance | stripPort }}', 'web.example.org'],
    ['{{ $labels.instance | stripDomain }}', 'web:9100'],
    ['{{ reReplaceAll "(a)(.)" "$2$1" $labels.service }}', 'pai'],
    ['{{ match "^a" $labels.service }}', 'true'],
    ['{{ print "a" 1 2 "b" }}', 'a1 2b'],
    ['{{ 1 }} {{ 1.0 }} {{ 1e6 }} {{ true }}', '1 1 1e+06 true'],
    ['}} {', '}} {'],
    ['{{ urlquery "a b&c" }}', 'a+b%26c'],
  ])('%s', (text, expected) => expect(render(text)).toBe(expected));

  it('shows labels as Go shows a map', () =>
    expect(render('{{ $labels }}')).toBe(
      'map[alertname:Died instance:web.example.org:9100 n:1234.5 service:api]',
    ));

  // Golden values from text/template of Go 1.26.
  it.each([
    [0, '0'],
    [1, '1'],
    [100_000, '100000'],
    [999_999, '999999'],
    [1e6, '1e+06'],
    [123_456_789, '1.23456789e+08'],
    [1_234_567.5, '1.2345675e+06'],
    [12_345.678, '12345.678'],
    [0.0001, '0.0001'],
    [0.00001, '1e-05'],
    [1e21, '1e+21'],
    [Number.NaN, 'NaN'],
    [Infinity, '+Inf'],
    [-2.5, '-2.5'],
  ])('$value %d is %s', (value, expected) => expect(render('{{ $value }}', value)).toBe(expected));

  it.each([
    ['%.4g', 123_456_789, '1.235e+08'],
    ['%.4g', 12_345, '1.234e+04'],
    ['%.4g', 100_000, '1e+05'],
    ['%.4g', 0.00012345, '0.0001234'],
    ['%.0f', 2.5, '2'],
    ['%.0f', 1_234_567.5, '1234568'],
    ['%.0f', 0.5, '0'],
    ['%.2f', 1e21, '1000000000000000000000.00'],
    ['%8.2f', 0, '    0.00'],
    ['%-8.1f|', 1.5, '1.5     |'],
    ['%08.1f', 1.5, '000001.5'],
    ['%.3e', 12_345.678, '1.235e+04'],
    ['%e', 0, '0.000000e+00'],
    ['%s', 1, '%!s(float64=1)'],
    ['%v', 1.5, '1.5'],
    ['%+v', 1.5, '+1.5'],
  ])('printf %s of %d is %s', (format, value, expected) =>
    expect(render(`{{ printf "${format}" $value }}`, value)).toBe(expected),
  );

  it.each([
    ['humanize', 0, '0'],
    ['humanize', 1_234_567, '1.235M'],
    ['humanize', -1500, '-1.5k'],
    ['humanize', 0.000001234, '1.234u'],
    ['humanize', Number.NaN, 'NaN'],
    ['humanize1024', 1_572_864, '1.5Mi'],
    ['humanize1024', 1000, '1000'],
    ['humanizeDuration', 0, '0s'],
    ['humanizeDuration', 0.123, '123ms'],
    ['humanizeDuration', 59.5, '59.5s'],
    ['humanizeDuration', 3661, '1h 1m 1s'],
    ['humanizeDuration', 899_130, '10d 9h 45m 30s'],
    ['humanizeDuration', -90, '-1m 30s'],
    ['humanizePercentage', 0.00123, '0.123%'],
    ['humanizeTimestamp', 1_435_065_584.128, '2015-06-23 13:19:44.128 +0000 UTC'],
  ])('%s %d is %s', (name, value, expected) =>
    expect(render(`{{ $value | ${name} }}`, value)).toBe(expected),
  );
});

describe('refused templates', () => {
  it.each([
    ['{{ $labels.x', 'bad_config', 1, 'not closed'],
    ['a\nb {{ nosuch 1 }}', 'bad_config', 6, 'unknown function `nosuch`'],
    ['{{ humanise $value }}', 'bad_config', 4, 'unknown function'],
    ['{{ $label.x }}', 'bad_config', 4, 'unknown variable `$label`'],
    ['{{ .Foo }}', 'bad_config', 4, 'unknown variable `.Foo`'],
    ['{{ . }}', 'bad_config', 4, 'unexpected "."'],
    ['{{ $value.x }}', 'bad_config', 4, 'has no fields'],
    ['{{ $labels.a.b }}', 'bad_config', 4, 'has no fields'],
    ['{{ if $value }}x', 'bad_config', 4, 'without {{ end }}'],
    ['x{{ end }}', 'bad_config', 5, 'unexpected {{end}}'],
    ['{{ if $value }}{{ else }}{{ else }}{{ end }}', 'bad_config', 29, 'expected {{ end }}'],
    ['{{ }}', 'bad_config', 4, 'expected a value'],
    ['{{ $value | }}', 'bad_config', 13, 'expected a function'],
    ['{{ $value | 5 }}', 'bad_config', 13, 'expected a function'],
    ['{{ (toUpper "a" }}', 'bad_config', 17, 'closing )'],
    ['{{ toUpper "a" "b" }}', 'bad_config', 4, 'takes 1 argument'],
    ['{{ "a" "b" }}', 'bad_config', 8, 'unexpected'],
    ['{{ "a\\q" }}', 'bad_config', 4, 'escape'],
    ["{{ 'a' }}", 'bad_config', 4, 'unexpected'],
    ['{{ range $labels }}{{ end }}', 'not_supported', 4, '`range` is not supported'],
    ['{{ with $labels }}{{ end }}', 'not_supported', 4, '`with` is not supported'],
    ['{{ query "up" | first | value }}', 'not_supported', 4, '`query` is not supported'],
  ])('%s', (text, code, column, message) => {
    let error: unknown;
    try {
      compileTemplate(text);
    } catch (caught) {
      error = caught;
    }
    expect(isReflexarcError(error)).toBe(true);
    const { where, message: said, code: got } = error as ReflexarcError;
    expect({ code: got, column: where?.column }).toEqual({ code, column });
    expect(said).toContain(message);
  });

  it('names the function that cannot take its argument', () => {
    expect(() => render('{{ $labels.service | humanize }}')).toThrow(/humanize: a number/);
  });

  it('is never anything but a template or a positioned error', () => {
    const part = fc.constantFrom(
      '{{',
      '}}',
      '{{-',
      '-}}',
      ' ',
      '$labels',
      '.Labels',
      '.x',
      '|',
      '(',
      ')',
      '"a"',
      '`',
      '"',

      'if',
      'else',
      'end',
      'eq',
      'printf',
      '%d',
      '/*',
      '*/',
      '5',
      '\n',
      '$value',
      'toUpper',
      'ü',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        try {
          compileTemplate(parts.join(' '))(data);
        } catch (error) {
          expect(isReflexarcError(error)).toBe(true);
          expect((error as ReflexarcError).where?.column).toBeGreaterThan(0);
        }
      }),
    );
  });
});
