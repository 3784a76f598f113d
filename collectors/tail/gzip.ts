import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { type Bytes, type Inode, statFile } from './bytes.ts';

/** A little is kept of what was given out: reading steps back to a line's beginning. */
const KEPT = 2 * 1024 ** 2;

/**
 * What a gzip file holds, by offset. Reading forward costs nothing extra; a step back beyond what
 * is kept begins at the file's start again.
 */
export async function openGzip(path: string): Promise<Bytes> {
  const inode = await statFile(path);
  if (inode === undefined)
    throw Object.assign(new Error(`no such file: ${path}`), { code: 'ENOENT' });
  return new GzipBytes(path, inode);
}

class GzipBytes implements Bytes {
  readonly #path: string;
  readonly #inode: Inode;
  #chunks: AsyncIterator<Buffer> | undefined;
  #end: (() => void) | undefined;
  /** The newest bytes that were decompressed, and where they begin. */
  #window: Buffer = Buffer.alloc(0);
  #start = 0;
  #complete = false;

  constructor(path: string, inode: Inode) {
    this.#path = path;
    this.#inode = inode;
  }

  stat(): Promise<Inode> {
    return Promise.resolve(this.#inode);
  }

  async read(into: Buffer, length: number, position: number): Promise<number> {
    if (this.#chunks === undefined || position < this.#start) this.#restart();
    while (!this.#complete && this.#start + this.#window.length < position + length) {
      const next = await this.#chunks?.next();
      if (next === undefined || next.done === true) {
        this.#complete = true;
        break;
      }
      const whole = Buffer.concat([this.#window, next.value]);
      const drop = Math.max(0, Math.min(position - this.#start, whole.length - KEPT));
      this.#window = whole.subarray(drop);
      this.#start += drop;
    }
    const from = position - this.#start;
    if (from >= this.#window.length) return 0;
    return this.#window.copy(into, 0, from, Math.min(from + length, this.#window.length));
  }

  close(): Promise<void> {
    this.#end?.();
    return Promise.resolve();
  }

  #restart(): void {
    this.#end?.();
    const file = createReadStream(this.#path);
    const gunzip = createGunzip();
    // A file's own error reaches the reader through the stream that is read.
    file.on('error', (error) => gunzip.destroy(error));
    file.pipe(gunzip);
    this.#end = () => {
      file.destroy();
      gunzip.destroy();
    };
    this.#chunks = gunzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    this.#window = Buffer.alloc(0);
    this.#start = 0;
    this.#complete = false;
  }
}
