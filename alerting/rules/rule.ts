import type { Labels } from '../../core/labels.ts';
import type { RuleRef } from '../../core/records/alert.ts';
import type { Query } from './query.ts';

/** What a template of a rule can use. */
export interface TemplateData {
  readonly labels: Labels;
  readonly value: number;
  readonly externalURL: string;
}

export type Template = (data: TemplateData) => string;
export type Templates = readonly (readonly [name: string, template: Template])[];

interface RuleBase {
  /** Identity over reloads and restarts: file, group, name and labels, as Prometheus matches them. */
  readonly id: string;
  /** Changes whenever anything that the rule does changes. */
  readonly version: string;
  readonly name: string;
  readonly query: Query;
}

/** Which rule an alert comes from; known also where the rule itself is gone from the files. */
export interface RuleSource {
  readonly id: string;
  readonly ref: RuleRef;
}

export interface AlertRule extends RuleBase, RuleSource {
  readonly kind: 'alert';
  /** Milliseconds. */
  readonly for: number;
  readonly keepFiringFor: number;
  readonly labels: Templates;
  readonly annotations: Templates;
}

export interface RecordRule extends RuleBase {
  readonly kind: 'record';
  readonly labels: Labels;
}

export type Rule = AlertRule | RecordRule;

export interface RuleGroup {
  /** Relative to the configuration's folder. */
  readonly file: string;
  readonly name: string;
  /** Milliseconds. */
  readonly interval: number;
  /** 0: none. */
  readonly limit: number;
  readonly rules: readonly Rule[];
}
