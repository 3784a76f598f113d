import type {
  CountSeries,
  LogCount,
  LogSelect,
  MilliRange,
  SampleSeries,
} from '../../../core/contracts/queryable.ts';
import type {
  AppendResult,
  BusPosition,
  HistorySelect,
  LabelSelect,
  StoredTopic,
  StoreStats,
} from '../../../core/contracts/store.ts';
import type { ErrorCode } from '../../../core/errors.ts';
import type { Labels, Matcher } from '../../../core/labels.ts';
import type { Origin } from '../../../core/records/metric.ts';
import type { Tuning } from './lane.ts';
import type { Counter, Step } from './report.ts';

/** What the main thread and the store's thread say to each other. */

export interface WorkerOptions {
  readonly folder: string;
  readonly memory: number;
  readonly maxSize: number;
  readonly maxAge: number;
  readonly tuning: Tuning;
  /** Tests only: the process kills itself when it comes to this step. */
  readonly dieAt: Step | undefined;
}

export interface Calls {
  append: {
    readonly ask: {
      readonly topic: StoredTopic;
      /** One after the other. Its memory goes back with the answer. */
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly lengths: readonly number[];
      readonly commit: BusPosition | undefined;
      readonly now: number;
    };
    readonly answer: AppendResult;
  };
  /** Answers with the query's first batch; `next` asks for more. */
  selectLogs: { readonly ask: LogSelect; readonly answer: LogBatch | undefined };
  next: { readonly ask: number; readonly answer: LogBatch | undefined };
  countLogs: { readonly ask: LogCount; readonly answer: readonly CountSeries[] };
  selectSamples: {
    readonly ask: MilliRange & { readonly matchers: readonly Matcher[] };
    readonly answer: readonly SampleSeries[];
  };
  series: { readonly ask: LabelSelect; readonly answer: readonly Labels[] };
  history: {
    readonly ask: { readonly topic: 'alerts' | 'actions'; readonly query: HistorySelect };
    /** As they came from the bus, one a line. */
    readonly answer: string;
  };
  position: {
    readonly ask: readonly [group: string, topic: string, partition: number];
    readonly answer: number | undefined;
  };
  stats: { readonly ask: undefined; readonly answer: StoreStats };
  retain: { readonly ask: number; readonly answer: { readonly removedBytes: number } };
  close: { readonly ask: undefined; readonly answer: undefined };
}

export type Method = keyof Calls;

/** Rows by column; `streams` counts into `dictionary`. */
export interface LogBatch {
  readonly times: readonly bigint[];
  readonly lines: readonly string[];
  readonly ids: readonly string[];
  readonly metadata: readonly (string | null)[];
  readonly streams: readonly number[];
  readonly dictionary: readonly { readonly labels: Labels; readonly origin: Origin | undefined }[];
  /** No more batches follow. */
  readonly last: boolean;
}

export type ToWorker =
  | { readonly call: number; readonly method: Method; readonly ask: unknown }
  | { readonly cancel: number };

export type FromWorker =
  | { readonly ready: true }
  | { readonly call: number; readonly answer: unknown; readonly spare?: ArrayBuffer }
  | { readonly call: number; readonly error: ErrorText }
  | { readonly log: 'info' | 'warn' | 'error'; readonly fields: object; readonly text: string }
  | { readonly counter: Counter; readonly by: number };

/** An error, as it crosses from thread to thread. */
export interface ErrorText {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly file: string | undefined;
  readonly cause: string | undefined;
}
