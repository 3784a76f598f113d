import { formatError } from '../../core/errors.ts';
import { type Labels, labelsKey } from '../../core/labels.ts';
import { type Sample, STALE_MARKER } from '../../core/records/metric.ts';
import type { RecordRule, Rule, RuleGroup } from '../rules/rule.ts';
import type { Alerts } from '../state/machine.ts';
import type { News } from '../window/window.ts';
import { AlertRunner, type RuleDeps } from './alert-rule.ts';
import { record } from './record-rule.ts';
import { everyTick, offsetOf } from './schedule.ts';

export interface GroupDeps extends RuleDeps {
  /** Publishes a tick's samples on `metrics`; must not make the group wait. */
  readonly publishSamples: (key: string, samples: readonly Sample[]) => void;
  /** After each tick. */
  readonly onTick: () => void;
}

interface Runner {
  readonly rule: Rule;
  readonly alert: AlertRunner | undefined;
  /** What the newest good evaluation gave: what is missing in the next ends with a marker. */
  series: ReadonlyMap<string, Labels>;
  lastError: string | undefined;
}

/** A group at work: its rules in order at each tick, one evaluation at a time. */
export class GroupRunner {
  readonly group: RuleGroup;
  readonly #deps: GroupDeps;
  readonly #runners: readonly Runner[];
  readonly #label: string;
  readonly #abort = new AbortController();
  #turn: Promise<void> = Promise.resolve();
  #ticking: Promise<void> = Promise.resolve();

  /** @param restored by the rule's id */
  constructor(group: RuleGroup, deps: GroupDeps, restored: (rule: string) => Alerts) {
    this.group = group;
    this.#deps = deps;
    this.#label = `${group.file};${group.name}`;
    this.#runners = group.rules.map((rule) => {
      const runner: Runner = { rule, alert: undefined, series: new Map(), lastError: undefined };
      if (rule.kind === 'record') return runner;
      const alert = new AlertRunner(rule, group.limit, deps, restored(rule.id), () =>
        this.#inTurn(() => this.#guard(withAlert, 'early', () => alert.early(this.#abort.signal))),
      );
      const withAlert: Runner = { ...runner, alert };
      return withAlert;
    });
    deps.metrics.rules.set({ rule_group: this.#label }, group.rules.length);
  }

  /** The alerts of its rules, and the rules themselves. */
  get alerts(): readonly AlertRunner[] {
    return this.#runners.flatMap(({ alert }) => (alert === undefined ? [] : [alert]));
  }

  start(): void {
    const { clock } = this.#deps.telemetry;
    const { interval } = this.group;
    const schedule = { interval, offset: offsetOf(this.group) };
    this.#ticking = everyTick(
      clock,
      schedule,
      async (at, missed) => {
        const labels = { rule_group: this.#label };
        if (missed > 0) this.#deps.metrics.missed.inc(labels, missed);
        await this.#inTurn(() => this.#tick(at));
        this.#deps.metrics.last.set(labels, at / 1000);
        this.#deps.onTick();
      },
      this.#abort.signal,
    );
    // Something may have passed between the last run's end and now.
    for (const runner of this.alerts) runner.lookEarly();
  }

  onNews(news: News): void {
    for (const { alert } of this.#runners) alert?.onNews(news);
  }

  /** The evaluation under way is given up; its alerts stay as they were. Idempotent. */
  async stop(): Promise<void> {
    this.#abort.abort();
    for (const runner of this.alerts) runner.stop();
    await Promise.all([this.#ticking, this.#turn]);
  }

  /** The group was taken out of the files, or these of its rules were. After `stop`. */
  async end(gone: (rule: Rule) => boolean): Promise<void> {
    const stale: Sample[] = [];
    const timestamp = this.#deps.telemetry.clock.now();
    for (const { rule, alert, series } of this.#runners) {
      if (!gone(rule)) continue;
      await alert?.end();
      for (const labels of series.values()) stale.push({ labels, timestamp, value: STALE_MARKER });
    }
    if (stale.length > 0) this.#deps.publishSamples(this.#label, stale);
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(() => (this.#abort.signal.aborted ? undefined : run()));
    this.#turn = turn;
    return turn;
  }

  async #tick(at: number): Promise<void> {
    const samples: Sample[] = [];
    for (const runner of this.#runners) {
      await this.#guard(runner, 'tick', async () => {
        const found = await this.#evaluate(runner, at);
        // Later rules of the group see what earlier ones recorded.
        this.#deps.window.remember(found);
        for (const sample of found) samples.push(sample);
      });
      if (this.#abort.signal.aborted) return;
    }
    if (samples.length > 0) this.#deps.publishSamples(this.#label, samples);
  }

  async #evaluate(runner: Runner, at: number): Promise<Sample[]> {
    const { signal } = this.#abort;
    const found =
      runner.alert === undefined
        ? await record(runner.rule as RecordRule, this.#deps.window, at, this.group.limit, signal)
        : await runner.alert.tick(at, signal);
    const before = runner.series;
    runner.series = new Map(found.map(({ labels }) => [labelsKey(labels), labels]));
    for (const [key, labels] of before) {
      if (!runner.series.has(key)) found.push({ labels, timestamp: at, value: STALE_MARKER });
    }
    return found;
  }

  /** A failure is counted, logged when it is new, and hinders no other rule. Never rejects. */
  async #guard(runner: Runner, when: 'tick' | 'early', run: () => Promise<void>): Promise<void> {
    const { metrics, telemetry } = this.#deps;
    const labels = { rule_group: this.#label };
    const started = telemetry.clock.monotonic();
    metrics.evaluations.inc(labels);
    try {
      await run();
      if (runner.lastError !== undefined) {
        telemetry.log.info({ rule: runner.rule.name, group: this.#label }, 'the rule works again');
      }
      runner.lastError = undefined;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      metrics.failures.inc(labels);
      const text = formatError(error);
      if (text !== runner.lastError) {
        telemetry.log.error(
          { err: error, rule: runner.rule.name, group: this.#label },
          `the rule could not be evaluated: ${text}`,
        );
      }
      runner.lastError = text;
    } finally {
      metrics.seconds.observe({ when }, (telemetry.clock.monotonic() - started) / 1000);
    }
  }
}
