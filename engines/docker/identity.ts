import type { ContainerInspectInfo } from 'dockerode';
import type { Instance, InstanceLog } from '../../core/contracts/runtime.ts';
import { normalizeRfc3339 } from '../../core/time.ts';

/** What the engine says about a container, without `stoppedByHand`, which it does not say. */
export type Described = Omit<Instance, 'stoppedByHand'>;

/** A described container, and what only this engine needs to know of it. */
export interface Detail {
  readonly instance: Described;
  /** 0 while it is not running. */
  readonly pid: number;
  readonly tty: boolean;
  /** As configured, `SIGTERM` or `15`; undefined: the engine's default. */
  readonly stopSignal: string | undefined;
  /** Seconds before the kill; undefined: the engine's default of 10. */
  readonly stopTimeout: number | undefined;
  /** Bytes; 0: without limit. */
  readonly memoryLimit: number;
}

/** Where log files are, and what the engine can do. */
export interface EngineFacts {
  /** The engine's own data folder, as it sees it. */
  readonly root: string;
  /** Where this process sees that folder. */
  readonly logRoot: string;
  /** Whether the API serves the logs of drivers that send them elsewhere (since 20.10). */
  readonly dualLogging: boolean;
}

export const DEFAULT_ROOT = '/var/lib/docker';

/** Labels of Compose and Swarm, and our own, to who a container is. */
export function identityOf(
  labels: Readonly<Record<string, string>>,
  name: string,
): Pick<Instance, 'service' | 'project' | 'orchestrator'> {
  const label = (key: string): string | undefined => (labels[key] === '' ? undefined : labels[key]);
  const namespace = label('com.docker.stack.namespace');
  const swarm = label('com.docker.swarm.service.name');
  if (swarm !== undefined) {
    const task = label('com.docker.swarm.task.id');
    return {
      service: swarm,
      ...(namespace !== undefined && { project: namespace }),
      orchestrator: {
        type: 'swarm',
        service: swarm,
        ...(task !== undefined && { task }),
        ...(namespace !== undefined && { namespace }),
      },
    };
  }
  const compose = label('com.docker.compose.service');
  const project = label('com.docker.compose.project');
  if (compose !== undefined) {
    const task = label('com.docker.compose.container-number');
    return {
      service: compose,
      ...(project !== undefined && { project }),
      orchestrator: {
        type: 'compose',
        service: compose,
        ...(task !== undefined && { task }),
        ...(project !== undefined && { namespace: project }),
      },
    };
  }
  return {
    service: label('reflexarc.service') ?? name,
    ...(project !== undefined && { project }),
  };
}

/** The answer of `GET /containers/{id}/json`, as far as it is used; older engines leave fields out. */
export type Inspected = Pick<ContainerInspectInfo, 'Id' | 'Name' | 'Image' | 'RestartCount'> & {
  LogPath?: string;
  Config: {
    Image?: string;
    Labels?: Record<string, string> | null;
    Tty?: boolean;
    StopSignal?: string;
    StopTimeout?: number | null;
  };
  State: {
    Status: string;
    OOMKilled?: boolean;
    ExitCode?: number;
    Error?: string;
    Pid?: number;
    StartedAt?: string;
    FinishedAt?: string;
    Health?: { Status?: string } | null;
  };
  HostConfig: {
    LogConfig?: { Type?: string; Config?: Record<string, string> | null };
    RestartPolicy?: { Name?: string; MaximumRetryCount?: number };
    Memory?: number;
  };
};

