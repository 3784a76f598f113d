import type { State } from '../../core/contracts/state.ts';
import { isReflexarcError } from '../../core/errors.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import type { Telemetry } from '../../core/service.ts';
import type { Sender } from './deliver.ts';
import { sentence } from './heals.ts';
import { type Message, messageOf, type NotifyAlert } from './message.ts';

const PREFIX = 'alerting/steps/';
/** How long one is tried, milliseconds; it is about what happens now. */
const DEADLINE = 3_600_000;

interface Kept {
  readonly action: ActionRecord;
  /** Integrations that have it. */
  readonly sent: readonly string[];
}

export interface StepDeps {
  readonly telemetry: Telemetry;
  readonly state: State;
  readonly externalUrl: string;
  readonly signal: AbortSignal;
  readonly sendersOf: (receiver: string) => readonly Sender[] | undefined;
  /** The alert as notifying knows it, if it does. */
  readonly alertOf: (fingerprint: string) => NotifyAlert | undefined;
}

/**
 * Messages that a remediation's notify step asks for: sent at once, past routes and groups. Each is
 * kept in State from before the bus's commit until it is delivered.
 */
export class StepMessages {
  readonly #deps: StepDeps;
  readonly #running = new Set<Promise<void>>();

  constructor(deps: StepDeps) {
    this.#deps = deps;
  }

  async restore(): Promise<void> {
    for (const { value } of await this.#deps.state.list(PREFIX)) {
      this.#start(value as unknown as Kept);
    }
  }

  async take(action: ActionRecord): Promise<void> {
    const { telemetry, state } = this.#deps;
    // The bus's whole history may come at the very first start.
    if (telemetry.clock.now() - action.timestamp > DEADLINE) return;
    const kept: Kept = { action, sent: [] };
    try {
      await state.create(PREFIX + action.id, kept);
    } catch (error) {
      // It came again while it is under way.
      if (isReflexarcError(error, 'conflict')) return;
      throw error;
    }
    this.#start(kept);
  }

  #start(kept: Kept): void {
    const run = this.#send(kept)
      .catch((error: unknown) => {
        this.#deps.telemetry.log.error(
          { err: error, remediation: kept.action.remediation },
          'the message of a notify step is kept, and is tried again after a restart',
        );
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #send({ action, sent }: Kept): Promise<void> {
    const { telemetry, state, signal } = this.#deps;
    const senders = this.#deps.sendersOf(action.receiver ?? '');
    if (senders === undefined) {
      telemetry.log.error(
        { receiver: action.receiver, remediation: action.remediation },
        'a notify step names a receiver that notify.yaml does not have: nobody is told',
      );
    }
    const done = new Set(sent);
    const message = this.#message(action);
    await Promise.all(
      (senders ?? []).map(async (sender) => {
        if (done.has(sender.integration.name)) return;
        const ok = await sender.send(() => ({ message }), DEADLINE, signal);
        if (ok === undefined) return;
        done.add(sender.integration.name);
        await state.put([{ key: PREFIX + action.id, value: { action, sent: [...done] } }]);
      }),
    );
    // Given up for good is counted by the sender; at a shutdown it stays for the next start.
    if (!signal.aborted) await state.delete(PREFIX + action.id);
  }

  #message(action: ActionRecord): Message {
    const { fingerprint, labels } = action.alert;
    const known = this.#deps.alertOf(fingerprint);
    const alert: NotifyAlert = {
      ...(known ?? {
        fingerprint,
        labels,
        annotations: {},
        startsAt: action.timestamp,
        generatorUrl: this.#deps.externalUrl,
      }),
    };
    const annotations = { ...alert.annotations, remediation: sentence(action) };
    return messageOf(
      {
        receiver: action.receiver ?? '',
        key: `remediation/${action.case}`,
        labels: { alertname: action.alert.name },
        externalUrl: this.#deps.externalUrl,
      },
      [{ ...alert, annotations }],
    );
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}
