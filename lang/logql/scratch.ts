import type { Labels } from '../../core/labels.ts';
import { labelOf } from '../series/labels.ts';

const ERROR = '__error__';
const DETAILS = '__error_details__';

/** The labels of one line on its way through a pipeline. The stream's own are never changed. */
export class Scratch {
  readonly #base: Labels;
  #extracted: Map<string, string> | undefined;
  #error: string | undefined;
  #details = '';

  constructor(base: Labels) {
    this.#base = base;
  }

  get failed(): boolean {
    return this.#error !== undefined;
  }

  get(name: string): string {
    if (name === ERROR) return this.#error ?? '';
    if (name === DETAILS) return this.#details;
    return this.#extracted?.get(name) ?? labelOf(this.#base, name);
  }

  /** A parser's find. Where the stream has the label, its name gets `_extracted`. */
  extract(name: string, value: string): void {
    if (name === '') return;
    this.#extracted ??= new Map();
    const own = labelOf(this.#base, name) !== '';
    this.#extracted.set(own ? `${name}_extracted` : name, value);
  }

  fail(error: string, details: string): void {
    this.#error = error;
    this.#details = details;
  }

  result(): Labels {
    if (this.#extracted === undefined && this.#error === undefined) return this.#base;
    const labels: Record<string, string> = { ...this.#base };
    for (const [name, value] of this.#extracted ?? []) if (value !== '') labels[name] = value;
    if (this.#error !== undefined) {
      labels[ERROR] = this.#error;
      if (this.#details !== '') labels[DETAILS] = this.#details;
    }
    return labels;
  }
}
