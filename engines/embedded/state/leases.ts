import type { Lease } from '../../../core/contracts/state.ts';
import { ReflexarcError } from '../../../core/errors.ts';
import type { Telemetry } from '../../../core/service.ts';
import type { StateMetrics } from './metrics.ts';

interface LeaseParts {
  readonly telemetry: Telemetry;
  readonly metrics: StateMetrics;
  /** Higher than every one before, and durable. */
  readonly nextFence: (name: string) => Promise<number>;
}

/**
 * Who holds what. Only the fences are kept in the file: one process owns the folder, so that a
 * lease from before this process has no holder any more.
 */
export class Leases {
  readonly #parts: LeaseParts;
  readonly #held = new Map<string, HeldLease>();
  /** Names that are being taken; whoever comes meanwhile waits to see how it ends. */
  readonly #taking = new Map<string, Promise<unknown>>();
  #closed = false;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
  }

  async acquire(name: string, holder: string, ttl: number): Promise<Lease | undefined> {
    if (!(ttl > 0)) throw new ReflexarcError('bad_request', `a lease lasts longer than ${ttl} ms`);
    while (this.#taking.has(name)) await this.#taking.get(name)?.catch(() => undefined);
    const current = this.#held.get(name);
    // The same holder's next life takes over from its last one.
    if (current?.live() === true && current.holder !== holder) return undefined;
    current?.lose('another holder took it');
    const taking = this.#parts.nextFence(name);
    this.#taking.set(name, taking);
    try {
      const fence = await taking;
      if (this.#closed) throw new ReflexarcError('unavailable', 'the state is closed');
      const lease: HeldLease = new HeldLease(this.#parts, { name, holder, fence, ttl }, () => {
        if (this.#held.get(name) === lease) this.#held.delete(name);
      });
      this.#held.set(name, lease);
      this.#parts.metrics.leases.inc({ outcome: 'taken' });
      return lease;
    } finally {
      this.#taking.delete(name);
    }
  }

  close(): void {
    this.#closed = true;
    for (const lease of this.#held.values()) lease.lose('the state was closed');
  }
}

interface Terms {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
  readonly ttl: number;
}

class HeldLease implements Lease {
  readonly name: string;
  readonly holder: string;
  readonly fence: number;
  readonly #ttl: number;
  readonly #parts: LeaseParts;
  readonly #onEnd: () => void;
  readonly #lost = new AbortController();
  #renewed: number;
  #timer: { cancel(): void };

  constructor(parts: LeaseParts, { name, holder, fence, ttl }: Terms, onEnd: () => void) {
    this.name = name;
    this.holder = holder;
    this.fence = fence;
    this.#ttl = ttl;
    this.#parts = parts;
    this.#onEnd = onEnd;
    this.#renewed = parts.telemetry.clock.monotonic();
    this.#timer = this.#renewLater();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  #renewLater(): { cancel(): void } {
    return this.#parts.telemetry.clock.after(this.#ttl / 3, () => {
      // Late after all: the process was stopped, or its thread was blocked.
      if (!this.live()) return;
      this.#renewed = this.#parts.telemetry.clock.monotonic();
      this.#timer = this.#renewLater();
    });
  }

  /** Notices by itself when its time has run out. */
  live(): boolean {
    if (this.signal.aborted) return false;
    if (this.#parts.telemetry.clock.monotonic() - this.#renewed < this.#ttl) return true;
    this.lose('it was not renewed in time');
    return false;
  }

  lose(reason: string): void {
    if (this.signal.aborted) return;
    const { telemetry, metrics } = this.#parts;
    const { name, holder, fence } = this;
    telemetry.log.warn({ lease: name, holder, fence, reason }, 'a lease is lost');
    metrics.leases.inc({ outcome: 'lost' });
    this.#end(new ReflexarcError('lease_lost', `lease ${name}: ${reason}`));
  }

  #end(reason: ReflexarcError): void {
    this.#timer.cancel();
    this.#onEnd();
    this.#lost.abort(reason);
  }

  async held(): Promise<boolean> {
    return this.live();
  }

  async release(): Promise<void> {
    if (this.signal.aborted) return;
    this.#end(new ReflexarcError('lease_lost', `lease ${this.name} was released`));
  }
}
