import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { notifySchema } from '../alerting/notify/schema.ts';
import { rulesSchema } from '../alerting/rules/schema.ts';
import { reflexarcSchema } from '../core/config/reflexarc.ts';
import { remediationsSchema } from '../remediation/playbooks/schema.ts';

/**
 * The JSON Schemas of the users' files, from the very schemas that check them. `--write` writes
 * them; without it, one that is not current is an error.
 */
const SCHEMAS: Readonly<Record<string, readonly [schema: z.ZodType, title: string]>> = {
  reflexarc: [reflexarcSchema, 'reflexarc.yaml: engines, sources, listen address, tokens'],
  rules: [rulesSchema, 'rules/*.yaml: rules in the format of Prometheus and Loki'],
  notify: [notifySchema, "notify.yaml: Alertmanager's format"],
  remediations: [remediationsSchema, 'remediations.yaml: which alert leads to which steps'],
};

const folder = join(import.meta.dirname, '..', 'schemas');
const write = process.argv.includes('--write');
mkdirSync(folder, { recursive: true });
for (const [name, [schema, title]] of Object.entries(SCHEMAS)) {
  const file = join(folder, `${name}.schema.json`);
  const text = `${JSON.stringify({ title, ...z.toJSONSchema(schema, { io: 'input' }) }, null, 2)}\n`;
  if (write) {
    writeFileSync(file, text);
    continue;
  }
  let current = '';
  try {
    current = readFileSync(file, 'utf8');
  } catch {
    // Absent is not current.
  }
  if (current !== text) {
    console.error(`schemas/${name}.schema.json is not current: run \`npm run schemas\``);
    process.exitCode = 1;
  }
}
