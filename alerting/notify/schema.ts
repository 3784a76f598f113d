import { z } from 'zod';
import { duration, labelMap, notYet } from '../../core/config/fields.ts';

/**
 * `notify.yaml`: Alertmanager's format. What is not served yet is known by name, and refused.
 * https://prometheus.io/docs/alerting/latest/configuration/
 */
const url = z.string().regex(/^https?:\/\/\S+$/, 'must begin with http:// or https://');
const secret = z.string().min(1);
const file = z.string().min(1).describe('Path; relative to the folder of this file');

const httpConfig = z.strictObject({
  authorization: z
    .strictObject({
      type: z.string().default('Bearer'),
      credentials: secret.optional(),
      credentials_file: file.optional(),
    })
    .optional(),
  basic_auth: z
    .strictObject({
      username: z.string().optional(),
      username_file: file.optional(),
      password: secret.optional(),
      password_file: file.optional(),
    })
    .optional(),
  bearer_token: secret.optional(),
  bearer_token_file: file.optional(),
  follow_redirects: z.boolean().default(true),
  enable_http2: notYet('enable_http2 is'),
  http_headers: notYet('http_headers are'),
  oauth2: notYet('oauth2 is'),
  tls_config: notYet('tls_config is'),
  proxy_url: notYet('a proxy is'),
  no_proxy: notYet('a proxy is'),
  proxy_from_environment: notYet('a proxy is'),
  proxy_connect_header: notYet('a proxy is'),
});

const timeout = duration
  .optional()
  .describe('How long one attempt may take; 10s where it is absent or 0');

const webhook = z.strictObject({
  url: url.optional(),
  url_file: file.optional(),
  send_resolved: z.boolean().default(true),
  max_alerts: z.int().min(0).default(0).describe('How many alerts a message holds; 0: all'),
  http_config: httpConfig.optional(),
  timeout,
});

const template = z.string();
const slackField = z.strictObject({
  title: template,
  value: template,
  short: z.boolean().optional(),
});

const slack = z.strictObject({
  api_url: url.optional(),
  api_url_file: file.optional(),
  send_resolved: z.boolean().default(false),
  channel: template.optional(),
  username: template.optional(),
  icon_emoji: template.optional(),
  icon_url: template.optional(),
  color: template.optional(),
  title: template.optional(),
  title_link: template.optional(),
  pretext: template.optional(),
  text: template.optional(),
  fallback: template.optional(),
  footer: template.optional(),
  image_url: template.optional(),
  thumb_url: template.optional(),
  callback_id: template.optional(),
  link_names: z.boolean().default(false),
  short_fields: z.boolean().default(false),
  mrkdwn_in: z.array(z.string()).default(['fallback', 'pretext', 'text']),
  fields: z.array(slackField).default([]),
  http_config: httpConfig.optional(),
  timeout,
  actions: notYet("Slack's actions are"),
  app_token: notYet('app_token is'),
  app_token_file: notYet('app_token_file is'),
  app_url: notYet('app_url is'),
  message_text: notYet('message_text is'),
  update_message: notYet('update_message is'),
});

const later = Object.fromEntries(
  [
    'discord',
    'email',
    'incidentio',
    'jira',
    'mattermost',
    'msteams',
    'msteamsv2',
    'opsgenie',
    'pagerduty',
    'pushover',
    'rocketchat',
    'sns',
    'telegram',
    'victorops',
    'webex',
    'wechat',
  ].map((name) => [`${name}_configs`, notYet(`${name}_configs are`)]),
);

const receiver = z.strictObject({
  name: z.string().min(1),
  webhook_configs: z.array(webhook).default([]),
  slack_configs: z.array(slack).default([]),
  ...later,
});

const positive = (name: string) =>
  duration.refine((ms) => ms > 0, `${name} must be more than 0`).optional();

const routeFields = {
  receiver: z.string().optional(),
  group_by: z
    .array(z.string())
    .optional()
    .describe("Labels; '...' stands for all, so that each alert is its own group"),
  continue: z.boolean().default(false),
  matchers: z.array(z.string()).default([]).describe('Such as severity="critical"; all must hold'),
  match: labelMap.default({}).describe('Deprecated form of matchers'),
  match_re: labelMap.default({}).describe('Deprecated form of matchers'),
  group_wait: duration.optional(),
  group_interval: positive('group_interval'),
  repeat_interval: positive('repeat_interval'),
  mute_time_intervals: notYet('mute_time_intervals are'),
  active_time_intervals: notYet('active_time_intervals are'),
};

const routeBase = z.strictObject(routeFields);
export type RouteSpec = z.output<typeof routeBase> & { readonly routes: RouteSpec[] };
type RouteInput = z.input<typeof routeBase> & { routes?: RouteInput[] | undefined };

const route: z.ZodType<RouteSpec, RouteInput> = z.strictObject({
  ...routeFields,
  routes: z.array(z.lazy(() => route)).default([]),
});

const laterGlobals = Object.fromEntries(
  [
    'smtp_from',
    'smtp_smarthost',
    'smtp_hello',
    'smtp_auth_username',
    'smtp_auth_password',
    'smtp_auth_password_file',
    'smtp_auth_identity',
    'smtp_auth_secret',
    'smtp_require_tls',
    'smtp_tls_config',
    'pagerduty_url',
    'opsgenie_api_key',
    'opsgenie_api_url',
    'victorops_api_key',
    'victorops_api_url',
    'telegram_api_url',
    'webex_api_url',
    'wechat_api_url',
    'wechat_api_secret',
    'wechat_api_corp_id',
    'slack_app_token',
    'slack_app_url',
  ].map((name) => [name, notYet(`${name} is`)]),
);

export const notifySchema = z.strictObject({
  global: z
    .strictObject({
      resolve_timeout: duration
        .optional()
        .describe('Without effect: when an alert ends is known here, and not guessed'),
      http_config: httpConfig.optional(),
      slack_api_url: url.optional(),
      slack_api_url_file: file.optional(),
      ...laterGlobals,
    })
    .prefault({}),
  route: route.optional(),
  receivers: z.array(receiver).default([]),
  inhibit_rules: notYet('inhibit_rules are'),
  time_intervals: notYet('time_intervals are'),
  mute_time_intervals: notYet('mute_time_intervals are'),
  templates: notYet('template files are'),
});

export type NotifyFile = z.output<typeof notifySchema>;
export type HttpSpec = z.output<typeof httpConfig>;
export type WebhookSpec = z.output<typeof webhook>;
export type SlackSpec = z.output<typeof slack>;
