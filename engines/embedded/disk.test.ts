import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid, platform } from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus } from '../../core/contracts/bus.ts';
import { isReflexarcError } from '../../core/errors.ts';
import { openIn } from './testing.ts';

// A file system of its own takes the right to mount one.
const canMount = platform === 'linux' && getuid?.() === 0 && tryMount();

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: 'pipe' });
}

function tryMount(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'reflexarc-mount-'));
  try {
    mount(path, 'size=64k');
    run('umount', path);
    return true;
  } catch (error) {
    console.warn(`skipped: no file system can be mounted here: ${String(error)}`);
    return false;
  } finally {
    rmSync(path, { recursive: true });
  }
}

function mount(path: string, options: string): void {
  run('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path);
}

describe.skipIf(!canMount)('a data folder on a small file system', () => {
  let path: string;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'reflexarc-disk-'));
  });
  afterEach(() => {
    run('umount', path);
    rmSync(path, { recursive: true });
  });

  const ballast = (): string => join(path, 'ballast');
  // Random, so that it does not shrink on its way.
  const message = (n: number) => {
    const value = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
    value.writeUInt32LE(n);
    return { key: 'k', value, records: 1 };
  };
  const idsOf = async (bus: Bus): Promise<number[]> => {
    const ids: number[] = [];
    const subscription = await bus.subscribe(
      'logs',
      'all',
      async ({ messages }) => {
        for (const { value } of messages) ids.push(Buffer.from(value).readUInt32LE());
        return undefined;
      },
      { ephemeral: true },
    );
    await subscription.caughtUp();
    await subscription.close();
    return ids;
  };

  it('says that the disk is full, keeps all it has, and goes on once there is room', async () => {
    mount(path, 'size=16m');
    writeFileSync(ballast(), Buffer.alloc(4 * 1024 ** 2));
    let embedded = await openIn(path);
    const acknowledged: number[] = [];
    const group: number[] = [];
    const subscription = await embedded.bus.subscribe('logs', 'g', async ({ messages }) => {
      for (const { value } of messages) group.push(Buffer.from(value).readUInt32LE());
      return undefined;
    });
    let n = 0;
    let failures = 0;
    while (failures < 3) {
      const numbers = [n, n + 1, n + 2];
      n += 3;
      const calls = await Promise.allSettled(
        numbers.map((number) => embedded.bus.publish('logs', [message(number)])),
      );
      for (const [index, call] of calls.entries()) {
        if (call.status === 'fulfilled') acknowledged.push(numbers[index]!);
        else
          expect(call.reason).toMatchObject({
            code: 'disk_full',
            where: { file: join(path, 'bus.mdb') },
          });
      }
      if (calls.some(({ status }) => status === 'rejected')) failures++;
    }
    expect(acknowledged.length).toBeGreaterThan(50);
    // The state is another file on the same full disk; what was read is still right.
    const fill = embedded.state.put([
      { key: 'big', value: message(0).value.toString('hex').repeat(20) },
    ]);
    await expect(fill).rejects.toMatchObject({ code: 'disk_full' });
    expect(await embedded.state.get('big')).toBeUndefined();
    expect(await idsOf(embedded.bus)).toEqual(acknowledged);

    rmSync(ballast());
    await embedded.bus.publish('logs', [message(n)]);
    acknowledged.push(n);
    await embedded.state.put([{ key: 'small', value: 1 }]);
    await subscription.caughtUp();
    expect(group).toEqual(acknowledged);
    await embedded.close();
    embedded = await openIn(path);
    expect(await idsOf(embedded.bus)).toEqual(acknowledged);
    expect((await embedded.state.get('small'))?.value).toBe(1);
    await embedded.close();
  });

  it('opens, reads and closes while the disk is full', async () => {
    mount(path, 'size=16m');
    let embedded = await openIn(path);
    await embedded.bus.publish('logs', [message(1), message(2)]);
    await embedded.close();
    const { bavail, bsize } = statfsSync(path);
    writeFileSync(ballast(), Buffer.alloc(bavail * bsize));
    embedded = await openIn(path);
    expect(await idsOf(embedded.bus)).toEqual([1, 2]);
    const published = await embedded.bus
      .publish('logs', [message(3)])
      .catch((error: unknown) => error);
    expect(isReflexarcError(published, 'disk_full')).toBe(true);
    await embedded.close();
    rmSync(ballast());
    embedded = await openIn(path);
    expect(await idsOf(embedded.bus)).toEqual([1, 2]);
    await embedded.close();
  });

  it('names a folder that is mounted read-only', async () => {
    mount(path, 'size=1m,ro');
    await expect(openIn(path)).rejects.toMatchObject({ code: 'permission' });
  });
});
