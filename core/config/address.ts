/** Addresses as files name them; undefined: the text is none. */

export function parseHttpUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') ? url : undefined;
}

/** `host:port`, or `[v6]:port`; no port 0. */
export function parseHostPort(text: string): { host: string; port: number } | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(found?.[3]);
  if (found === null || port < 1 || port > 65_535) return undefined;
  return { host: found[1] ?? found[2] ?? '', port };
}
