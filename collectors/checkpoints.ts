import type { z } from 'zod';
import type { State } from '../core/contracts/state.ts';
import { messageOf, ReflexarcError } from '../core/errors.ts';
import type { Telemetry } from '../core/service.ts';
import type { Measures } from './measures.ts';

/** How long writes are gathered: what a crash makes us read again at most, per source. */
const GATHER = 250;

/**
 * Where each source goes on after a restart, under `collect/…` in the state of this host. Written
 * gathered, never per line; read back checked, since a damaged one must stop nobody but its source.
 */
export class Checkpoints {
  readonly #state: State;
  readonly #telemetry: Telemetry;
  readonly #measures: Measures;
  readonly #dirty = new Map<string, () => unknown>();
  #timer: { cancel(): void } | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(deps: { state: State; telemetry: Telemetry; measures: Measures }) {
    this.#state = deps.state;
    this.#telemetry = deps.telemetry;
    this.#measures = deps.measures;
  }

  /** Undefined when there is none, or none that can be used: that source then begins again. */
  async read<T>(key: string, schema: z.ZodType<T>): Promise<T | undefined> {
    try {
      const entry = await this.#state.get(key);
      if (entry === undefined) return undefined;
      const parsed = schema.safeParse(entry.value);
      if (parsed.success) return parsed.data;
      throw new ReflexarcError('corrupt', `checkpoint ${key} cannot be read`, {
        cause: parsed.error,
        hint: 'its source is read from the beginning again; repeats are removed downstream',
      });
    } catch (error) {
      this.#measures.badCheckpoints.inc();
      this.#telemetry.log.error({ err: error, key }, 'a checkpoint is unusable; beginning again');
      return undefined;
    }
  }

  async keys(prefix: string): Promise<string[]> {
    const entries = await this.#state.list(prefix);
    return entries.map((entry) => entry.key);
  }

  /** Soon; `value` is asked when it is written, so that only the newest is. */
  write(key: string, value: () => unknown): void {
    this.#dirty.set(key, value);
    this.#timer ??= this.#telemetry.clock.after(GATHER, () => {
      this.#timer = undefined;
      void this.flush();
    });
  }

  /** Before anything of a new generation may go out. @throws what the state throws */
  async writeNow(key: string, value: unknown): Promise<void> {
    this.#dirty.delete(key);
    await this.#state.put([{ key, value }]);
  }

  /** For a source that will not come back. */
  async remove(key: string): Promise<void> {
    this.#dirty.delete(key);
    await this.#writing;
    this.#dirty.delete(key);
    try {
      await this.#state.delete(key);
    } catch (error) {
      this.#telemetry.log.warn({ err: error, key }, 'a checkpoint could not be removed');
    }
  }

  /** Writes what is gathered; a failure is logged and tried again later. */
  async flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#flush());
    await this.#writing;
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.flush();
    this.#timer?.cancel();
  }

  async #flush(): Promise<void> {
    if (this.#dirty.size === 0) return;
    const taken = [...this.#dirty];
    this.#dirty.clear();
    try {
      await this.#state.put(taken.map(([key, value]) => ({ key, value: value() })));
      if (this.#failed) this.#telemetry.log.info('checkpoints are written again');
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) {
        this.#telemetry.log.error(
          { err: error, reason: messageOf(error) },
          'checkpoints cannot be written; after a restart more is read again',
        );
      }
      this.#failed = true;
      for (const [key, value] of taken) if (!this.#dirty.has(key)) this.write(key, value);
    }
  }
}
