import { describe, expect, it } from 'vitest';
import { Broadcast } from './broadcast.ts';

const options = { limit: 3, onDrop: () => {} };

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const item of items) read.push(item);
  return read;
}

describe('Broadcast', () => {
  it('gives every reader everything from its subscription on', async () => {
    const source = new Broadcast<number>();
    const { signal } = new AbortController();
    const one = source.subscribe(signal, { ...options, first: [0] });
    source.publish(1);
    const two = source.subscribe(signal, options);
    source.publish(2);
    source.close();
    expect(await all(one)).toEqual([0, 1, 2]);
    expect(await all(two)).toEqual([2]);
    expect(await all(source.subscribe(signal, options))).toEqual([]);
  });

  it('drops the oldest of a slow reader, and says so', async () => {
    const source = new Broadcast<number>();
    let dropped = 0;
    const reader = source.subscribe(new AbortController().signal, {
      limit: 3,
      onDrop: () => dropped++,
    });
    for (const item of [1, 2, 3, 4, 5]) source.publish(item);
    source.close();
    expect(await all(reader)).toEqual([3, 4, 5]);
    expect(dropped).toBe(2);
  });

  it('ends a waiting reader when its signal fires, and forgets it', async () => {
    const source = new Broadcast<number>();
    const abort = new AbortController();
    const reader = source.subscribe(abort.signal, options);
    const waiting = all(reader);
    source.publish(1);
    await Promise.resolve();
    abort.abort();
    expect(await waiting).toEqual([1]);
    expect(source.readers).toBe(0);
  });

  it('forgets a reader that stops', async () => {
    const source = new Broadcast<number>();
    const reader = source.subscribe(new AbortController().signal, options);
    source.publish(1);
    for await (const item of reader) {
      expect(item).toBe(1);
      break;
    }
    expect(source.readers).toBe(0);
  });
});
