import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { detectLevel, LEVELS } from './level.ts';

describe('detectLevel', () => {
  it.each([
    // JSON
    ['{"level":"error","msg":"x"}', 'error'],
    ['{"time":"2026-01-02","severity":"WARNING"}', 'warn'],
    ['{"lvl": "dbg"}', 'debug'],
    ['{"log.level":"Critical"}', 'fatal'],
    ['{"log":{"level":"info"}}', 'info'],
    ['{"level":30,"time":1}', 'info'],
    ['{"level":50}', 'error'],
    ['{"level":60,"msg":"x"}', 'fatal'],
    ['{"level":10 }', 'trace'],
    ['{"severity":3,"msg":"x"}', 'error'],
    ['{"msg":"say \\"level\\":\\"error\\""}', undefined],
    ['{"msg":"[ERROR] in text"}', undefined],
    ['{"level":"fancy"}', undefined],
    // logfmt
    ['ts=2026-01-02T03:04:05Z level=error msg="boom"', 'error'],
    ['time="2026-01-02" level=warning msg=x', 'warn'],
    ['lvl=dbug msg=x', 'debug'],
    ['level="info" x=1', 'info'],
    ['level=50 x=1', 'error'],
    ['msg="set level=error please" x=1', undefined],
    ['sublevel=error', undefined],
    // brackets
    ['[ERROR] boom', 'error'],
    ['[error] boom', 'error'],
    ['[ WARN ] boom', 'warn'],
    ['2026/01/02 03:04:05 [error] 12#0: *1 open() failed', 'error'],
    ['[Fri Jan 02 03:04:05.1 2026] [core:error] [pid 1] AH00126', 'error'],
    ['[2026-01-02T03:04:05Z WARN  app::db] slow', 'warn'],
    ['[E 260102 03:04:05 web:1] Uncaught', 'error'],
    ['2026-01-02T03:04:05.000Z 0 [Warning] [MY-010068] [Server] CA', 'warn'],
    ['[the error page] served', undefined],
    ['user typed [ERROR] here', undefined],
    // words
    ['ERROR: boom', 'error'],
    ['error: boom', 'error'],
    ['Error: Cannot find module', 'error'],
    ['ERROR boom', 'error'],
    ['WARNING:root:careful', 'warn'],
    ['panic: runtime error: index out of range', 'fatal'],
    ['TypeError: x is not a function', undefined],
    ['2026-01-02 03:04:05,123 - my.app - ERROR - boom', 'error'],
    ['2026-01-02 03:04:05,123 - root - ERROR - boom', 'error'],
    ['2026-01-02 03:04:05,123 | INFO     | app:main:1 - hi', 'info'],
    ['2026-01-02 03:04:05.123  INFO 12345 --- [main] c.e.App : Started', 'info'],
    ['03:04:05.123 [main thread] ERROR c.e.App - boom', 'error'],
    ['2026-01-02T03:04:05.123456Z  WARN app: slow', 'warn'],
    ['2026-01-02 03:04:05.000 UTC [123] ERROR:  relation does not exist', 'error'],
    ['2026-01-02 03:04:05.000 UTC [123] LOG:  ready', 'info'],
    ['2026-01-02 03:04:05.000 UTC [123] FATAL:  no', 'fatal'],
    ['Jan 02, 2026 3:04:05 SEVERE: boom', 'error'],
    // klog and syslog
    ['E0102 03:04:05.678901       1 main.go:1] boom', 'error'],
    ['I0102 03:04:05.678901       1 main.go:1] fine', 'info'],
    ['<3>boom', 'error'],
    ['<165>1 2026-01-02T03:04:05Z host app - - - hi', 'info'],
    ['<0>kernel died', 'fatal'],
    // colours
    ['\u001b[31mERROR\u001b[0m boom', 'error'],
    ['\u001b[2m2026-01-02T03:04:05Z\u001b[0m \u001b[32m INFO\u001b[0m app: hi', 'info'],
    // none
    ['', undefined],
    ['   ', undefined],
    ['no error was found', undefined],
    ['all tests passed with 0 ERROR lines', undefined],
    ['an error: something', undefined],
    ['Error while reading', undefined],
    ['127.0.0.1 - - [02/Jan/2026:03:04:05 +0000] "GET /error HTTP/1.1" 200 5', undefined],
    ['INFO.txt was written', undefined],
    ['information about', undefined],
    [`${'x'.repeat(300)} level=error`, undefined],
  ])('%s', (line, level) => expect(detectLevel(line)).toBe(level));

  it('never throws, and answers one of its levels', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (line) => {
        const level = detectLevel(line);
        expect(level === undefined || LEVELS.includes(level)).toBe(true);
      }),
    );
  });
});
