import { z } from 'zod';
import type { RuntimeEvent } from '../../core/contracts/runtime.ts';
import { encodeLog } from '../../core/records/codec.ts';
import type { Nanos } from '../../core/time.ts';
import type { Checkpoints } from '../checkpoints.ts';
import type { Measures } from '../measures.ts';
import type { Lane } from '../output/output.ts';
import { isAfter, microsToNanos, Positions, STEP_BACK } from '../positions.ts';
import type { Labelling } from '../streams.ts';
import { isNoise } from './noise.ts';
import { eventRecord } from './record.ts';

const eventsCheckpoint = z.object({ position: z.tuple([z.number(), z.number()]) });

/** One runtime's events on their way to the bus. */
export class Events {
  readonly #key: string;
  readonly #checkpoints: Checkpoints;
  readonly #lane: Lane;
  readonly #measures: Measures;
  readonly #labelling: Labelling;
  readonly #positions = new Positions();
  readonly #began: Nanos;
  #newest: readonly [number, number] | undefined;
  #durable: readonly [number, number] | undefined;

  constructor(
    runtime: string,
    deps: {
      checkpoints: Checkpoints;
      lane: Lane;
      measures: Measures;
      labelling: Labelling;
      /** From when on events are wanted of which none were read before. */
      began: Nanos;
    },
  ) {
    this.#key = `collect/events/${runtime}`;
    this.#checkpoints = deps.checkpoints;
    this.#lane = deps.lane;
    this.#measures = deps.measures;
    this.#labelling = deps.labelling;
    this.#began = deps.began;
  }

  /** From when on events are wanted. */
  async resume(): Promise<Nanos> {
    const saved = await this.#checkpoints.read(this.#key, eventsCheckpoint);
    if (saved === undefined) return this.#began;
    this.#newest = saved.position;
    this.#durable = saved.position;
    return microsToNanos(saved.position[0]) - STEP_BACK;
  }

  /** Waits while the bus does not keep up. */
  async record(event: RuntimeEvent): Promise<void> {
    if (isNoise(event.action)) return;
    const position = this.#positions.next(event.time);
    if (!isAfter(position, this.#newest)) {
      this.#measures.redelivered.inc({ reason: 'resumed' });
      return;
    }
    this.#newest = position;
    this.#measures.events.inc({ action: event.action });
    const text = encodeLog(eventRecord(event, position, this.#labelling));
    this.#lane.push({
      topic: 'logs',
      values: [{ key: event.instance.id, value: Buffer.from(text), records: 1 }],
      done: () => {
        this.#durable = position;
        this.#checkpoints.write(this.#key, () => ({ position: this.#durable }));
      },
    });
    await this.#lane.room();
  }
}
