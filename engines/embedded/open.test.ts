import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { execPath, getuid, pid } from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatError } from '../../core/errors.ts';
import { makeFolder, openIn } from './testing.ts';

let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeEach(async () => {
  folder = await makeFolder();
});
afterEach(() => folder.remove());

/** Another process that opens the folder, says so, and stays. */
async function startOwner(path: string): Promise<{ pid: number; kill(): Promise<void> }> {
  const script = `
    const { openIn } = await import(${JSON.stringify(join(import.meta.dirname, 'testing.ts'))});
    const { bus, state } = await openIn(process.argv[1]);
    await bus.publish('alerts', [{ key: 'k', value: Buffer.from('v'), records: 1 }]);
    await state.put([{ key: 'k', value: 'v' }]);
    process.stdout.write('open');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    pid: child.pid!,
    async kill() {
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

describe('the lock of a data folder', () => {
  it('lets one process in, and tells the second whom to stop', async () => {
    const owner = await startOwner(folder.path);
    try {
      const error: unknown = await openIn(folder.path).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'locked', where: { file: folder.path } });
      expect(formatError(error)).toContain(`process ${owner.pid}`);
      expect(formatError(error)).toContain(`kill ${owner.pid}`);
    } finally {
      await owner.kill();
    }
    // Nothing is left of it, though it could not clean up.
    const { state, close } = await openIn(folder.path);
    expect((await state.get('k'))?.value).toBe('v');
    await close();
  });

  it('holds within one process, too, until it is closed', async () => {
    const first = await openIn(folder.path);
    await expect(openIn(folder.path)).rejects.toMatchObject({ code: 'locked' });
    await expect(openIn(folder.path)).rejects.toMatchObject({ code: 'locked' });
    await first.close();
    await first.close();
    await (await openIn(folder.path)).close();
  });

  it('does not believe a stale name, even if its pid lives', async () => {
    writeFileSync(join(folder.path, 'owner.json'), JSON.stringify({ pid, host: 'x', since: 'y' }));
    await (await openIn(folder.path)).close();
    expect(existsSync(join(folder.path, 'owner.json'))).toBe(false);
  });

  it('says which file to delete when the lock file is damaged', async () => {
    writeFileSync(join(folder.path, 'lock'), 'no database at all'.repeat(100));
    await expect(openIn(folder.path)).rejects.toMatchObject({
      code: 'corrupt',
      where: { file: join(folder.path, 'lock') },
    });
  });
});

describe('a folder that cannot be used', () => {
  it('makes a folder that is not there', async () => {
    const { close } = await openIn(join(folder.path, 'a', 'b'));
    await close();
  });

  it('names a file in its place', async () => {
    const file = join(folder.path, 'file');
    writeFileSync(file, '');
    for (const path of [file, join(file, 'below')]) {
      await expect(openIn(path)).rejects.toMatchObject({
        code: 'bad_config',
        where: { file: path },
      });
    }
  });

  it.skipIf(getuid?.() === 0)('names one that may not be written', async () => {
    const path = join(folder.path, 'closed');
    mkdirSync(path);
    chmodSync(path, 0o500);
    await expect(openIn(path)).rejects.toMatchObject({ code: 'permission' });
  });

  it.each([
    [{ maxSize: 1000 }, 'bus.max_size'],
    [{ maxAge: 0 }, 'bus.max_age'],
  ])('refuses limits that make no sense: %o', async (limits, field) => {
    await expect(openIn(folder.path, limits)).rejects.toMatchObject({
      code: 'bad_config',
      where: { field },
    });
  });
});

describe('a damaged file', () => {
  const overwrite = (file: string, bytes: Buffer, at: number): void => {
    writeSync(openSync(file, 'r+'), bytes, 0, bytes.length, at);
  };
  const garbage = Buffer.alloc(4096, 0xaa);

  const fill = async (): Promise<void> => {
    const { bus, state, close } = await openIn(folder.path);
    const value = Buffer.from(Array.from({ length: 900 }, (_, n) => n % 251));
    await bus.publish(
      'logs',
      Array.from({ length: 500 }, () => ({ key: 'k', value, records: 1 })),
    );
    await state.put(
      Array.from({ length: 300 }, (_, n) => ({ key: `k${n}`, value: 'x'.repeat(200) })),
    );
    await close();
  };

  it.each(['bus.mdb', 'state.mdb'])('%s is opened when it is whole or empty', async (name) => {
    await fill();
    await (await openIn(folder.path)).close();
    truncateSync(join(folder.path, name), 0);
    await (await openIn(folder.path)).close();
  });

  describe.each(['bus.mdb', 'state.mdb'])('%s', (name) => {
    it.each<[string, (file: string) => void]>([
      ['is no database', (file) => writeFileSync(file, 'hello world'.repeat(10_000))],
      ['is a few bytes', (file) => writeFileSync(file, 'x')],
      ['has a damaged head', (file) => overwrite(file, garbage.subarray(0, 100), 0)],
      ['is cut off', (file) => truncateSync(file, 3 * 4096)],
      [
        'is cut off in the middle',
        (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
      ],
      [
        'has garbage inside',
        (file) => {
          for (let at = 8192; at < statSync(file).size; at += 4096) overwrite(file, garbage, at);
        },
      ],
    ])('that %s is named, with what to do', async (_, damage) => {
      await fill();
      const file = join(folder.path, name);
      damage(file);
      const before = readFileSync(file);
      const error: unknown = await openIn(folder.path).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'corrupt', where: { file } });
      expect(formatError(error)).toMatch(/restore it from a backup, or move it away/);
      // Asking again gives the same answer, and nothing was touched.
      await expect(openIn(folder.path)).rejects.toMatchObject({ code: 'corrupt' });
      expect(readFileSync(file).equals(before)).toBe(true);
      copyFileSync(file, `${file}.bad`);
      truncateSync(file, 0);
      await (await openIn(folder.path)).close();
    });
  });

  it('leaves out a message whose bytes changed, and goes on', async () => {
    const before = await openIn(folder.path);
    const messages = Array.from({ length: 500 }, (_, n) => ({
      key: 'k',
      value: Buffer.from(`message ${n}.`),
      records: 1,
    }));
    await before.bus.publish('logs', messages);
    await before.close();
    const file = join(folder.path, 'bus.mdb');
    const bytes = readFileSync(file);
    for (let at = -1; (at = bytes.indexOf('message 123.', at + 1)) !== -1; ) {
      overwrite(file, Buffer.from('M'), at);
    }
    const { bus, close } = await openIn(folder.path);
    let count = 0;
    const subscription = await bus.subscribe('logs', 'g', async ({ messages }) => {
      count += messages.length;
      return undefined;
    });
    await subscription.caughtUp();
    expect(count).toBe(499);
    await close();
  });
});
