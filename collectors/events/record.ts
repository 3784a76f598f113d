import type { RuntimeEvent } from '../../core/contracts/runtime.ts';
import type { Level } from '../../core/level.ts';
import { lineId, sourceId } from '../../core/records/codec.ts';
import { FIELD, type LogRecord } from '../../core/records/log.ts';
import { formatRfc3339, normalizeRfc3339 } from '../../core/time.ts';
import { describeInstance, type Labelling } from '../streams.ts';

/** An engine's event as a log record with `stream="events"`. */
export function eventRecord(
  event: RuntimeEvent,
  position: readonly [number, number],
  labelling: Labelling,
): LogRecord {
  const { instance } = event;
  const { labels, resource } = describeInstance(instance, labelling);
  const level = eventLevel(event);
  const source = `${instance.runtime}:${labelling.host}:${instance.id}:events`;
  const generation = '1';
  const start = event.startedAt === undefined ? undefined : normalizeRfc3339(event.startedAt);
  const fields: Record<string, string> = {
    [FIELD.eventKind]: 'event',
    [FIELD.eventAction]: event.action,
    'event.provider': instance.runtime,
  };
  for (const [name, value] of Object.entries(event.attributes)) fields[`event.${name}`] = value;
  return {
    timestamp: formatRfc3339(event.time),
    id: lineId(sourceId(source, generation), position),
    position,
    line: eventLine(event),
    stream: {
      labels: { ...labels, stream: 'events', level },
      resource: {
        ...resource,
        'log.level': level,
        'reflexarc.source': source,
        'reflexarc.generation': generation,
        ...(start === undefined ? {} : { 'reflexarc.start': start }),
      },
    },
    fields,
  };
}

/** `action=die exit_code=1 container=web service=web by=reflexarc`. */
function eventLine({ action, attributes, instance }: RuntimeEvent): string {
  const { by, ...rest } = attributes;
  const words: Record<string, string | undefined> = {
    ...rest,
    container: instance.name,
    service: instance.service,
    project: instance.project,
    image: instance.image,
    by,
  };
  let line = `action=${logfmt(action)}`;
  for (const [name, value] of Object.entries(words)) {
    if (value !== undefined && value !== '' && name !== 'action')
      line += ` ${name}=${logfmt(value)}`;
  }
  return line;
}

const logfmt = (value: string): string =>
  /^[^\s"=\\\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value);

/** A crash and memory that ran out are errors, an unhealthy check a warning. */
export function eventLevel({ action, attributes }: RuntimeEvent): Level {
  if (action === 'oom') return 'error';
  if (action === 'die') {
    const code = attributes['exit_code'];
    return code === undefined || code === '0' ? 'info' : 'error';
  }
  return attributes['health_status'] === 'unhealthy' || action === 'health_status: unhealthy'
    ? 'warn'
    : 'info';
}
