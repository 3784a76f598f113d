import type { Instance } from '../../core/contracts/runtime.ts';
import { type Nanos, parseRfc3339 } from '../../core/time.ts';
import { type EngineEvent, signalName } from './events.ts';
import type { Described } from './identity.ts';

/**
 * Who ended a run. The engine does not say whether a container was stopped by someone, or by us, or
 * ended by itself; its events do, read in their order.
 */

/** What is known of a container's newest run. */
interface Run {
  /** The time of the `start` event; undefined: before what we know. */
  readonly began: Nanos | undefined;
  /** Someone asked for its end. */
  byHand: boolean;
  /** When someone sent a signal that ends most, and has other uses, too. */
  signalled: Nanos | undefined;
  /** We asked for its end. */
  byUs: boolean;
  oom: boolean;
  died: Nanos | undefined;
}

/** A call of ours, from just before it is made until its last event has passed. */
export interface OwnCall {
  readonly kind: 'start' | 'stop' | 'restart';
  /** Its `start` event has passed: a death from now on is not ours any more. */
  started: boolean;
}

const TERMINATING = new Set(['SIGTERM', 'SIGKILL']);

/** `docker kill -s QUIT` has a JVM write its threads, and ends others. Only a death soon after tells. */
const MAYBE_TERMINATING = new Set(['SIGINT', 'SIGQUIT']);
const SOON: Nanos = 30_000_000_000n;

/** How much older than a death, at most, its cause is taken to be: ten seconds is the usual grace. */
const MARGIN: Nanos = 30_000_000_000n;

export interface Verdict {
  /** To be added to the event's attributes. */
  readonly attributes: Readonly<Record<string, string>>;
}

export class Hands {
  readonly #runs = new Map<string, Run>();
  readonly #calls = new Map<string, Set<OwnCall>>();
  /** All events since then have been seen; undefined: nothing is known. */
  #horizon: Nanos | undefined;

  /** Nothing before `time` is known (any more): an engine that restarted has forgotten, too. */
  knownSince(time: Nanos): void {
    this.#horizon = time;
    for (const [id, run] of this.#runs) {
      // A death that was seen stays known by its time; a run that was under way may have ended
      // unseen.
      if (run.died === undefined) this.#runs.delete(id);
    }
  }

  /** To be called just before a call of ours is made. */
  begin(id: string, kind: OwnCall['kind']): OwnCall {
    const call: OwnCall = { kind, started: false };
    const calls = this.#calls.get(id) ?? new Set();
    calls.add(call);
    this.#calls.set(id, calls);
    return call;
  }

  end(id: string, call: OwnCall): void {
    const calls = this.#calls.get(id);
    calls?.delete(call);
    if (calls?.size === 0) this.#calls.delete(id);
  }

  /** Reads the next event, and says what is to be added to it. */
  see(event: EngineEvent, stopSignal: string | undefined): Verdict {
    const { id, action, time } = event;
    const ours = this.#ours(event);
    const by: Record<string, string> = ours === undefined ? {} : { by: 'reflexarc' };
    if (action === 'start') {
      this.#runs.set(id, newRun(time));
      if (ours !== undefined) ours.started = true;
      if (ours?.kind === 'start') this.end(id, ours);
      return { attributes: by };
    }
    const run = this.#run(id);
    switch (action) {
      case 'restart': {
        if (ours !== undefined) this.end(id, ours);
        return { attributes: by };
      }
      case 'kill': {
        const ends = this.#terminates(event, stopSignal);
        if (ends && ours === undefined) run.byHand = true;
        if (ends && ours !== undefined) run.byUs = true;
        if (!ends && MAYBE_TERMINATING.has(event.attributes['signal'] ?? '')) run.signalled = time;
        return { attributes: { ...by, by_hand: String(ours === undefined) } };
      }
      case 'stop':
      case 'pause': {
        if (ours === undefined) {
          // The `stop` of somebody's restart comes after the death, and before the next start.
          run.byHand = true;
        } else if (ours.kind === 'stop') this.end(id, ours);
        return { attributes: { ...by, by_hand: String(ours === undefined) } };
      }
      case 'unpause': {
        run.byHand = false;
        return { attributes: {} };
      }
      case 'oom': {
        run.oom = true;
        return { attributes: {} };
      }
      case 'die': {
        run.died = time;
        if (run.signalled !== undefined && time - run.signalled < SOON) run.byHand = true;
        return {
          attributes: {
            // A death that we did not ask for is not ours, even in the middle of a restart.
            ...(run.byUs && !run.byHand && { by: 'reflexarc' }),
            by_hand: String(run.byHand),
            ...(run.oom && { oom: 'true' }),
          },
        };
      }
      default:
        return { attributes: {} };
    }
  }

