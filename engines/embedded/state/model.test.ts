import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ReflexarcError } from '../../../core/errors.ts';
import type { Embedded } from '../open.ts';
import { makeFolder, openIn } from '../testing.ts';

const KEYS = ['a', 'a/b', 'a/c', 'b', 'c\u0000d'] as const;
const key = fc.constantFrom(...KEYS);
const value = fc.jsonValue({ maxDepth: 2 });

/** `version`: index into all versions that were ever given out, counted from the newest. */
type Step =
  | { readonly do: 'create'; readonly key: string; readonly value: unknown }
  | {
      readonly do: 'replace';
      readonly key: string;
      readonly value: unknown;
      readonly version: number;
    }
  | {
      readonly do: 'put';
      readonly entries: readonly { readonly key: string; readonly value: unknown }[];
    }
  | { readonly do: 'delete'; readonly key: string; readonly version: number | undefined }
  | { readonly do: 'reopen' };

const version = fc.nat({ max: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('create' as const), key, value }),
  fc.record({ do: fc.constant('replace' as const), key, value, version }),
  fc.record({
    do: fc.constant('put' as const),
    entries: fc.array(fc.record({ key, value }), { maxLength: 4 }),
  }),
  fc.record({
    do: fc.constant('delete' as const),
    key,
    version: fc.option(version, { nil: undefined }),
  }),
  fc.record({ do: fc.constant('reopen' as const) }),
);

/** Calls of one round overlap, and happen in the order of the calls. */
const rounds = fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { maxLength: 12 });

const asJson = (item: unknown): unknown => JSON.parse(JSON.stringify(item));

it('decides as if one call came after the other, whatever overlaps', {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(rounds, async (list) => {
      const folder = await makeFolder();
      let embedded: Embedded = await openIn(folder.path);
      const model = new Map<string, { value: unknown; version: string | undefined }>();
      const versions: string[] = [];
      try {
        for (const round of list) {
          const given = [...versions].reverse();
          const results = await Promise.allSettled(
            round.map(async (one): Promise<string | undefined> => {
              const { state } = embedded;
              switch (one.do) {
                case 'create':
                  return state.create(one.key, one.value);
                case 'replace':
                  return state.replace(one.key, one.value, given[one.version] ?? 'none');
                case 'put':
                  await state.put(one.entries);
                  return undefined;
                case 'delete':
                  await state.delete(
                    one.key,
                    one.version === undefined ? undefined : (given[one.version] ?? 'none'),
                  );
                  return undefined;
                default:
                  return undefined;
              }
            }),
          );
          for (const [index, one] of round.entries()) {
            const result = results[index]!;
            const ok = apply(
              model,
              one,
              given,
              result.status === 'fulfilled' ? result.value : undefined,
            );
            expect(result.status).toBe(ok ? 'fulfilled' : 'rejected');
            if (result.status === 'rejected') {
              expect(result.reason).toBeInstanceOf(ReflexarcError);
              expect(result.reason).toMatchObject({ code: 'conflict' });
            } else if (result.value !== undefined) {
              expect(versions).not.toContain(result.value);
              versions.push(result.value);
            }
          }
          if (round.some((one) => one.do === 'reopen')) {
            await embedded.close();
            embedded = await openIn(folder.path);
          }
          const entries = await embedded.state.list('');
          const found = Object.fromEntries(entries.map((entry) => [entry.key, entry.value]));
          expect(found).toEqual(
            Object.fromEntries([...model].map(([name, entry]) => [name, asJson(entry.value)])),
          );
          for (const entry of entries) {
            const known = model.get(entry.key)!;
            if (known.version === undefined) known.version = entry.version;
            expect(entry.version).toBe(known.version);
            if (!versions.includes(entry.version)) versions.push(entry.version);
          }
        }
      } finally {
        await embedded.close();
        await folder.remove();
      }
    }),
    { numRuns: 25 },
  );
});

/** Whether the call succeeds; `given` are the versions known before the round, newest first. */
function apply(
  model: Map<string, { value: unknown; version: string | undefined }>,
  one: Step,
  given: readonly string[],
  result: string | undefined,
): boolean {
  const matches = (name: string, index: number): boolean =>
    model.get(name)?.version !== undefined && model.get(name)?.version === given[index];
  switch (one.do) {
    case 'create':
      if (model.has(one.key)) return false;
      model.set(one.key, { value: one.value, version: result });
      return true;
    case 'replace':
      if (!matches(one.key, one.version)) return false;
      model.set(one.key, { value: one.value, version: result });
      return true;
    case 'put':
      // Its versions are seen when it is read.
      for (const entry of one.entries) {
        model.set(entry.key, { value: entry.value, version: undefined });
      }
      return true;
    case 'delete':
      if (one.version !== undefined && !matches(one.key, one.version)) return false;
      model.delete(one.key);
      return true;
    default:
      return true;
  }
}
