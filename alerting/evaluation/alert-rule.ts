import type { LogRow } from '../../core/contracts/queryable.ts';
import { ReflexarcError } from '../../core/errors.ts';
import type { Labels } from '../../core/labels.ts';
import type { AlertRecord } from '../../core/records/alert.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { Telemetry } from '../../core/service.ts';
import { type Nanos, nanosToMillis } from '../../core/time.ts';
import type { LogSelection } from '../../lang/logql/select.ts';
import type { AlertRule, RuleSource } from '../rules/rule.ts';
import {
  type Alert,
  type Alerts,
  type Finding,
  resolveAll,
  type Step,
  startEarly,
  step,
} from '../state/machine.ts';
import { recordOf } from '../state/record.ts';
import { logKey } from '../window/logs.ts';
import { sampleKey } from '../window/samples.ts';
import type { News, Window } from '../window/window.ts';
import { Coalescer } from './early.ts';
import {
  agrees,
  type Gathered,
  gatherEvidence,
  newSamples,
  originKey,
  passes,
} from './evidence.ts';
import { findingsOf } from './findings.ts';
import type { EvaluationMetrics } from './metrics.ts';

/** Milliseconds between two evaluations between ticks: after lines, and after samples. */
const LOG_SPACING = 50;
const SAMPLE_SPACING = 1000;
/** Milliseconds between two pieces of news about a firing alert whose containers are all named. */
const EVIDENCE_SPACING = 1000;
/** How far ahead of our clock a record's own time may be and still be believed, milliseconds. */
const MAX_AHEAD = 60_000;

/** What a step leads to. `records` has one for each transition. */
export interface Change {
  readonly rule: RuleSource;
  readonly transitions: readonly { readonly alert: Alert; readonly record: AlertRecord }[];
  /** Changed in what must survive, without a transition. */
  readonly kept: readonly Alert[];
  readonly forgotten: readonly string[];
}

export interface RuleDeps {
  readonly telemetry: Telemetry;
  readonly metrics: EvaluationMetrics;
  readonly window: Window;
  readonly externalUrl: string;
  /** Makes a change durable, and then tells everybody. @throws what State throws: nothing changed */
  readonly commit: (change: Change) => Promise<void>;
  /** News about a firing alert. */
  readonly publish: (record: AlertRecord) => void;
  /** Values and annotations of what fires, as of a tick. */
  readonly observe: (rule: RuleSource, alerts: readonly Alert[]) => void;
}

/** What has been published about a firing alert. */
interface Track {
  readonly named: Set<string>;
  newest: Nanos;
  readonly news: Coalescer;
}

/** One alerting rule at work. Its calls must not overlap; the group sees to it. */
export class AlertRunner {
  readonly rule: AlertRule;
  readonly #deps: RuleDeps;
  readonly #limit: number;
  readonly #tracks = new Map<string, Track>();
  readonly #logKeys: readonly (readonly [string, LogSelection])[];
  readonly #causeKeys: readonly (readonly [string, LogSelection])[];
  readonly #sampleKeys: readonly string[];
  readonly #early: Coalescer;
  #alerts: Alerts;
  /** Newest time of a record that made us look, milliseconds. */
  #newest = 0;

  /** @param early asks the group for a call of `early` */
  constructor(
    rule: AlertRule,
    limit: number,
    deps: RuleDeps,
    alerts: Alerts,
    early: () => Promise<void>,
  ) {
    this.rule = rule;
    this.#limit = limit;
    this.#deps = deps;
    this.#alerts = alerts;
    const keyed = (selection: LogSelection): readonly [string, LogSelection] => [
      logKey(selection.pipeline.matchers, selection.pipeline.filters),
      selection,
    ];
    this.#logKeys = rule.query.logs.map(keyed);
    this.#causeKeys = rule.query.causes.logs.map(keyed);
    this.#sampleKeys = rule.query.samples.map(({ matchers }) => sampleKey(matchers));
    this.#early = new Coalescer(deps.telemetry.clock, early);
    for (const alert of alerts.values()) if (alert.state === 'firing') this.#track(alert);
  }

  get alerts(): Alerts {
    return this.#alerts;
  }

