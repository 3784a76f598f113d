import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import Docker from 'dockerode';
import { describe, it } from 'vitest';
import { until } from './wait.ts';

/**
 * The real Docker Engine in tests. No registry is needed: the one image is a static busybox,
 * imported once and kept under a tag that names its content.
 */

const BUSYBOX = '/bin/busybox';
/** Raise it when the image's layout changes. */
const LAYOUT = 1;
const LABEL = 'reflexarc.test';

/** Why the real engine cannot be used; undefined: it can. */
async function missingDocker(): Promise<string | undefined> {
  try {
    await new Docker().ping();
  } catch (error) {
    return `no Docker Engine answers: ${error instanceof Error ? error.message : String(error)}`;
  }
  try {
    readFileSync(BUSYBOX);
  } catch {
    return `no ${BUSYBOX}: install the package busybox-static`;
  }
  return undefined;
}

const missing = await missingDocker();

/**
 * `describe` for tests that need the Docker Engine. Without one they are reported as skipped, with
 * the reason; where `CI` is set they fail instead.
 */
export function describeDocker(name: string, run: () => void): void {
  if (missing === undefined) {
    describe(name, run);
  } else if (process.env['CI'] !== undefined && process.env['CI'] !== '') {
    it(`${name}: needs the Docker Engine`, () => {
      throw new Error(missing);
    });
  } else {
    console.warn(`SKIPPED: ${name}: ${missing}`);
    describe.skip(`${name} (skipped: ${missing})`, run);
  }
}

/** Every applet that tests use, as links to the one file. */
const APPLETS =
  'sh sleep echo cat true false yes head dd tr kill nc httpd printf seq tail touch rm mkdir test wget ls ps';

/** The tag of the test image; imports it where the engine has not got it. */
export async function testImage(docker = new Docker()): Promise<string> {
  const content = createHash('sha256')
    .update(readFileSync(BUSYBOX))
    .update(`${LAYOUT} ${APPLETS}`)
    .digest('hex');
  const tag = content.slice(0, 12);
  const name = `reflexarc-test:${tag}`;
  try {
    await docker.getImage(name).inspect();
    return name;
  } catch {
    // Not there yet.
  }
  const folder = mkdtempSync(join(tmpdir(), 'reflexarc-image-'));
  try {
    mkdirSync(join(folder, 'root/bin'), { recursive: true });
    for (const path of ['tmp', 'etc', 'var', 'proc', 'sys', 'dev']) {
      mkdirSync(join(folder, 'root', path));
    }
    copyFileSync(BUSYBOX, join(folder, 'root/bin/busybox'));
    for (const applet of APPLETS.split(' ')) {
      symlinkSync('busybox', join(folder, 'root/bin', applet));
    }
    const tar = join(folder, 'image.tar');
    execFileSync('tar', ['-C', join(folder, 'root'), '-cf', tar, '.']);
    const answer = await docker.importImage(tar, { repo: 'reflexarc-test', tag });
    answer.resume();
    await finished(answer);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return name;
}

export type RunOptions = Docker.ContainerCreateOptions & {
  /** False: only created. */
  readonly started?: boolean;
};

/** Containers of one test, told apart by a label of their own, and removed together. */
export class Containers {
  readonly docker: Docker;
  /** Value of the label `reflexarc.test` and part of every name. */
  readonly id = randomBytes(5).toString('hex');

  constructor(docker = new Docker()) {
    this.docker = docker;
  }

  /** The label by which a test knows its own containers. */
  get label(): Readonly<Record<string, string>> {
    return { [LABEL]: this.id };
  }

  /** A name that no other test has. */
  name(name: string): string {
    return `rx-${this.id}-${name}`;
  }

  /**
   * A container of the test image that runs `command` by `sh -c`. Without a network unless the
   * options ask for one, which makes it start sooner.
   *
   * @returns its full id
   */
  async run(name: string, command: string, options: RunOptions = {}): Promise<string> {
    const { started, ...create } = options;
    const container = await this.docker.createContainer({
      Image: await testImage(this.docker),
      Cmd: ['sh', '-c', command],
      name: this.name(name),
      ...create,
      Labels: { ...create.Labels, ...this.label },
      HostConfig: { NetworkMode: 'none', ...create.HostConfig },
    });
    if (started !== false) await container.start();
    return container.id;
  }

  /** Runs a command inside, to its end. */
  async exec(id: string, ...command: string[]): Promise<void> {
    const exec = await this.docker
      .getContainer(id)
      .exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
    const stream = await exec.start({});
    stream.resume();
    await finished(stream, { writable: false });
  }

  /** Removes every container of this test. */
  async remove(): Promise<void> {
    const found = await this.docker.listContainers({
      all: true,
      filters: { label: [`${LABEL}=${this.id}`] },
    });
    await Promise.all(
      found.map(async ({ Id }) => {
        try {
          await this.docker.getContainer(Id).remove({ force: true, v: true });
        } catch (error) {
          // Gone, or being removed already.
          const status = (error as { statusCode?: number }).statusCode;
          if (status !== 404 && status !== 409) throw error;
        }
      }),
    );
  }
}

/** A second engine, of a test's own: to be stopped and started again. */
export class PrivateEngine {
  readonly #folder = mkdtempSync(join(tmpdir(), 'reflexarc-dockerd-'));
  #process: ChildProcess | undefined;

  get socket(): string {
    return join(this.#folder, 'docker.sock');
  }

  get docker(): Docker {
    return new Docker({ socketPath: this.socket });
  }

  get root(): string {
    return join(this.#folder, 'data');
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    const log = openSync(join(this.#folder, 'dockerd.log'), 'a');
    const started = spawn(
      'unshare',
      [
        // A network of its own: `--bridge=none` removes docker0, which the machine's engine needs.
        '--net',
        'dockerd',
        '--host',
        `unix://${this.socket}`,
        '--data-root',
        this.root,
        '--exec-root',
        join(this.#folder, 'exec'),
        '--pidfile',
        join(this.#folder, 'dockerd.pid'),
        '--bridge=none',
        '--iptables=false',
        '--ip6tables=false',
        // The one that works on every file system.
        '--storage-driver=vfs',
      ],
      { stdio: ['ignore', log, log] },
    );
    closeSync(log);
    this.#process = started;
    const answered = await until(
      `a second engine (${this.#folder}/dockerd.log)`,
      async () => {
        if (started.exitCode !== null) return 'ended';
        await this.docker.ping();
        return 'answers';
      },
      40_000,
    );
    if (answered === 'ended') {
      const end = readFileSync(join(this.#folder, 'dockerd.log'), 'utf8').slice(-2000);
      throw new Error(`dockerd ended with ${started.exitCode}: ${end}`);
    }
  }

  /** Ends it, and with it its containers. */
  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const exited = once(running, 'exit');
    running.kill('SIGTERM');
    await exited;
  }

  async remove(): Promise<void> {
    await this.stop();
    // What it may have left mounted, were it killed.
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
      const path = line.split(' ')[1];
      if (path?.startsWith(`${this.#folder}/`) === true) execFileSync('umount', ['-l', path]);
    }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
