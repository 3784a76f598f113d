import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

/** What each folder may import of ours; docs/ARCHITECTURE.md has the reasons. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  core: [],
  lang: ['core'],
  engines: ['core'],
  collectors: ['core', 'lang'],
  ingest: ['core', 'lang'],
  alerting: ['core', 'lang'],
  remediation: ['core', 'lang'],
  api: ['core', 'lang'],
  cli: ['core', 'lang', 'engines', 'collectors', 'ingest', 'alerting', 'remediation', 'api'],
};

/** A vendor's client belongs to its engine alone. */
const VENDORS: Readonly<Record<string, string>> = {
  dockerode: 'engines/docker/',
  lmdb: 'engines/embedded/',
  '@duckdb/node-api': 'engines/embedded/',
  kafkajs: 'engines/kafka/',
  '@elastic/elasticsearch': 'engines/elasticsearch/',
};

const root = join(import.meta.dirname, '..');
const IMPORT =
  /(?:^|\s)(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\s+'([^']+)'|import\('([^']+)'\)/g;

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(IMPORT)].map((found) => found[1] ?? found[2] ?? found[3] ?? '');
}

const files = Object.keys(ALLOWED)
  .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }))
  .filter((file) => !file.endsWith('.test.ts'));

describe('one-way law', () => {
  it('sees the files', () => expect(files.length).toBeGreaterThan(10));

  it.each(files)('%s', (file) => {
    const folder = file.split('/')[0] ?? '';
    const wrong: string[] = [];
    for (const target of importsOf(file)) {
      if (target.startsWith('.')) {
        const path = relative(root, join(root, dirname(file), target));
        const other = path.split('/')[0] ?? '';
        if (other !== folder && !ALLOWED[folder]?.includes(other)) wrong.push(target);
        // One engine knows nothing of another.
        if (
          folder === 'engines' &&
          other === 'engines' &&
          path.split('/')[1] !== file.split('/')[1]
        ) {
          wrong.push(target);
        }
      }
      const home = VENDORS[target];
      if (home !== undefined && !file.startsWith(home)) wrong.push(target);
    }
    expect(wrong).toEqual([]);
  });

  it('nothing but the clock reads the time or sets timers', () => {
    // A worker of a vendor's threads and the command line's own process are no part of the rule.
    const timed = /\bDate\.now\(|\bsetTimeout\(|\bsetInterval\(|\bnew Date\(\)/;
    const wrong = files.filter(
      (file) =>
        file !== 'core/clock.ts' &&
        !file.startsWith('cli/') &&
        readFileSync(join(root, file), 'utf8')
          .split('\n')
          .some((line) => timed.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line)),
    );
    expect(wrong).toEqual([]);
  });
});