  /** Evaluates at a tick, milliseconds. @returns the samples `ALERTS` and `ALERTS_FOR_STATE` */
  async tick(at: number, signal: AbortSignal): Promise<Sample[]> {
    const findings = await this.#evaluate(at, signal);
    if (this.#limit > 0 && findings.length > this.#limit) {
      await this.#commit(resolveAll(this.#alerts, at), at);
      throw overLimit(findings.length, this.#limit);
    }
    await this.#commit(step(this.#alerts, findings, at, this.rule), at);
    const firing = [...this.#alerts.values()].filter(({ state }) => state === 'firing');
    if (firing.length > 0) this.#deps.observe(this.rule, firing);
    this.#newsOfSamples(findings, at);
    return samplesOf(this.rule, this.#alerts, at);
  }

  /** Looks between ticks whether an alert begins. */
  async early(signal: AbortSignal): Promise<void> {
    const now = this.#deps.telemetry.clock.now();
    const at = this.#newest > now && this.#newest - now < MAX_AHEAD ? this.#newest : now;
    const findings = await this.#evaluate(at, signal);
    if (this.rule.for === 0) {
      if (this.#limit > 0 && findings.length > this.#limit) {
        throw overLimit(findings.length, this.#limit);
      }
      await this.#commit(startEarly(this.#alerts, findings, at), at);
    }
    this.#newsOfSamples(findings, at);
  }

  /** The rule is gone: what it had raised ends. */
  async end(): Promise<void> {
    const now = this.#deps.telemetry.clock.now();
    await this.#commit(resolveAll(this.#alerts, now), now);
  }

  stop(): void {
    this.#early.stop();
    for (const track of this.#tracks.values()) track.news.stop();
  }

  /** Something may have passed while nobody looked: what begins an alert, or is news about one. */
  lookEarly(): void {
    const { logs, samples } = this.rule.query.causes;
    // Nothing that passes begins an alert on absence: that is for the ticks.
    const begins = logs.length > 0 || samples.length > 0;
    if (this.rule.for === 0 && begins) this.#early.call(0);
    for (const { news } of this.#tracks.values()) news.call(0);
  }

  /** Records that have just passed: may begin an alert, and are news about those that fire. */
  onNews(news: News): void {
    if (this.#sampleKeys.some((key) => news.samples.has(key))) {
      if (this.rule.for === 0 || this.#tracks.size > 0) this.#early.call(SAMPLE_SPACING);
    }
    if (this.rule.for === 0) {
      for (const [key, selection] of this.#logKeys) {
        const row = news.logs.get(key)?.findLast((each) => passes(selection, each) !== undefined);
        if (row === undefined) continue;
        this.#newest = Math.max(this.#newest, Math.ceil(nanosToMillis(row.timestamp)));
        this.#early.call(LOG_SPACING);
      }
    }
    if (this.#tracks.size === 0) return;
    for (const [key, selection] of this.#causeKeys) {
      const rows = news.logs.get(key);
      if (rows !== undefined) this.#newsOfRows(selection, rows);
    }
  }

  #newsOfRows(selection: LogSelection, rows: readonly LogRow[]): void {
    // One row of each container start and stream says all: the record gathers the newest anyway.
    const seen = new Map<Labels, Set<string>>();
    for (const row of rows.toReversed()) {
      const origin = originKey(row.origin);
      if (seen.get(row.labels)?.has(origin) === true) continue;
      const labels = passes(selection, row);
      if (labels === undefined) continue;
      seen.set(row.labels, (seen.get(row.labels) ?? new Set()).add(origin));
      for (const [fingerprint, track] of this.#tracks) {
        const alert = this.#alerts.get(fingerprint);
        if (alert === undefined || !agrees(labels, alert.metric)) continue;
        if (row.timestamp <= track.newest && track.named.has(origin)) continue;
        track.news.call(track.named.has(origin) ? EVIDENCE_SPACING : 0);
      }
    }
  }

  #newsOfSamples(findings: readonly Finding[], at: number): void {
    for (const { fingerprint, metric } of findings) {
      const track = this.#tracks.get(fingerprint);
      if (track === undefined) continue;
      if (newSamples(this.#deps.window, this.rule.query, metric, track.newest, at)) {
        track.news.call(EVIDENCE_SPACING);
      }
    }
  }

  async #evaluate(at: number, signal: AbortSignal): Promise<Finding[]> {
    const { telemetry, window, externalUrl } = this.#deps;
    const result = await this.rule.query.evaluate(window, at, signal);
    return findingsOf(this.rule, result, externalUrl, (error) => {
      telemetry.log.warn(
        { err: error, rule: this.rule.name, group: this.rule.ref.group },
        'a template of the rule failed',
      );
    });
  }

  async #commit({ alerts, transitions, forgotten }: Step, at: number): Promise<void> {
    const { telemetry, window, metrics } = this.#deps;
    const changed = new Set(transitions);
    const kept = [...alerts.values()].filter(
      (alert) =>
        !changed.has(alert) &&
        alert.keepFiringSince !== this.#alerts.get(alert.fingerprint)?.keepFiringSince,
    );
    if (transitions.length > 0 || kept.length > 0 || forgotten.length > 0) {
      const now = telemetry.clock.now();
      const gathered = new Map<string, Gathered>();
      await this.#deps.commit({
        rule: this.rule,
        transitions: transitions.map((alert) => {
          const evidence = gatherEvidence(window, this.rule.query, alert.metric, at, NOBODY);
          gathered.set(alert.fingerprint, evidence);
          return { alert, record: recordOf(this.rule, alert, 'transition', evidence, now) };
        }),
        kept,
        forgotten,
      });
      for (const alert of transitions) {
        this.#untrack(alert.fingerprint);
        if (alert.state !== 'firing') continue;
        const { evidence, newest } = gathered.get(alert.fingerprint) ?? NOTHING;
        const track = this.#track(alert);
        track.newest = newest;
        for (const { origin } of evidence) track.named.add(originKey(origin));
        if (newest > 0n) metrics.lateness.observe(Math.max(0, now - nanosToMillis(newest)) / 1000);
        telemetry.log.info(
          { alert: this.rule.name, labels: alert.labels, value: alert.value },
          'alert fires',
        );
      }
    }
    this.#alerts = alerts;
    // What passed while this was decided and written is no evidence yet, and nobody else tells it.
    for (const { state, fingerprint } of transitions) {
      if (state === 'firing') this.#tracks.get(fingerprint)?.news.call(0);
    }
  }

  #track(alert: Alert): Track {
    const track: Track = {
      named: new Set(),
      newest: 0n,
      news: new Coalescer(this.#deps.telemetry.clock, () => {
        this.#publishNews(alert.fingerprint, track);
        return Promise.resolve();
      }),
    };
    this.#tracks.set(alert.fingerprint, track);
    return track;
  }

  #untrack(fingerprint: string): void {
    this.#tracks.get(fingerprint)?.news.stop();
    this.#tracks.delete(fingerprint);
  }

