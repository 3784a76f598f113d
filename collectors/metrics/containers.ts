import type { Instance, InstanceStats } from '../../core/contracts/runtime.ts';
import { isReflexarcError } from '../../core/errors.ts';
import type { Sample } from '../../core/records/metric.ts';
import type { Telemetry } from '../../core/service.ts';
import { normalizeRfc3339 } from '../../core/time.ts';
import type { Measures } from '../measures.ts';
import type { Labelling } from '../streams.ts';
import type { Watched } from '../watched.ts';
import { containerLabels, containerMeasurements } from './container.ts';
import type { Reading } from './measuring.ts';
import { toSamples } from './series.ts';

const AT_ONCE = 8;
const RUNS: ReadonlySet<Instance['state']> = new Set(['running', 'paused']);

/** Reads the stats of every instance of a runtime, and `up`: whether the runtime answers. */
export function containerReader(deps: {
  watched: Watched;
  labelling: Labelling;
  telemetry: Telemetry;
  measures: Measures;
  wanted: (instance: Instance) => boolean;
}): (now: number, signal: AbortSignal) => Promise<Reading[]> {
  const { watched, labelling, telemetry, measures, wanted } = deps;
  const kind = watched.runtime.name;
  const failing = new Set<string>();

  async function stats(id: string, signal: AbortSignal): Promise<InstanceStats | undefined> {
    try {
      const read = await watched.runtime.stats(id, signal);
      failing.delete(id);
      return read;
    } catch (error) {
      // It may just have ended.
      if (isReflexarcError(error, 'not_found') || signal.aborted) return undefined;
      measures.sampleErrors.inc({ kind });
      if (!failing.has(id)) telemetry.log.warn({ err: error, container: id }, 'cannot read stats');
      failing.add(id);
      return undefined;
    }
  }

  async function read(instance: Instance, now: number, signal: AbortSignal): Promise<Reading> {
    const labels = containerLabels(instance, labelling);
    const current = RUNS.has(instance.state) ? await stats(instance.id, signal) : undefined;
    const start =
      instance.startedAt === undefined ? undefined : normalizeRfc3339(instance.startedAt);
    const origin = { id: instance.id, ...(start === undefined ? {} : { startedAt: start }) };
    const samples: Sample[] = toSamples(
      containerMeasurements(instance, current, labels),
      Math.round(current?.timestamp ?? now),
      origin,
    );
    return { source: instance.id, samples };
  }

  return async (now, signal) => {
    const up = watched.up;
    const labels = {
      ...labelling.labels,
      job: kind,
      instance: labelling.host,
      host: labelling.host,
    };
    const readings: Reading[] = [
      {
        source: `up:${labelling.host}:${kind}`,
        samples: toSamples([{ name: 'up', labels, value: up ? 1 : 0 }], now),
      },
    ];
    if (!up) return readings;
    const rest = [...watched.instances].filter(wanted);
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
        readings.push(await read(next, now, signal));
      }
    });
    await Promise.all(workers);
    return readings;
  };
}
