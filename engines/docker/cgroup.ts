import { readFileSync } from 'node:fs';
import type { InstanceStats } from '../../core/contracts/runtime.ts';
import { count, statsOf } from './stats.ts';

/**
 * Reads a container's control group where this process sees it, as cAdvisor does: it costs neither
 * us nor the engine what its API does. The files are the kernel's, never on a disk, so they are
 * read at once: the thread pool would cost several times the reading.
 */
export class Cgroups {
  readonly #proc: string;
  readonly #root: string;
  readonly #folders = new Map<string, { pid: number; folders: Folders }>();

  constructor(proc = '/proc', root = '/sys/fs/cgroup') {
    this.#proc = proc;
    this.#root = root;
  }

  /**
   * @param pid the container's first process, as the engine sees it
   * @returns undefined where the group cannot be seen from here, or is not the container's
   */
  read(id: string, pid: number, now: () => number): InstanceStats | undefined {
    if (pid <= 0) return undefined;
    try {
      let known = this.#folders.get(id);
      if (known?.pid !== pid) {
        const folders = this.#find(id, pid);
        if (folders === undefined) return undefined;
        known = { pid, folders };
        this.#folders.set(id, known);
      }
      const { folders } = known;
      const raw = folders.version === 2 ? readV2(folders.folder) : readV1(folders);
      const network = this.#network(pid);
      // The process may have ended, and its number have passed on, while it was read.
      if (!readFileSync(`${this.#proc}/${pid}/cgroup`, 'latin1').includes(id)) return undefined;
      return statsOf(now(), { ...raw, network });
    } catch {
      // Gone in the middle, or not readable for this user: the API knows.
      this.#folders.delete(id);
      return undefined;
    }
  }

  forget(id: string): void {
    this.#folders.delete(id);
  }

  /** Only a group whose path names the container is its own: process numbers may be another host's. */
  #find(id: string, pid: number): Folders | undefined {
    const paths: Record<string, string> = {};
    for (const line of readFileSync(`${this.#proc}/${pid}/cgroup`, 'latin1').split('\n')) {
      const found = /^\d+:([^:]*):(.*)$/.exec(line);
      const path = found?.[2];
      if (path === undefined || !path.includes(id) || path.includes('..')) continue;
      for (const controller of (found?.[1] ?? '').split(',')) paths[controller] = path;
    }
    const { cpuacct, cpu, memory, blkio, pids } = paths;
    if (cpuacct !== undefined && memory !== undefined) {
      const at = (controller: string, path: string | undefined): string | undefined =>
        path === undefined ? undefined : `${this.#root}/${controller}${path}`;
      return {
        version: 1,
        cpuacct: `${this.#root}/cpuacct${cpuacct}`,
        memory: `${this.#root}/memory${memory}`,
        cpu: at('cpu', cpu),
        blkio: at('blkio', blkio),
        pids: at('pids', pids),
      };
    }
    const unified = paths[''];
    return unified === undefined ? undefined : { version: 2, folder: this.#root + unified };
  }

  /** The network of a process is that of its namespace. */
  #network(pid: number): InstanceStats['network'] {
    const network: Record<string, NonNullable<InstanceStats['network']>[string]> = {};
    for (const line of readFileSync(`${this.#proc}/${pid}/net/dev`, 'latin1')
      .split('\n')
      .slice(2)) {
      const [name, counts] = line.split(':');
      if (counts === undefined || name === undefined || name.trim() === 'lo') continue;
      const n = counts.trim().split(/\s+/).map(Number);
      network[name.trim()] = {
        rxBytes: n[0] ?? 0,
        rxPackets: n[1] ?? 0,
        rxErrors: n[2] ?? 0,
        rxDropped: n[3] ?? 0,
        txBytes: n[8] ?? 0,
        txPackets: n[9] ?? 0,
        txErrors: n[10] ?? 0,
        txDropped: n[11] ?? 0,
      };
    }
    return network;
  }
}

