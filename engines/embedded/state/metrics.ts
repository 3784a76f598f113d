import { Counter, type Registry } from 'prom-client';

export type StateMetrics = ReturnType<typeof stateMetrics>;

export function stateMetrics(registry: Registry) {
  function counter<L extends string>(name: string, help: string, labels: readonly L[]): Counter<L> {
    const known = registry.getSingleMetric(name);
    if (known !== undefined) return known as Counter<L>;
    return new Counter({ name, help, labelNames: labels, registers: [registry] });
  }
  return {
    writes: counter('reflexarc_state_writes_total', 'Entries that were written or deleted', []),
    conflicts: counter(
      'reflexarc_state_conflicts_total',
      'Writes that met another version than they expected',
      [],
    ),
    leases: counter('reflexarc_state_leases_total', 'Leases that were taken, or lost unreleased', [
      'outcome',
    ]),
  };
}
