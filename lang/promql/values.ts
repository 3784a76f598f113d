/** Functions of a single sample's value; parameters are scalars at the same step. */
export type ValueFunction = (value: number, a: number, b: number) => number;

export const VALUE_FUNCTIONS: Readonly<Record<string, ValueFunction>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  sqrt: Math.sqrt,
  exp: Math.exp,
  ln: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  sgn: Math.sign,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  deg: (v) => (v * 180) / Math.PI,
  rad: (v) => (v * Math.PI) / 180,
  clamp: (v, min, max) => Math.max(min, Math.min(max, v)),
  clamp_min: (v, min) => Math.max(min, v),
  clamp_max: (v, max) => Math.min(max, v),
  // To the nearest multiple; ties go up. Dividing by the inverse keeps 0.1 exact.
  round: (v, to) => {
    const inverse = 1 / to;
    return Math.floor(v * inverse + 0.5) / inverse;
  },
};

const DAY = 86_400_000;

/** Parts of a time in UTC, given as seconds since the epoch. */
export const DATE_FUNCTIONS: Readonly<Record<string, (date: Date) => number>> = {
  minute: (d) => d.getUTCMinutes(),
  hour: (d) => d.getUTCHours(),
  day_of_week: (d) => d.getUTCDay(),
  day_of_month: (d) => d.getUTCDate(),
  day_of_year: (d) => Math.floor((d.getTime() - Date.UTC(d.getUTCFullYear(), 0, 1)) / DAY) + 1,
  days_in_month: (d) => new Date(Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + 1, 0)).getUTCDate(),
  month: (d) => d.getUTCMonth() + 1,
  year: (d) => d.getUTCFullYear(),
};
