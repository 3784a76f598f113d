import type { Clock } from '../../core/clock.ts';
import type { CountSeries, LogQueryable, LogRow } from '../../core/contracts/queryable.ts';

/** Counts what a query reads, for the `stats` of Loki's answers. */
export class Meter {
  #lines = 0;
  #bytes = 0;
  readonly #clock: Clock;
  readonly #began: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#began = clock.monotonic();
  }

  /** Lines that the store counted itself are known by number; their bytes are not. */
  wrap(queryable: LogQueryable): LogQueryable {
    const rows = (batch: readonly LogRow[]): void => {
      this.#lines += batch.length;
      for (const { line } of batch) this.#bytes += Buffer.byteLength(line);
    };
    const counts = (series: readonly CountSeries[], measure: 'lines' | 'bytes'): void => {
      let sum = 0;
      for (const { points } of series) for (const { value } of points) sum += value;
      if (measure === 'lines') this.#lines += sum;
      else this.#bytes += sum;
    };
    return {
      async *selectLogs(query, signal) {
        for await (const batch of queryable.selectLogs(query, signal)) {
          rows(batch);
          yield batch;
        }
      },
      async countLogs(query, signal) {
        const series = await queryable.countLogs(query, signal);
        counts(series, query.measure);
        return series;
      },
    };
  }

  /** https://grafana.com/docs/loki/latest/reference/loki-http-api/#statistics */
  stats(entriesReturned: number): object {
    const execTime = Math.max(0, this.#clock.monotonic() - this.#began) / 1000;
    const perSecond = (value: number): number =>
      execTime > 0 ? Math.round(value / execTime) : value;
    return {
      summary: {
        bytesProcessedPerSecond: perSecond(this.#bytes),
        linesProcessedPerSecond: perSecond(this.#lines),
        totalBytesProcessed: this.#bytes,
        totalLinesProcessed: this.#lines,
        execTime,
        queueTime: 0,
        subqueries: 0,
        totalEntriesReturned: entriesReturned,
        splits: 0,
        shards: 0,
        totalPostFilterLines: this.#lines,
      },
    };
  }
}

export const statsSchema = {
  type: 'object',
  description: 'What the query read, and how long it took',
  additionalProperties: true,
} as const;
