import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseBytes } from '../bytes.ts';
import { parseDuration } from '../durations.ts';
import { formatError, messageOf, ReflexarcError } from '../errors.ts';

/** Building blocks of the files' schemas. Their inputs are what JSON Schema shows to editors. */

function parsed<T>(parse: (text: string) => T, description: string) {
  return z
    .union([z.string(), z.number()])
    .transform((text, context) => {
      try {
        return parse(String(text));
      } catch (error) {
        context.addIssue({ code: 'custom', message: formatError(error) });
        return z.NEVER;
      }
    })
    .describe(description);
}

/** Milliseconds. */
export const duration = parsed(parseDuration, 'A duration such as 500ms, 30s, 5m, 1h30m or 7d');

/** Bytes. */
export const size = parsed(parseBytes, 'A size such as 64KiB, 512MiB or 10GB');

export const labelName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is no label name: letters, digits and _, no digit first');

/** Label values and annotations; YAML's numbers and booleans count as their text. */
export const labelMap = z.record(
  labelName,
  z.union([z.string(), z.number(), z.boolean()]).transform(String),
);

/** A key of the field's format that we understand and cannot serve: a `not_supported` problem. */
export function notYet(what: string) {
  return z
    .unknown()
    .superRefine((value, context) => {
      if (value === undefined) return;
      const message = `${what} not supported yet`;
      context.addIssue({ code: 'custom', message, params: { code: 'not_supported' } });
    })
    .optional()
    .describe('Not supported yet');
}

/**
 * The value of a secret that is given as `name` or as the path `name_file`; white space at a
 * file's end does not count.
 */
export function readSecret(
  value: string | undefined,
  file: string | undefined,
  field: string,
): string | undefined {
  if (value !== undefined && file !== undefined) {
    throw new ReflexarcError('bad_config', `${field} and ${field}_file exclude each other`);
  }
  if (file === undefined) return value;
  try {
    return readFileSync(file, 'utf8').trimEnd();
  } catch (cause) {
    throw new ReflexarcError('bad_config', `cannot read ${field}_file: ${messageOf(cause)}`, {
      cause,
      hint: 'check the path and that this user may read it',
    });
  }
}
