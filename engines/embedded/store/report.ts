/** What the store's thread tells the main one, which has the logger and the metrics. */
export interface Report {
  log(
    level: 'info' | 'warn' | 'error',
    fields: Readonly<Record<string, unknown>>,
    text: string,
  ): void;
  count(counter: Counter, by?: number): void;
}

/** Names and help texts of the counters, without their prefix. */
export const COUNTERS = {
  segments_sealed_total: 'Segments that were written',
  seal_errors_total: 'Segments that could not be written; it is tried again',
  corrupt_total: 'Data files, or parts of them, that could not be read back',
  incomplete_queries_total: 'Queries over a segment that cannot be read back',
  segments_removed_total: 'Segments that were removed for age or size',
} as const;

export type Counter = keyof typeof COUNTERS;

/** Where a test may stop the process. */
export type Failpoint = (step: Step) => void;

export type Step =
  | 'frozen'
  | 'segment-writing'
  | 'segment-written'
  | 'dictionary-written'
  | 'manifest-written'
  | 'log-removed'
  | 'retain-manifest-written';
