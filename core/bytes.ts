import { ReflexarcError } from './errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** `512MiB`, `10GB`, `1.5GiB` or a bare number of bytes. */
export function parseBytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = UNITS[found?.[2] === '' ? 'B' : (found?.[2] ?? '?')];
  if (found?.[1] === undefined || unit === undefined) {
    throw new ReflexarcError('bad_config', `not a size: ${JSON.stringify(text)}`, {
      hint: 'write it like 512MiB, 10GB or 1048576; units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB',
    });
  }
  return Math.round(Number(found[1]) * unit);
}

/** 1572864 is `1.5MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let index = 0;
  while (Math.abs(value) >= 1024 && index < units.length - 1) {
    value /= 1024;
    index++;
  }
  return `${Number(value.toFixed(1))}${units[index]}`;
}
