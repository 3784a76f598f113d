import type { Labels } from '../labels.ts';
import type { Origin } from './metric.ts';

export type AlertState = 'pending' | 'firing' | 'resolved';

/**
 * One transition of one alert, or news about a firing one. Published on `alerts` at once and
 * ungrouped, in order per fingerprint; grouping and waiting concern people, not remediation.
 */
export interface AlertRecord {
  readonly id: string;
  /** Milliseconds since the epoch: when it was decided. */
  readonly timestamp: number;
  /** Identity: `fingerprint(labels)`, `alertname` among them. */
  readonly fingerprint: string;
  readonly state: AlertState;
  /**
   * `transition`: the state changed. `evidence`: it fires on, and newer records match: sent at
   * once for a container start not named before, else at most every second.
   */
  readonly cause: 'transition' | 'evidence';
  readonly labels: Labels;
  readonly annotations: Labels;
  /** When its expression became true; when it began to fire; when it ended. Milliseconds. */
  readonly activeAt: number;
  readonly startsAt?: number;
  readonly endsAt?: number;
  /** The expression's value at the time. */
  readonly value: number;
  readonly rule: RuleRef;
  /** Newest first, a few. */
  readonly evidence: readonly Evidence[];
  /** Ids of the silences and fingerprints of the alerts that mute it; empty when none does. */
  readonly silencedBy: readonly string[];
  readonly inhibitedBy: readonly string[];
}

export interface RuleRef {
  readonly file: string;
  readonly group: string;
  readonly name: string;
  readonly kind: 'promql' | 'logql' | 'detector';
  readonly expr: string;
  /** `for`, milliseconds. */
  readonly for: number;
}

/** A record or sample that made the expression true. */
export interface Evidence {
  /** `event.id` of a log record; absent for samples. */
  readonly id?: string;
  /** RFC 3339 with nanoseconds: the record's own time. */
  readonly timestamp: string;
  /** The line, cut to 1 KiB; or the sample as text. */
  readonly text: string;
  readonly labels: Labels;
  /** Which container, and which of its starts, it came from. */
  readonly origin?: Origin;
}
