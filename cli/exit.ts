/** Exit codes of every command. */
export const EXIT = {
  ok: 0,
  /** The command ran and found something wrong, or could not do what it was told. */
  finding: 1,
  /** The command line, or a file it names, is wrong. */
  usage: 2,
} as const;