  #publishNews(fingerprint: string, track: Track): void {
    const alert = this.#alerts.get(fingerprint);
    if (alert?.state !== 'firing') return;
    const now = this.#deps.telemetry.clock.now();
    const { query } = this.rule;
    // A record's clock may be a little ahead of ours.
    const gathered = gatherEvidence(
      this.#deps.window,
      query,
      alert.metric,
      now + 1000,
      track.named,
    );
    const named = gathered.evidence.map(({ origin }) => originKey(origin));
    if (gathered.newest <= track.newest && named.every((key) => track.named.has(key))) return;
    track.newest = gathered.newest;
    for (const key of named) track.named.add(key);
    this.#deps.publish(recordOf(this.rule, alert, 'evidence', gathered, now));
    if (gathered.more) track.news.call(0);
  }
}

const NOTHING: Gathered = { evidence: [], newest: 0n, more: false };
const NOBODY: ReadonlySet<string> = new Set();

const overLimit = (count: number, limit: number): ReflexarcError =>
  new ReflexarcError('limit_exceeded', `the rule has ${count} alerts, and its limit is ${limit}`, {
    hint: "raise the group's limit, or aggregate in the expression",
  });

function samplesOf(rule: AlertRule, alerts: Alerts, timestamp: number): Sample[] {
  const samples: Sample[] = [];
  for (const { labels, state, activeAt } of alerts.values()) {
    if (state === 'resolved') continue;
    const own: Labels = { ...labels, alertname: rule.name };
    samples.push(
      { labels: { ...own, __name__: 'ALERTS', alertstate: state }, timestamp, value: 1 },
      { labels: { ...own, __name__: 'ALERTS_FOR_STATE' }, timestamp, value: activeAt / 1000 },
    );
  }
  return samples;
}