  /** To be called once its `destroy` has been dealt with. */
  forget(id: string): void {
    this.#runs.delete(id);
    this.#calls.delete(id);
  }

  /** Whether this death has been seen, so that what went before it has been, too. */
  sawDeath(id: string, finishedAt: string): boolean {
    const died = this.#runs.get(id)?.died;
    const finished = parseRfc3339(finishedAt);
    return died !== undefined && finished !== undefined && died >= finished;
  }

  /** Whether events reach back far enough to show a death at that time, sooner or later. */
  reaches(finishedAt: string): boolean {
    const finished = parseRfc3339(finishedAt);
    return this.#horizon !== undefined && finished !== undefined && finished > this.#horizon;
  }

  stoppedByHand(instance: Described): Instance['stoppedByHand'] {
    if (instance.state === 'paused') return true;
    const run = this.#runs.get(instance.id);
    if (instance.state === 'created' && instance.startedAt === undefined) return false;
    if (instance.state !== 'exited' && instance.state !== 'dead') {
      // It may run again before its `start` has been seen.
      return run !== undefined && !isNewer(instance, run) && run.byHand;
    }
    const finished = parseRfc3339(instance.finishedAt ?? '');
    if (finished === undefined) return run?.byHand ?? 'unknown';
    if (run?.died === undefined) {
      if (run?.byHand === true) return true;
    } else if (run.died >= finished) {
      if (run.byHand) return true;
      if (run.byUs || run.began !== undefined) return false;
      // The signal to end may be older than the end itself, by the time it was given to do so.
      if (this.#horizon !== undefined && finished - MARGIN > this.#horizon) return false;
    }
    return 'unknown';
  }

  #run(id: string): Run {
    const known = this.#runs.get(id);
    if (known !== undefined) return known;
    const run = newRun(undefined);
    this.#runs.set(id, run);
    return run;
  }

  /** The call of ours that this event comes from. */
  #ours({ id, action }: EngineEvent): OwnCall | undefined {
    for (const call of this.#calls.get(id) ?? []) {
      const { kind, started } = call;
      if (action === 'start' && kind !== 'stop' && !started) return call;
      if (action === 'restart' && kind === 'restart') return call;
      if ((action === 'kill' || action === 'stop') && kind !== 'start' && !started) return call;
    }
    return undefined;
  }

  #terminates({ attributes }: EngineEvent, stopSignal: string | undefined): boolean {
    const signal = attributes['signal'] ?? 'SIGKILL';
    return (
      TERMINATING.has(signal) ||
      (stopSignal !== undefined && stopSignal !== '' && signalName(stopSignal) === signal)
    );
  }
}

const newRun = (began: Nanos | undefined): Run => ({
  began,
  byHand: false,
  signalled: undefined,
  byUs: false,
  oom: false,
  died: undefined,
});

/** Whether an instance is in a later run than the newest that was seen. */
function isNewer({ startedAt }: Described, { began, died }: Run): boolean {
  const start = parseRfc3339(startedAt ?? '');
  if (start === undefined) return false;
  return (began !== undefined && start > began) || (died !== undefined && start > died);
}
