import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { Bus } from '../../core/contracts/bus.ts';
import type { Instance, Runtime } from '../../core/contracts/runtime.ts';
import type { State } from '../../core/contracts/state.ts';
import { fingerprint, type Labels } from '../../core/labels.ts';
import type { ActionRecord } from '../../core/records/action.ts';
import type { AlertRecord, Evidence } from '../../core/records/alert.ts';
import { decodeActions, encodeRecords } from '../../core/records/codec.ts';
import type { Service } from '../../core/service.ts';
import { ManualClock } from '../../core/testing/clock.ts';
import { MemoryBus } from '../../core/testing/memory-bus.ts';
import { MemoryState } from '../../core/testing/memory-state.ts';
import { formatRfc3339, millisToNanos } from '../../core/time.ts';
import { startRemediation } from '../remediate.ts';
import { FakeRuntime } from './fake-runtime.ts';

export const RESTART = `
remediations:
  - name: heal
    match: ['alertname=~"Died|Sick"']
    target: '{{ $labels.service }}'
    steps:
      - restart: {}
        verify: { within: 60s, healthy_for: 10s }
    limits: { cooldown: 5m, attempts: 3, window: 1h }
`;

export interface AlertSpec {
  readonly name?: string;
  readonly labels?: Labels;
  readonly state?: AlertRecord['state'];
  readonly cause?: AlertRecord['cause'];
  readonly on?: readonly Instance[];
  readonly evidence?: readonly Evidence[];
  readonly silencedBy?: readonly string[];
  readonly inhibitedBy?: readonly string[];
  readonly id?: string;
}

/** Remediation on engines in memory, with time in the test's hand. */
export class Harness {
  readonly clock = new ManualClock();
  readonly state = new MemoryState(this.clock);
  readonly bus = new MemoryBus(this.clock);
  readonly runtime = new FakeRuntime(this.clock);
  readonly dir = mkdtempSync(join(tmpdir(), 'reflexarc-remediation-'));
  metrics = new Registry();
  service: (Service & { reload(): Promise<void> }) | undefined;
  readonly #since = new Map<string, number>();
  #alerts = 0;

  /** @param file null: there is no remediations.yaml */
  constructor(file: string | null = RESTART) {
    if (file !== null) this.write(file);
  }

  write(file: string): void {
    writeFileSync(join(this.dir, 'remediations.yaml'), file);
  }

  async start(
    over: { bus?: Bus; state?: State; runtimes?: readonly Runtime[] } = {},
  ): Promise<void> {
    this.metrics = new Registry();
    this.service = await startRemediation({
      telemetry: { log: pino({ level: 'silent' }), metrics: this.metrics, clock: this.clock },
      dir: this.dir,
      bus: this.bus,
      state: this.state,
      runtimes: [this.runtime],
      ...over,
    });
    await this.clock.advance(0);
  }

  async stop(): Promise<void> {
    const stopped = this.service?.stop();
    await this.clock.advance(0);
    await stopped;
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Lets everything happen that takes no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await this.clock.advance(0);
  }

  /** Evidence on an instance's current run, now. */
  evidence(on: Instance, more: Partial<Evidence> = {}): Evidence {
    return {
      timestamp: formatRfc3339(millisToNanos(this.clock.now())),
      text: 'it broke',
      labels: { service: on.service },
      origin: { id: on.id, ...(on.startedAt === undefined ? {} : { startedAt: on.startedAt }) },
      ...more,
    };
  }

  alert(spec: AlertSpec = {}): AlertRecord {
    const { name = 'Died', state = 'firing', on = [] } = spec;
    const service = on[0]?.service;
    const labels = {
      alertname: name,
      ...(service === undefined ? {} : { service }),
      ...spec.labels,
    };
    const now = this.clock.now();
    const id = fingerprint(labels);
    const since = this.#since.get(id) ?? now;
    if (state === 'firing') this.#since.set(id, since);
    else this.#since.delete(id);
    return {
      id: spec.id ?? `alert-${this.#alerts++}`,
      timestamp: now,
      fingerprint: id,
      state,
      cause: spec.cause ?? 'transition',
      labels,
      annotations: {},
      activeAt: since,
      startsAt: since,
      value: 1,
      rule: { file: 'a.yaml', group: 'g', name, kind: 'logql', expr: 'x', for: 0 },
      evidence: spec.evidence ?? on.map((one) => this.evidence(one)),
      silencedBy: spec.silencedBy ?? [],
      inhibitedBy: spec.inhibitedBy ?? [],
    };
  }

  async publish(...records: readonly AlertRecord[]): Promise<void> {
    for (const record of records) {
      const message = { key: record.fingerprint, value: encodeRecords([record]), records: 1 };
      await this.bus.publish('alerts', [message]);
    }
    await this.settle();
  }

  async fire(spec: AlertSpec = {}): Promise<AlertRecord> {
    const record = this.alert(spec);
    await this.publish(record);
    return record;
  }

  /** Everything that was published, repeats and all. */
  get published(): readonly ActionRecord[] {
    return this.bus.messages('actions').flatMap(({ value }) => decodeActions(value).records);
  }

  /** What was published, repeats by id removed, as a store would. */
  get actions(): readonly ActionRecord[] {
    const byId = new Map<string, ActionRecord>();
    for (const record of this.published) {
      if (!byId.has(record.id)) byId.set(record.id, record);
    }
    return [...byId.values()];
  }

  /** `phase` or `phase:reason`, in order. */
  get phases(): readonly string[] {
    return this.actions.map(({ phase, reason }) =>
      reason === undefined ? phase : `${phase}:${reason}`,
    );
  }
}
