/** What the engine reports for each look into a container: no news of the container itself. */
const NOISE: ReadonlySet<string> = new Set([
  'exec_create',
  'exec_start',
  'exec_die',
  'exec_detach',
  'attach',
  'detach',
  'top',
  'resize',
  'copy',
  'archive-path',
  'extract-to-dir',
  'export',
]);

/** The engine adds the command behind a colon: `exec_create: sh -c …`. */
export function isNoise(action: string): boolean {
  const colon = action.indexOf(':');
  return NOISE.has(colon === -1 ? action : action.slice(0, colon));
}
