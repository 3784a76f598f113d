import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, loadYaml } from '../../core/config/yaml.ts';
import { isReflexarcError, messageOf, ReflexarcError, type Where } from '../../core/errors.ts';
import { compileMatchers, type Labels, type LabelTest } from '../../core/labels.ts';
import { type RemediationFile, remediationsSchema } from './schema.ts';

export const REMEDIATIONS_FILE = 'remediations.yaml';

/** A remediation as the ladder uses it: nothing left to parse. Times in milliseconds. */
export interface Remediation {
  readonly name: string;
  readonly matches: LabelTest;
  readonly target: Target;
  readonly steps: readonly Step[];
  readonly limits: Limits;
  readonly dryRun: boolean;
}

export interface Target {
  readonly kind: 'service' | 'container';
  /** As written, for messages. */
  readonly text: string;
  render(alert: {
    readonly labels: Labels;
    readonly annotations: Labels;
    readonly value: number;
  }): string;
}

export type Step = RestartStep | NotifyStep;

export interface RestartStep {
  readonly kind: 'restart';
  readonly grace?: number;
  readonly verify: Verify;
}

export interface NotifyStep {
  readonly kind: 'notify';
  readonly receiver: string;
}

export interface Verify {
  readonly within: number;
  readonly healthyFor: number;
}

export interface Limits {
  readonly cooldown: number;
  readonly attempts: number;
  readonly window: number;
  /** A number of replicas, or a share of them (0 to 1). */
  readonly keepUp: { readonly replicas: number } | { readonly share: number };
}

export interface LoadedRemediations {
  readonly remediations: readonly Remediation[];
  /** False: there is no such file, and nothing is ever acted upon. */
  readonly found: boolean;
  /** The file's text, by which a change is told. */
  readonly text: string;
  /** All at once; with one, `remediations` is empty. */
  readonly problems: readonly ReflexarcError[];
  /** Where a field stands; absent where there is nothing to point at. */
  readonly where?: (path: readonly (string | number)[]) => Where;
}

/** `remediations.yaml` of a folder. Never throws. */
export function loadRemediations(dir: string): LoadedRemediations {
  const file = REMEDIATIONS_FILE;
  let text: string;
  try {
    text = readFileSync(join(dir, file), 'utf8');
  } catch (cause) {
    const absent = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const problem = new ReflexarcError('permission', `cannot be read: ${messageOf(cause)}`, {
      cause,
      where: { file },
      hint: 'check the path and that this user may read it',
    });
    return { remediations: [], found: !absent, text: '', problems: absent ? [] : [problem] };
  }
  try {
    const loaded = loadYaml(remediationsSchema, text, file);
    const remediations = loaded.value.remediations.map(compile);
    return { remediations, found: true, text, problems: [], where: (path) => loaded.where(path) };
  } catch (error) {
    if (error instanceof ConfigError) {
      return { remediations: [], found: true, text, problems: error.problems };
    }
    const problem = isReflexarcError(error)
      ? error
      : new ReflexarcError('internal', messageOf(error), { cause: error, where: { file } });
    return { remediations: [], found: true, text, problems: [problem] };
  }
}

type FileRemediation = RemediationFile['remediations'][number];

function compile(from: FileRemediation): Remediation {
  const target = from.target ?? from.container;
  return {
    name: from.name,
    matches: compileMatchers(from.match.map(({ value }) => value)),
    target: {
      kind: from.target === undefined ? 'container' : 'service',
      text: target?.text ?? '',
      render: (alert) => target?.value(alert).trim() ?? '',
    },
    steps: from.steps.map(compileStep),
    limits: {
      cooldown: from.limits.cooldown,
      attempts: from.limits.attempts,
      window: from.limits.window,
      keepUp:
        typeof from.limits.keep_up === 'number'
          ? { replicas: from.limits.keep_up }
          : { share: Number(from.limits.keep_up.slice(0, -1)) / 100 },
    },
    dryRun: from.dry_run,
  };
}

function compileStep(from: FileRemediation['steps'][number]): Step {
  if (from.notify !== undefined) return { kind: 'notify', receiver: from.notify.receiver };
  const grace = from.restart?.grace;
  return {
    kind: 'restart',
    ...(grace === undefined ? {} : { grace }),
    verify: {
      within: from.verify?.within ?? 60_000,
      healthyFor: from.verify?.healthy_for ?? 10_000,
    },
  };
}
