import { join } from 'node:path';
import type { Bus } from '../../core/contracts/bus.ts';
import type { State } from '../../core/contracts/state.ts';
import { isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import type { Telemetry } from '../../core/service.ts';
import { BUS_TABLES, EmbeddedBus } from './bus/bus.ts';
import { Environment } from './environment.ts';
import { lockFolder } from './lock.ts';
import { EmbeddedState, STATE_TABLES } from './state/state.ts';
import { damaged, markClosed, verifyFiles } from './verify.ts';

export interface EmbeddedOptions {
  /** Made if it is not there. Belongs to one process at a time. */
  readonly folder: string;
  /** Bytes of the bus, as they are on disk. */
  readonly maxSize: number;
  /** Milliseconds; of the bus. */
  readonly maxAge: number;
  readonly telemetry: Telemetry;
}

export interface Embedded {
  readonly bus: Bus;
  readonly state: State;
  /** Closes both and gives the folder free. Idempotent. */
  readonly close: () => Promise<void>;
}

const BUS_REMEDY = 'records on the bus that were not stored yet are lost';
const STATE_REMEDY = 'silences, holds, checkpoints and alert states are lost';
const MIN_SIZE = 1024 * 1024;
const STATE_MAP = 1024 ** 3;

/**
 * Bus and state of a data folder: `bus.mdb` and `state.mdb`, two files, so that one may be lost
 * without the other, and a flood on the bus does not keep a lease waiting.
 *
 * @throws locked, permission, corrupt, disk_full, bad_config, unavailable
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { folder, maxSize, maxAge, telemetry } = options;
  checkLimits(maxSize, maxAge);
  const lock = lockFolder(folder, telemetry.clock.now());
  const busFile = join(folder, 'bus.mdb');
  const stateFile = join(folder, 'state.mdb');
  const opened: { close(): Promise<void> }[] = [];
  try {
    await verifyFiles(
      folder,
      [
        { file: busFile, remedy: BUS_REMEDY },
        { file: stateFile, remedy: STATE_REMEDY },
      ],
      telemetry.clock,
    );
    // Pages that are freed in small pieces let the file grow beyond what it holds.
    const mapSize = 4 * maxSize + STATE_MAP;
    const busEnvironment = new Environment({ file: busFile, tables: BUS_TABLES, mapSize });
    opened.unshift(busEnvironment);
    const stateEnvironment = new Environment({
      file: stateFile,
      tables: STATE_TABLES,
      mapSize: STATE_MAP,
    });
    opened.unshift(stateEnvironment);
    const bus = readable(
      busFile,
      BUS_REMEDY,
      () => new EmbeddedBus(busEnvironment, { maxSize, maxAge }, telemetry),
    );
    opened.unshift(bus);
    const state = readable(
      stateFile,
      STATE_REMEDY,
      () => new EmbeddedState(stateEnvironment, telemetry),
    );
    opened.unshift(state);
    const close = async (): Promise<void> => {
      try {
        // The bus first: its subscribers' last words may go to the state.
        await bus.close();
        await state.close();
        await busEnvironment.close();
        await stateEnvironment.close();
        markClosed(folder, [busFile, stateFile]);
      } finally {
        lock.release();
      }
    };
    let closed: Promise<void> | undefined;
    return { bus, state, close: () => (closed ??= close()) };
  } catch (error) {
    for (const one of opened) await one.close();
    lock.release();
    throw error;
  }
}

/** The tree was walked; what its values say shows here. */
function readable<T>(file: string, remedy: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isReflexarcError(error)) throw error;
    throw damaged(file, messageOf(error), remedy, error);
  }
}

function checkLimits(maxSize: number, maxAge: number): void {
  if (!(maxSize >= MIN_SIZE)) {
    throw new ReflexarcError('bad_config', `the bus needs at least 1MiB, not ${maxSize} bytes`, {
      where: { field: 'bus.max_size' },
    });
  }
  if (!(maxAge > 0)) {
    throw new ReflexarcError('bad_config', 'what the bus holds needs some time to live', {
      where: { field: 'bus.max_age' },
      hint: 'write it like 24h',
    });
  }
}
