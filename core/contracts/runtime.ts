import type { Nanos } from '../time.ts';

/**
 * Runtime: what runs services. A docker engine; local processes. Its instances are containers or
 * processes; several instances may make one service.
 */
export interface Instance {
  readonly runtime: string;
  /** The full container id; `local:<name>` for a process. */
  readonly id: string;
  readonly name: string;
  /**
   * The Swarm service, else the Compose service, else the label `reflexarc.service`, else the
   * container's name.
   */
  readonly service: string;
  readonly project?: string;
  readonly image?: string;
  readonly imageDigest?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly orchestrator?: {
    readonly type: 'compose' | 'swarm';
    readonly service: string;
    readonly task?: string;
    readonly namespace?: string;
  };
  readonly state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  /** `none`: it has no health check. */
  readonly health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  /** RFC 3339 of the newest start; absent when it never started. */
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly exitCode?: number;
  readonly oomKilled: boolean;
  /** How often the engine itself restarted it. */
  readonly restarts: number;
  /** Whether the engine restarts it by itself when it exits (with a failure). */
  readonly restartPolicy: 'no' | 'on-failure' | 'always' | 'unless-stopped';
  /**
   * Why its newest start failed, in the engine's words. The engine does not try again by itself,
   * whatever the policy says. Absent: it did not.
   */
  readonly startError?: string;
  /** For `on-failure`; 0: without end. */
  readonly restartLimit?: number;
  /**
   * Someone asked the engine to stop, kill or pause the newest run, and it was not us. `unknown`
   * when the engine's events of that time are out of reach.
   */
  readonly stoppedByHand: boolean | 'unknown';
  readonly log: InstanceLog;
}

/** Where an instance's output is. */
export type InstanceLog =
  // Docker's json-file: one JSON object a line, in this file and its rotated older ones.
  | { readonly format: 'json-file'; readonly path: string }
  // Plain lines, one file a stream.
  | { readonly format: 'plain'; readonly stdout: string; readonly stderr: string }
  // Only through `follow`.
  | { readonly format: 'api'; readonly driver: string }
  // The driver keeps nothing that could be read.
  | { readonly format: 'none'; readonly driver: string };

/** What happened to an instance, as the engine reports it. */
export interface RuntimeEvent {
  /** The engine's own time. */
  readonly time: Nanos;
  /** The engine's word: `start`, `die`, `oom`, `health_status`, `kill`, `destroy`, `stop`, … */
  readonly action: string;
  readonly instance: Instance;
  /** RFC 3339: the start of the run that it happened to. */
  readonly startedAt?: string;
  /** `exit_code`, `signal`, `health_status`, `by_hand`, …; the words of the event's logfmt line. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** What `watch` yields. */
export type RuntimeNews =
  | { readonly kind: 'event'; readonly event: RuntimeEvent }
  /**
   * The whole list, first thing after (re)connecting and then from time to time: what is not in it
   * is gone, whatever events said.
   */
  | { readonly kind: 'list'; readonly instances: readonly Instance[] };

export interface OutputLine {
  readonly stream: 'stdout' | 'stderr';
  /** The engine's time, RFC 3339. */
  readonly timestamp: string;
  /** Without line break; not yet decoded. A `partial` one continues in the next of its stream. */
  readonly data: Uint8Array;
  readonly partial: boolean;
}

/** Cumulative counters and gauges of one instance at one time; absent: the engine has none. */
export interface InstanceStats {
  readonly timestamp: number;
  readonly cpuSeconds?: number;
  readonly cpuSystemSeconds?: number;
  readonly cpuUserSeconds?: number;
  readonly cpuThrottledSeconds?: number;
  readonly memoryUsage?: number;
  readonly memoryWorkingSet?: number;
  readonly memoryRss?: number;
  readonly memoryCache?: number;
  readonly memoryLimit?: number;
  readonly network?: Readonly<
    Record<
      string,
      {
        rxBytes: number;
        rxPackets: number;
        rxErrors: number;
        rxDropped: number;
        txBytes: number;
        txPackets: number;
        txErrors: number;
        txDropped: number;
      }
    >
  >;
  readonly blockIo?: Readonly<
    Record<string, { readBytes: number; writeBytes: number; reads: number; writes: number }>
  >;
  readonly processes?: number;
}

export interface RuntimeReader {
  readonly name: string;
  /** @throws unavailable, permission */
  list(signal?: AbortSignal): Promise<readonly Instance[]>;
  /** The live state, from the engine and not from memory. Undefined: there is none of that id. */
  inspect(id: string, signal?: AbortSignal): Promise<Instance | undefined>;
  /**
   * Reconnects by itself, from where it was cut (`since`), and says so on `onProblem`; the same
   * event is yielded once. Ends when the signal fires. Several may watch at once.
   */
  watch(options: WatchOptions, signal: AbortSignal): AsyncIterable<RuntimeNews>;
  /**
   * The output from `since` (inclusive) on, and then as it comes. Ends when the instance is gone or
   * the signal fires.
   */
  follow(id: string, since: Nanos | undefined, signal: AbortSignal): AsyncIterable<OutputLine>;
  stats(id: string, signal?: AbortSignal): Promise<InstanceStats | undefined>;
}

export interface WatchOptions {
  /** Events from this time on that the engine still knows come first. */
  readonly since?: Nanos;
  readonly onProblem?: (error: unknown) => void;
}

/**
 * Each call resolves when the engine has done it; each may be repeated without harm where its
 * comment says so. Calls for different instances may overlap. The signal gives up waiting: whether
 * the engine still does it is unknown.
 *
 * @throws not_found, conflict (its state forbids it, or the engine tried and failed), unavailable,
 * permission, timeout
 */
export interface RuntimeWriter {
  /** Starts what is not running; a running one is left as it is, so that it may be repeated. */
  start(id: string, signal?: AbortSignal): Promise<void>;
  /** Stops, with `grace` milliseconds before the kill, and starts again. Not to be repeated. */
  restart(id: string, options: { readonly grace?: number }, signal?: AbortSignal): Promise<void>;
  stop(id: string, options: { readonly grace?: number }, signal?: AbortSignal): Promise<void>;
}

export interface Runtime extends RuntimeReader, RuntimeWriter {
  /** Lets go of the engine; local processes are ended. Idempotent. */
  close(): Promise<void>;
}
