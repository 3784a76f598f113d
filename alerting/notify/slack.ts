import { formatLabels, type Labels } from '../../core/labels.ts';
import type { Message, NotifyAlert } from './message.ts';

/** Slack refuses a message beyond these; characters. */
const MAX_TITLE = 1024;
const MAX_TEXT = 12_000;
const LISTED = 20;

export type Text = (message: Message) => string;

/** Texts of a `slack_configs` entry, compiled; what is absent has a default or stays out. */
export interface SlackTexts {
  readonly channel: Text | undefined;
  readonly username: Text | undefined;
  readonly iconEmoji: Text | undefined;
  readonly iconUrl: Text | undefined;
  readonly color: Text | undefined;
  readonly title: Text | undefined;
  readonly titleLink: Text | undefined;
  readonly pretext: Text | undefined;
  readonly text: Text | undefined;
  readonly fallback: Text | undefined;
  readonly footer: Text | undefined;
  readonly imageUrl: Text | undefined;
  readonly thumbUrl: Text | undefined;
  readonly callbackId: Text | undefined;
  readonly fields: readonly {
    readonly title: Text;
    readonly value: Text;
    readonly short: boolean;
  }[];
  readonly linkNames: boolean;
  readonly mrkdwnIn: readonly string[];
}

/** An incoming webhook's body. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
export function slackPayload(texts: SlackTexts, message: Message): unknown {
  const title = (texts.title ?? defaultTitle)(message);
  const attachment: Record<string, unknown> = {
    color: (texts.color ?? defaultColor)(message),
    title: cut(title, MAX_TITLE),
    title_link: (texts.titleLink ?? defaultLink)(message),
    text: cut((texts.text ?? defaultText)(message), MAX_TEXT),
    fallback: (texts.fallback ?? (() => title))(message),
    mrkdwn_in: texts.mrkdwnIn,
  };
  set(attachment, 'pretext', texts.pretext?.(message));
  set(attachment, 'footer', texts.footer?.(message));
  set(attachment, 'image_url', texts.imageUrl?.(message));
  set(attachment, 'thumb_url', texts.thumbUrl?.(message));
  set(attachment, 'callback_id', texts.callbackId?.(message));
  if (texts.fields.length > 0) {
    attachment['fields'] = texts.fields.map((field) => ({
      title: field.title(message),
      value: field.value(message),
      short: field.short,
    }));
  }
  const payload: Record<string, unknown> = {};
  set(payload, 'channel', texts.channel?.(message));
  set(payload, 'username', texts.username?.(message) ?? 'Reflexarc');
  set(payload, 'icon_emoji', texts.iconEmoji?.(message));
  set(payload, 'icon_url', texts.iconUrl?.(message));
  if (texts.linkNames) payload['link_names'] = true;
  return { ...payload, attachments: [attachment] };
}

function set(into: Record<string, unknown>, name: string, value: string | undefined): void {
  if (value !== undefined && value !== '') into[name] = value;
}

const cut = (text: string, max: number): string =>
  text.length <= max ? text : `${text.slice(0, max - 1)}…`;

const defaultColor: Text = ({ status }) => (status === 'firing' ? 'danger' : 'good');
const defaultLink: Text = ({ externalUrl }) => externalUrl;

/** `[FIRING:2] ContainerDied (shop web)`, as Alertmanager's own title reads. */
const defaultTitle: Text = ({ status, alerts, groupLabels, commonLabels }) => {
  const firing = alerts.filter((alert) => alert.endsAt === undefined).length;
  const head = status === 'firing' ? `[FIRING:${firing}]` : '[RESOLVED]';
  const name = groupLabels['alertname'] ?? commonLabels['alertname'] ?? 'alerts';
  const rest = Object.keys(commonLabels)
    .filter((label) => label !== 'alertname')
    .sort()
    .map((label) => commonLabels[label]);
  return `${head} ${name}${rest.length > 0 ? ` (${rest.join(' ')})` : ''}`;
};

const defaultText: Text = ({ alerts, commonLabels }) => {
  const lines = alerts.slice(0, LISTED).map((alert) => describe(alert, commonLabels));
  if (alerts.length > LISTED) lines.push(`… and ${alerts.length - LISTED} more`);
  return lines.join('\n');
};

function describe({ labels, annotations, endsAt }: NotifyAlert, commonLabels: Labels): string {
  const own = Object.fromEntries(
    Object.entries(labels).filter(([name]) => commonLabels[name] === undefined),
  );
  const what = annotations['summary'] ?? annotations['description'] ?? labels['alertname'] ?? '';
  const which = Object.keys(own).length > 0 ? ` \`${formatLabels(own)}\`` : '';
  const text = [`${endsAt === undefined ? '•' : '✓'} ${escape(what)}${which}`];
  const more = annotations['summary'] === undefined ? undefined : annotations['description'];
  if (more !== undefined) text.push(`   ${escape(more)}`);
  const heal = annotations['remediation'];
  if (heal !== undefined) text.push(`   _Remediation:_ ${escape(heal)}`);
  const runbook = annotations['runbook_url'];
  if (runbook !== undefined) text.push(`   <${runbook}|Runbook>`);
  return text.join('\n');
}

/** https://docs.slack.dev/messaging/formatting-message-text#escaping */
const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
