import { z } from 'zod';
import { duration, notYet } from '../../core/config/fields.ts';
import { isReflexarcError, messageOf } from '../../core/errors.ts';
import { compileMatcher, type Matcher } from '../../core/labels.ts';
import { parseMatcher } from '../../lang/matchers.ts';
import { compileTemplate } from '../../lang/template.ts';

/** `remediations.yaml`: which alert leads to which ladder of steps on which target. */

/** Text that `parse` understands; what it says about other text becomes the field's problem. */
function parsed<T>(parse: (text: string) => T, description: string) {
  return z
    .string()
    .transform((text, context) => {
      try {
        return { text, value: parse(text) };
      } catch (error) {
        context.addIssue({ code: 'custom', message: explain(error) });
        return z.NEVER;
      }
    })
    .describe(description);
}

function matcher(text: string): Matcher {
  const value = parseMatcher(text);
  compileMatcher(value); // a regex that does not compile is this field's problem, not a later surprise
  return value;
}

/** Without the place within the text: the field's own place is named. */
const explain = (error: unknown): string =>
  isReflexarcError(error) && error.hint !== undefined
    ? `${error.message} (${error.hint})`
    : messageOf(error);

const template = (description: string) =>
  parsed((text) => {
    if (text.trim() === '') throw new Error('is empty: it would name no target');
    return compileTemplate(text);
  }, description);

const verify = z
  .strictObject({
    within: duration
      .default(60_000)
      .refine((ms) => ms > 0, 'must be more than 0')
      .describe('How long the step may take to help, from its end; 60s by default'),
    healthy_for: duration
      .default(10_000)
      .describe(
        'How long the target must be healthy, with no newer evidence, to count; 10s by default',
      ),
  })
  .refine((value) => value.healthy_for <= value.within, {
    path: ['healthy_for'],
    message: 'is longer than `within`: the step could never verify',
  });

/** `restart:` with nothing behind it means what `restart: {}` does. */
const restart = z
  .strictObject({
    grace: duration
      .optional()
      .describe("Time to stop by itself before it is killed; else the engine's or container's own"),
  })
  .nullable()
  .transform((value) => value ?? {});

const notify = z.strictObject({
  receiver: z.string().min(1).describe('A receiver of notify.yaml'),
});

const ACTIONS = ['restart', 'notify'] as const;
const LATER = [
  'redeploy',
  'rollback',
  'recreate',
  'scale',
  'stop',
  'start',
  'exec',
  'drain',
  'webhook',
  'wait',
] as const;

const later = Object.fromEntries(
  LATER.map((word) => [word, notYet(`the step \`${word}\` is`)]),
) as Record<(typeof LATER)[number], ReturnType<typeof notYet>>;

const step = z
  .strictObject({
    restart: restart.optional().describe('Restart the target; one that is down is started'),
    notify: notify.optional().describe('Tell a receiver how far the heal has come'),
    verify: verify.optional().describe('When the step counts as having helped'),
    ...later,
  })
  .superRefine((value, context) => {
    const named = [...ACTIONS, ...LATER].filter((word) => value[word] !== undefined);
    if (named.length !== 1) {
      const found = named.length === 0 ? 'has none' : `has ${named.join(' and ')}`;
      context.addIssue({
        code: 'custom',
        message: `a step is exactly one action (${ACTIONS.join(', ')}); this one ${found}`,
      });
    }
    if (value.notify !== undefined && value.verify !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['verify'],
        message: 'belongs to steps that act; telling somebody heals nothing',
      });
    }
  });

const keepUp = z
  .union([
    z.int().min(0),
    z
      .string()
      .regex(/^(?:100|[1-9]?\d)%$/, 'is neither a number of replicas nor a percentage such as 50%'),
  ])
  .describe(
    "How many of the service's replicas must stay running, as a number or a percentage (rounded up); " +
      'a service of a single replica has nothing to keep up; 50% by default',
  );

const limits = z.strictObject({
  cooldown: duration
    .default(300_000)
    .describe('Least time between two heals of one target; 5m by default'),
  attempts: z
    .int()
    .min(1)
    .default(3)
    .describe('Most actions on one service within `window`; 3 by default'),
  window: duration
    .default(3_600_000)
    .refine((ms) => ms > 0, 'must be more than 0')
    .describe('The time that `attempts` looks back; 1h by default'),
  keep_up: keepUp.default('50%'),
});

const remediation = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'letters, digits, _ . -, first a letter or digit')
      .describe('Unique in the file; names the remediation in records, logs and metrics'),
    match: z
      .array(parsed(matcher, 'A matcher on the alert, as in alertname="ContainerDied"'))
      .min(1, 'an empty list matches nothing: name at least one matcher')
      .describe("Alertmanager's matchers on the alert's labels; all must hold"),
    target: template("A service, as in '{{ $labels.service }}'; excludes `container`").optional(),
    container: template('One replica, by its name or id; excludes `target`').optional(),
    steps: z
      .array(step)
      .min(1, 'a remediation needs at least one step')
      .describe('A ladder: the next step is taken only if the last did not verify'),
    limits: limits.prefault({}),
    dry_run: z.boolean().default(false).describe('Decide and report, but do not act'),
  })
  .superRefine((value, context) => {
    if (value.target === undefined && value.container === undefined) {
      context.addIssue({ code: 'custom', message: 'needs `target` or `container`' });
    }
    if (value.target !== undefined && value.container !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['container'],
        message: '`target` and `container` exclude each other',
      });
    }
  });

export const remediationsSchema = z.strictObject({
  remediations: z
    .array(remediation)
    .default([])
    .superRefine((list, context) => {
      const seen = new Set<string>();
      for (const [index, { name }] of list.entries()) {
        if (seen.has(name)) {
          context.addIssue({
            code: 'custom',
            path: [index, 'name'],
            message: `the name ${JSON.stringify(name)} is taken by one above`,
          });
        }
        seen.add(name);
      }
    }),
});

export type RemediationFile = z.output<typeof remediationsSchema>;