export function describe(
  runtime: string,
  inspected: Inspected,
  facts: EngineFacts,
  imageDigest: string | undefined,
): Detail {
  const { Config, State, HostConfig } = inspected;
  const labels = Config.Labels ?? {};
  const name = inspected.Name.replace(/^\//, '');
  const startedAt = timeOf(State.StartedAt);
  const finishedAt = timeOf(State.FinishedAt);
  const state = stateOf(State.Status);
  const policy = HostConfig.RestartPolicy;
  const ended = state === 'exited' || state === 'dead';
  return {
    instance: {
      runtime,
      id: inspected.Id,
      name,
      ...identityOf(labels, name),
      ...(Config.Image !== undefined && Config.Image !== '' && { image: Config.Image }),
      ...(imageDigest !== undefined && { imageDigest }),
      labels,
      state,
      health: healthOf(State.Health?.Status),
      ...(startedAt !== undefined && { startedAt }),
      ...(finishedAt !== undefined && { finishedAt }),
      ...((ended || state === 'restarting') &&
        finishedAt !== undefined &&
        State.ExitCode !== undefined && { exitCode: State.ExitCode }),
      // Only what exited was running once: its last start is one that the engine tried by itself, or
      // for us.
      ...(ended && State.Error !== undefined && State.Error !== '' && { startError: State.Error }),
      oomKilled: State.OOMKilled === true,
      restarts: inspected.RestartCount ?? 0,
      restartPolicy: policyOf(policy?.Name),
      ...(policy?.Name === 'on-failure' && { restartLimit: policy.MaximumRetryCount ?? 0 }),
      log: logOf(inspected, facts),
    },
    pid: State.Pid ?? 0,
    tty: Config.Tty === true,
    stopSignal: Config.StopSignal,
    stopTimeout: Config.StopTimeout ?? undefined,
    memoryLimit: HostConfig.Memory ?? 0,
  };
}

/** What an event alone tells of a container that cannot be inspected any more. */
export function describeGone(
  runtime: string,
  id: string,
  attributes: Readonly<Record<string, string>>,
): Detail {
  const { name: given, image, ...rest } = attributes;
  const name = given ?? id.slice(0, 12);
  const labels = Object.fromEntries(Object.entries(rest).filter(([key]) => !OWN_WORDS.has(key)));
  return {
    instance: {
      runtime,
      id,
      name,
      ...identityOf(labels, name),
      ...(image !== undefined && { image }),
      labels,
      state: 'dead',
      health: 'none',
      oomKilled: false,
      restarts: 0,
      restartPolicy: 'no',
      log: { format: 'none', driver: 'unknown' },
    },
    pid: 0,
    tty: false,
    stopSignal: undefined,
    stopTimeout: undefined,
    memoryLimit: 0,
  };
}

/** The words that the engine adds to an event's attributes, which are otherwise the labels. */
export const OWN_WORDS: ReadonlySet<string> = new Set([
  'exitCode',
  'execDuration',
  'signal',
  'oldName',
  'name',
  'image',
]);

/** Docker writes the year 1 for never. */
function timeOf(text: string | undefined): string | undefined {
  return text === undefined || text === '' || text.startsWith('0001-')
    ? undefined
    : normalizeRfc3339(text);
}

const STATES: ReadonlySet<string> = new Set([
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
]);

const stateOf = (status: string): Instance['state'] =>
  STATES.has(status) ? (status as Instance['state']) : 'dead';

const healthOf = (status: string | undefined): Instance['health'] =>
  status === 'starting' || status === 'healthy' || status === 'unhealthy' ? status : 'none';

const policyOf = (name: string | undefined): Instance['restartPolicy'] =>
  name === 'always' || name === 'unless-stopped' || name === 'on-failure' ? name : 'no';

// Drivers that `docker logs` reads from the place they write to.
const READABLE = new Set(['local', 'journald']);

function logOf(inspected: Inspected, facts: EngineFacts): InstanceLog {
  const { Type: driver = 'json-file', Config: options } = inspected.HostConfig.LogConfig ?? {};
  if (driver === 'json-file') {
    // Before the first start the engine names no file yet, though it is always this one.
    const path =
      inspected.LogPath === undefined || inspected.LogPath === ''
        ? `${facts.root}/containers/${inspected.Id}/${inspected.Id}-json.log`
        : inspected.LogPath;
    return { format: 'json-file', path: fromHere(path, facts) };
  }
  if (READABLE.has(driver)) return { format: 'api', driver };
  const cached = facts.dualLogging && driver !== 'none' && options?.['cache-disabled'] !== 'true';
  return { format: cached ? 'api' : 'none', driver };
}

/** The engine's path, as this process sees it. */
export function fromHere(path: string, { root, logRoot }: EngineFacts): string {
  if (logRoot === DEFAULT_ROOT) return path;
  for (const from of [root, DEFAULT_ROOT]) {
    if (path.startsWith(`${from}/`)) return logRoot.replace(/\/$/, '') + path.slice(from.length);
  }
  return path;
}
