import { describe, expect, it } from 'vitest';
import { messageOf, type NotifyAlert } from './message.ts';
import { type SlackTexts, slackPayload } from './slack.ts';
import { webhookPayload } from './webhook.ts';

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 60);
const web: NotifyAlert = {
  fingerprint: '0123456789abcdef',
  labels: { alertname: 'Down', service: 'web', severity: 'critical' },
  annotations: {
    summary: 'web <is> down',
    description: 'for long',
    remediation: 'restart-crashed: restarted web',
  },
  startsAt: at,
  generatorUrl: 'http://arc.test/api/v1/query?query=up%20%3D%3D%200',
};
const db: NotifyAlert = {
  fingerprint: 'fedcba9876543210',
  labels: { alertname: 'Down', service: 'db', severity: 'critical' },
  annotations: { summary: 'db is down', runbook_url: 'http://wiki/db' },
  startsAt: at - 60,
  endsAt: at + 940,
  generatorUrl: web.generatorUrl,
};
const group = {
  receiver: 'team',
  key: '{}/{severity="critical"}:{alertname="Down"}',
  labels: { alertname: 'Down' },
  externalUrl: 'http://arc.test',
};

describe('the webhook payload', () => {
  it("is Alertmanager's version 4", () => {
    // Key order too: some receivers show the raw text.
    expect(JSON.stringify(webhookPayload(messageOf(group, [web, db]), 0), undefined, 1)).toBe(
      JSON.stringify(
        {
          receiver: 'team',
          status: 'firing',
          alerts: [
            {
              status: 'firing',
              labels: { alertname: 'Down', service: 'web', severity: 'critical' },
              annotations: {
                summary: 'web <is> down',
                description: 'for long',
                remediation: 'restart-crashed: restarted web',
              },
              startsAt: '2026-01-02T03:04:05.06Z',
              endsAt: '0001-01-01T00:00:00Z',
              generatorURL: 'http://arc.test/api/v1/query?query=up%20%3D%3D%200',
              fingerprint: '0123456789abcdef',
            },
            {
              status: 'resolved',
              labels: { alertname: 'Down', service: 'db', severity: 'critical' },
              annotations: { summary: 'db is down', runbook_url: 'http://wiki/db' },
              startsAt: '2026-01-02T03:04:05Z',
              endsAt: '2026-01-02T03:04:06Z',
              generatorURL: 'http://arc.test/api/v1/query?query=up%20%3D%3D%200',
              fingerprint: 'fedcba9876543210',
            },
          ],
          groupLabels: { alertname: 'Down' },
          commonLabels: { alertname: 'Down', severity: 'critical' },
          commonAnnotations: {},
          externalURL: 'http://arc.test',
          version: '4',
          groupKey: '{}/{severity="critical"}:{alertname="Down"}',
          truncatedAlerts: 0,
        },
        undefined,
        1,
      ),
    );
  });

  it('is cut to max_alerts, and says so', () => {
    expect(webhookPayload(messageOf(group, [web, db]), 1)).toMatchObject({
      alerts: [{ fingerprint: web.fingerprint }],
      commonLabels: { alertname: 'Down', severity: 'critical' },
      truncatedAlerts: 1,
    });
  });
});

const texts: SlackTexts = {
  channel: undefined,
  username: undefined,
  iconEmoji: undefined,
  iconUrl: undefined,
  color: undefined,
  title: undefined,
  titleLink: undefined,
  pretext: undefined,
  text: undefined,
  fallback: undefined,
  footer: undefined,
  imageUrl: undefined,
  thumbUrl: undefined,
  callbackId: undefined,
  fields: [],
  linkNames: false,
  mrkdwnIn: ['fallback', 'pretext', 'text'],
};

describe('the Slack payload', () => {
  it('is good without any setting', () => {
    expect(slackPayload(texts, messageOf(group, [web, db]))).toEqual({
      username: 'Reflexarc',
      attachments: [
        {
          color: 'danger',
          title: '[FIRING:1] Down (critical)',
          title_link: 'http://arc.test',
          text: [
            '• web &lt;is&gt; down `{service="web"}`',
            '   for long',
            '   _Remediation:_ restart-crashed: restarted web',
            '✓ db is down `{service="db"}`',
            '   <http://wiki/db|Runbook>',
          ].join('\n'),
          fallback: '[FIRING:1] Down (critical)',
          mrkdwn_in: ['fallback', 'pretext', 'text'],
        },
      ],
    });
  });

  it('takes what the file says', () => {
    const own: SlackTexts = {
      ...texts,
      channel: () => '#ops',
      username: () => 'arc',
      iconEmoji: () => ':fire:',
      color: ({ status }) => status,
      title: () => 'T',
      text: ({ alerts }) => String(alerts.length),
      fields: [{ title: () => 'a', value: () => 'b', short: true }],
      linkNames: true,
    };
    expect(slackPayload(own, messageOf(group, [db]))).toEqual({
      channel: '#ops',
      username: 'arc',
      icon_emoji: ':fire:',
      link_names: true,
      attachments: [
        {
          color: 'resolved',
          title: 'T',
          title_link: 'http://arc.test',
          text: '1',
          fallback: 'T',
          mrkdwn_in: ['fallback', 'pretext', 'text'],
          fields: [{ title: 'a', value: 'b', short: true }],
        },
      ],
    });
  });

  it('lists twenty alerts and counts the rest', () => {
    const many = Array.from({ length: 23 }, (_, n) => ({
      ...web,
      labels: { ...web.labels, service: `s${n}` },
    }));
    const { attachments } = slackPayload(texts, messageOf(group, many)) as {
      attachments: { text: string; title: string }[];
    };
    expect(attachments[0]?.title).toBe('[FIRING:23] Down (critical)');
    expect(attachments[0]?.text.split('\n').at(-1)).toBe('… and 3 more');
  });
});