type Folders =
  | { readonly version: 2; readonly folder: string }
  | {
      readonly version: 1;
      readonly cpuacct: string;
      readonly memory: string;
      readonly cpu: string | undefined;
      readonly blkio: string | undefined;
      readonly pids: string | undefined;
    };

type Raw = Omit<Parameters<typeof statsOf>[1], 'network'>;

function readV1(folders: Folders & { version: 1 }): Raw {
  const { cpuacct, memory, cpu, blkio, pids } = folders;
  const blockIo: Parameters<typeof count>[0] = {};
  if (blkio !== undefined) {
    for (const [file, what] of [
      ['blkio.throttle.io_service_bytes_recursive', 'bytes'],
      ['blkio.throttle.io_serviced_recursive', 'operations'],
    ] as const) {
      for (const line of (maybe(`${blkio}/${file}`) ?? '').split('\n')) {
        const [device, operation, value] = line.split(' ');
        if (device !== undefined && operation !== undefined && value !== undefined) {
          count(blockIo, device, operation, what, Number(value));
        }
      }
    }
  }
  return {
    cpu: number(maybe(`${cpuacct}/cpuacct.usage`)),
    cpuUser: number(maybe(`${cpuacct}/cpuacct.usage_user`)),
    cpuSystem: number(maybe(`${cpuacct}/cpuacct.usage_sys`)),
    cpuThrottled: cpu === undefined ? undefined : pairs(maybe(`${cpu}/cpu.stat`))['throttled_time'],
    memoryUsage: number(maybe(`${memory}/memory.usage_in_bytes`)),
    memory: pairs(maybe(`${memory}/memory.stat`)),
    memoryLimit: limit(maybe(`${memory}/memory.limit_in_bytes`)),
    blockIo,
    processes: pids === undefined ? undefined : number(maybe(`${pids}/pids.current`)),
  };
}

function readV2(folder: string): Raw {
  const cpu = pairs(readFileSync(`${folder}/cpu.stat`, 'latin1'));
  const blockIo: Parameters<typeof count>[0] = {};
  for (const line of (maybe(`${folder}/io.stat`) ?? '').split('\n')) {
    const [device, ...counts] = line.split(' ');
    for (const text of counts) {
      const [key, value] = text.split('=');
      if (device === undefined || value === undefined) continue;
      if (key === 'rbytes') count(blockIo, device, 'read', 'bytes', Number(value));
      if (key === 'wbytes') count(blockIo, device, 'write', 'bytes', Number(value));
      if (key === 'rios') count(blockIo, device, 'read', 'operations', Number(value));
      if (key === 'wios') count(blockIo, device, 'write', 'operations', Number(value));
    }
  }
  const nanos = (micros: number | undefined): number | undefined =>
    micros === undefined ? undefined : micros * 1000;
  return {
    cpu: nanos(cpu['usage_usec']),
    cpuUser: nanos(cpu['user_usec']),
    cpuSystem: nanos(cpu['system_usec']),
    cpuThrottled: nanos(cpu['throttled_usec']),
    memoryUsage: number(maybe(`${folder}/memory.current`)),
    memory: pairs(maybe(`${folder}/memory.stat`)),
    memoryLimit: limit(maybe(`${folder}/memory.max`)),
    blockIo,
    processes: number(maybe(`${folder}/pids.current`)),
  };
}

/** A file that a kernel or a controller may lack. */
function maybe(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

const number = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : Number(text);

/** Version 2 writes `max`, version 1 the largest number of pages, for no limit. */
function limit(text: string | undefined): number | undefined {
  const bytes = Number(text?.trim() ?? 'max');
  return Number.isFinite(bytes) && bytes < 2 ** 60 ? bytes : undefined;
}

function pairs(text: string | undefined): Record<string, number> {
  const found: Record<string, number> = {};
  for (const line of (text ?? '').split('\n')) {
    const space = line.indexOf(' ');
    if (space !== -1) found[line.slice(0, space)] = Number(line.slice(space + 1));
  }
  return found;
}
