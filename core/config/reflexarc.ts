import { z } from 'zod';
import { parseHostPort, parseHttpUrl } from './address.ts';
import { duration, labelMap, labelName, size } from './fields.ts';

/** `reflexarc.yaml`: engines, sources, listen address, tokens. Every key has a default. */

const interval = duration.default(5000);

const docker = z.strictObject({
  enabled: z
    .union([z.boolean(), z.literal('auto')])
    .default('auto')
    .describe('auto: watch the Docker Engine if its socket is there'),
  host: z
    .string()
    .default('unix:///var/run/docker.sock')
    .describe('unix:///path, tcp://host:port or https://host:port, as DOCKER_HOST'),
  log_root: z
    .string()
    .default('/var/lib/docker')
    .describe("Where this process sees Docker's data folder; the log files are read there"),
  read: z
    .enum(['auto', 'files', 'api'])
    .default('auto')
    .describe('auto: from the json-file logs where they can be read, else through the API'),
  exclude: z
    .array(z.string())
    .default([])
    .describe('Names of services or containers that are not collected; * stands for any text'),
  own_logs: z.boolean().default(false).describe('Also collect the containers of Reflexarc itself'),
  labels: z
    .array(z.string())
    .default([])
    .describe('Container labels that become labels of the streams'),
  resync: duration
    .default(60_000)
    .describe('How often the list is read again, whatever events said'),
  metrics: interval.describe('How often container metrics are read; 0 switches them off'),
});

const file = z.strictObject({
  paths: z.array(z.string()).min(1).describe('Glob patterns'),
  exclude: z.array(z.string()).default([]),
  service: z.string().optional().describe("Label `service`; else the file's name"),
  labels: labelMap.default({}),
  from: z
    .enum(['beginning', 'end'])
    .default('beginning')
    .describe('Where a file not seen before is begun'),
});

const healthFields = z.strictObject({
  http: z
    .string()
    .refine(
      (text) => parseHttpUrl(text) !== undefined,
      'not an HTTP address: write it like http://127.0.0.1:8080/healthz',
    )
    .optional()
    .describe('URL that must answer 2xx or 3xx'),
  tcp: z
    .string()
    .refine(
      (text) => parseHostPort(text) !== undefined,
      'not a host and a port: write it like 127.0.0.1:6379',
    )
    .optional()
    .describe('host:port that must accept a connection'),
  exec: z.array(z.string()).min(1).optional().describe('Command that must exit with 0'),
  interval: duration.default(5000),
  timeout: duration.default(2000),
  retries: z.int().min(1).default(3).describe('Failures in a row that make it unhealthy'),
  start_period: duration.default(0).describe('Failures in this time after the start do not count'),
});

const health = healthFields.refine(
  ({ http, tcp, exec }) => http !== undefined || tcp !== undefined || exec !== undefined,
  'it checks nothing: add http: URL, tcp: host:port or exec: [command]',
);

const process = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'letters, digits, _ . -, first a letter or digit'),
  service: z.string().optional(),
  command: z.array(z.string()).min(1),
  cwd: z.string().optional(),
  env: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .default({}),
  labels: z.record(z.string(), z.string()).default({}),
  health: health.optional(),
  restart: z.enum(['no', 'on-failure', 'always']).default('no'),
  stop_grace: duration.default(10_000),
});

const processes = z.array(process).superRefine((all, context) => {
  const names = new Set<string>();
  for (const [index, { name }] of all.entries()) {
    if (names.has(name)) {
      const message = `two processes have the name ${JSON.stringify(name)}`;
      context.addIssue({ code: 'custom', message, path: [index, 'name'] });
    }
    names.add(name);
  }
});

const token = z.strictObject({
  name: z.string(),
  token: z.string().min(16).optional(),
  token_file: z.string().optional(),
});

export const reflexarcSchema = z.strictObject({
  host: z.string().min(1).optional().describe("Label `host`; else this machine's name"),
  listen: z.string().default('127.0.0.1:4440').describe('Address of the HTTP API'),
  tokens: z
    .array(token)
    .default([])
    .describe('Bearer tokens; without one only loopback addresses can be listened on'),
  bus: z
    .strictObject({
      type: z.enum(['embedded']).default('embedded'),
      max_size: size
        .refine((bytes) => bytes >= 1024 ** 2, 'the bus needs at least 1MiB')
        .default(2 * 1024 ** 3)
        .describe('What consumers have read is removed beyond this'),
      max_age: duration
        .refine((ms) => ms > 0, 'what the bus holds needs some time to live: write it like 24h')
        .default(86_400_000),
    })
    .prefault({}),
  store: z
    .strictObject({
      type: z.enum(['embedded']).default('embedded'),
      max_size: size.default(10 * 1024 ** 3),
      max_age: duration.default(7 * 86_400_000),
      memory: size.default(160 * 1024 ** 2).describe('What the store may use for queries'),
    })
    .prefault({}),
  sources: z
    .strictObject({
      docker: docker.prefault({}),
      files: z.array(file).default([]),
      processes: processes.default([]),
      host_metrics: interval.describe('How often host metrics are read; 0 switches them off'),
      max_line: size.default(256 * 1024).describe('Longer lines are cut, marked and counted'),
    })
    .prefault({}),
  query: z
    .strictObject({
      max_range: duration.default(31 * 86_400_000),
      max_lines: z.int().min(1).default(5000),
      max_series: z.int().min(1).default(10_000),
      timeout: duration.default(60_000),
      concurrency: z.int().min(1).default(8),
    })
    .prefault({}),
  labels: z
    .record(labelName, z.string())
    .default({})
    .describe('Labels added to every collected stream'),
});

export type ReflexarcConfig = z.output<typeof reflexarcSchema>;
export type DockerConfig = ReflexarcConfig['sources']['docker'];
export type FileConfig = ReflexarcConfig['sources']['files'][number];
export type ProcessConfig = ReflexarcConfig['sources']['processes'][number];
