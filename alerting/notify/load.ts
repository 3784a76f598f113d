import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readSecret } from '../../core/config/fields.ts';
import { ConfigError, type Loaded, loadYaml } from '../../core/config/yaml.ts';
import { isReflexarcError, messageOf, ReflexarcError } from '../../core/errors.ts';
import type { Matcher } from '../../core/labels.ts';
import { parseMatchers } from '../../lang/matchers.ts';
import type { Target } from './http.ts';
import type { Integration, Receiver } from './integration.ts';
import { matchersText, type Route, routeMatcher } from './route.ts';
import {
  type HttpSpec,
  type NotifyFile,
  notifySchema,
  type RouteSpec,
  type SlackSpec,
  type WebhookSpec,
} from './schema.ts';
import { type SlackTexts, slackPayload, type Text } from './slack.ts';
import { compileMessageTemplate } from './template.ts';
import { webhookPayload } from './webhook.ts';

export interface NotifyConfig {
  readonly route: Route;
  readonly receivers: ReadonlyMap<string, Receiver>;
}

export interface LoadedNotify {
  /** Absent: there is no file, or it has a problem. */
  readonly config?: NotifyConfig;
  readonly problems: readonly ReflexarcError[];
}

const FILE = 'notify.yaml';
const DEFAULT_TIMEOUT = 10_000;

/** Reads `notify.yaml` in the folder. No file: nobody is notified. */
export function loadNotify(
  dir: string,
  env: Readonly<Record<string, string | undefined>>,
): LoadedNotify {
  let text: string;
  try {
    text = readFileSync(join(dir, FILE), 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { problems: [] };
    const message = `cannot be read: ${messageOf(cause)}`;
    const where = { file: FILE };
    return { problems: [new ReflexarcError('bad_config', message, { cause, where })] };
  }
  try {
    return new Builder(dir, loadYaml(notifySchema, text, FILE, { env })).build();
  } catch (error) {
    if (error instanceof ConfigError) return { problems: error.problems };
    throw error;
  }
}

type Path = readonly (string | number)[];

/** What a route hands down. Alertmanager's defaults. */
const DEFAULTS: Inherited = {
  key: '',
  receiver: '',
  groupBy: [],
  groupWait: 30_000,
  groupInterval: 300_000,
  repeatInterval: 14_400_000,
};

type Inherited = Omit<Route, 'continue' | 'matches' | 'routes'>;

class Builder {
  readonly #dir: string;
  readonly #loaded: Loaded<NotifyFile>;
  readonly #problems: ReflexarcError[] = [];

  constructor(dir: string, loaded: Loaded<NotifyFile>) {
    this.#dir = dir;
    this.#loaded = loaded;
  }

  build(): LoadedNotify {
    const { route: root, receivers: specs, global } = this.#loaded.value;
    this.#secret(global.slack_api_url, global.slack_api_url_file, ['global'], 'slack_api_url');
    const receivers = new Map<string, Receiver>();
    for (const [index, spec] of specs.entries()) {
      const path = ['receivers', index];
      if (receivers.has(spec.name)) {
        this.#problem([...path, 'name'], `there are two receivers named ${quote(spec.name)}`);
      }
      receivers.set(spec.name, {
        name: spec.name,
        integrations: [
          ...spec.webhook_configs.map((each, nth) =>
            this.#webhook(each, nth, [...path, 'webhook_configs', nth]),
          ),
          ...spec.slack_configs.map((each, nth) =>
            this.#slack(each, nth, [...path, 'slack_configs', nth]),
          ),
        ],
      });
    }
    if (root === undefined) {
      if (specs.length > 0) this.#problem([], 'a `route` is needed: it says who receives what');
      return { problems: this.#problems };
    }
    const matching = Object.keys({ ...root.match, ...root.match_re }).length + root.matchers.length;
    if (matching > 0)
      this.#problem(['route'], 'the root route takes every alert: no matchers here');
    if (root.continue) this.#problem(['route', 'continue'], 'has no meaning on the root route');
    if (root.receiver === undefined) this.#problem(['route'], 'the root route needs a `receiver`');
    const route = this.#route(root, DEFAULTS, ['route'], receivers);
    if (this.#problems.length > 0) return { problems: this.#problems };
    return { config: { route, receivers }, problems: [] };
  }

  #problem(path: Path, message: string, details: { cause?: unknown; hint?: string } = {}): void {
    const where = this.#loaded.where(path);
    this.#problems.push(new ReflexarcError('bad_config', message, { ...details, where }));
  }

  #route(
    spec: RouteSpec,
    parent: Inherited,
    path: Path,
    receivers: ReadonlyMap<string, Receiver>,
  ): Route {
    if (spec.receiver !== undefined && !receivers.has(spec.receiver)) {
      const names = [...receivers.keys()].join(', ');
      this.#problem([...path, 'receiver'], `there is no receiver ${quote(spec.receiver)}`, {
        hint: names === '' ? 'add it under receivers' : `known: ${names}`,
      });
    }
    const groupBy = spec.group_by;
    if (groupBy !== undefined && new Set(groupBy).size < groupBy.length) {
      this.#problem([...path, 'group_by'], 'a label stands here twice');
    }
    if (groupBy !== undefined && groupBy.length > 1 && groupBy.includes('...')) {
      this.#problem([...path, 'group_by'], "'...' stands for all labels: no other beside it");
    }
    const matchers = this.#matchers(spec, path);
    const inherited: Inherited = {
      key: parent.key === '' ? matchersText(matchers) : `${parent.key}/${matchersText(matchers)}`,
      receiver: spec.receiver ?? parent.receiver,
      groupBy: groupBy === undefined ? parent.groupBy : groupBy[0] === '...' ? 'all' : groupBy,
      groupWait: spec.group_wait ?? parent.groupWait,
      groupInterval: spec.group_interval ?? parent.groupInterval,
      repeatInterval: spec.repeat_interval ?? parent.repeatInterval,
    };
    return {
      ...inherited,
      continue: spec.continue,
      matches: this.#try(path, () => routeMatcher(matchers)) ?? (() => false),
      routes: spec.routes.map((child, index) =>
        this.#route(child, inherited, [...path, 'routes', index], receivers),
      ),
    };
  }

  #matchers(spec: RouteSpec, path: Path): readonly Matcher[] {
    const found: Matcher[] = [];
    for (const [name, value] of Object.entries(spec.match)) found.push({ name, op: '=', value });
    for (const [name, value] of Object.entries(spec.match_re)) {
      found.push({ name, op: '=~', value });
    }
    for (const [index, text] of spec.matchers.entries()) {
      found.push(...(this.#try([...path, 'matchers', index], () => parseMatchers(text)) ?? []));
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  #try<T>(path: Path, make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      if (!isReflexarcError(error)) throw error;
      const where = this.#loaded.inside(path, error.where ?? {});
      const hint = error.hint === undefined ? {} : { hint: error.hint };
      this.#problems.push(
        new ReflexarcError('bad_config', error.message, { cause: error, where, ...hint }),
      );
      return undefined;
    }
  }

  /**
   * A value or the file it stands in; read now, so that a mistake is found now, and again at each
   * use, since a secret's file may change.
   */
  #secret(
    value: string | undefined,
    file: string | undefined,
    path: Path,
    field: string,
  ): (() => string) | undefined {
    const read = (): string | undefined =>
      readSecret(value, file === undefined ? undefined : resolve(this.#dir, file), field);
    const first = this.#try([...path, file === undefined ? field : `${field}_file`], read);
    return first === undefined ? undefined : () => read() ?? '';
  }

  #target(
    url: (() => string) | undefined,
    spec: { http_config?: HttpSpec | undefined; timeout?: number | undefined },
    path: Path,
  ): Target {
    const { global } = this.#loaded.value;
    const own = spec.http_config;
    const http = own ?? global.http_config;
    const httpPath = own === undefined ? ['global', 'http_config'] : [...path, 'http_config'];
    if (url !== undefined && !/^https?:\/\//.test(url())) {
      this.#problem(path, "the receiver's URL must begin with http:// or https://");
    }
    return {
      url: url ?? (() => ''),
      headers: this.#authorization(http, httpPath),
      followRedirects: http?.follow_redirects ?? true,
      timeout: spec.timeout === undefined || spec.timeout === 0 ? DEFAULT_TIMEOUT : spec.timeout,
    };
  }

  #authorization(http: HttpSpec | undefined, path: Path): () => Readonly<Record<string, string>> {
    const { authorization, basic_auth: basic, bearer_token, bearer_token_file } = http ?? {};
    const bearer = this.#secret(bearer_token, bearer_token_file, path, 'bearer_token');
    const given = [authorization, basic, bearer].filter((each) => each !== undefined);
    if (given.length > 1) {
      this.#problem(path, 'authorization, basic_auth and bearer_token exclude each other');
    }
    if (authorization !== undefined) {
      const at = [...path, 'authorization'];
      const { type, credentials, credentials_file } = authorization;
      const secret = this.#secret(credentials, credentials_file, at, 'credentials');
      if (secret === undefined) {
        this.#problem(at, '`credentials` or `credentials_file` is needed');
      }
      return () => ({ authorization: `${type} ${secret?.() ?? ''}` });
    }
    if (basic !== undefined) {
      const at = [...path, 'basic_auth'];
      const username = this.#secret(basic.username, basic.username_file, at, 'username');
      const password = this.#secret(basic.password, basic.password_file, at, 'password');
      return () => {
        const text = `${username?.() ?? ''}:${password?.() ?? ''}`;
        return { authorization: `Basic ${Buffer.from(text).toString('base64')}` };
      };
    }
    return bearer === undefined ? () => ({}) : () => ({ authorization: `Bearer ${bearer()}` });
  }

  #webhook(spec: WebhookSpec, nth: number, path: Path): Integration {
    const url = this.#secret(spec.url, spec.url_file, path, 'url');
    if (spec.url === undefined && spec.url_file === undefined) {
      this.#problem(path, '`url` or `url_file` is needed');
    }
    return {
      name: `webhook[${nth}]`,
      sendResolved: spec.send_resolved,
      target: this.#target(url, spec, path),
      payload: (message) => webhookPayload(message, spec.max_alerts),
    };
  }

  #slack(spec: SlackSpec, nth: number, path: Path): Integration {
    const { global } = this.#loaded.value;
    const own = this.#secret(spec.api_url, spec.api_url_file, path, 'api_url');
    const url =
      own ??
      this.#secret(global.slack_api_url, global.slack_api_url_file, ['global'], 'slack_api_url');
    const named = [
      spec.api_url,
      spec.api_url_file,
      global.slack_api_url,
      global.slack_api_url_file,
    ];
    if (named.every((each) => each === undefined)) {
      this.#problem(path, '`api_url` or `api_url_file` is needed, here or as global.slack_api_url');
    }
    const texts = this.#slackTexts(spec, path);
    return {
      name: `slack[${nth}]`,
      sendResolved: spec.send_resolved,
      target: this.#target(url, spec, path),
      payload: (message) => slackPayload(texts, message),
    };
  }

  #slackTexts(spec: SlackSpec, path: Path): SlackTexts {
    const compile = (from: string, at: Path): Text =>
      this.#try(at, () => compileMessageTemplate(from)) ?? (() => '');
    const own = (field: keyof SlackSpec): Text | undefined => {
      const from = spec[field];
      return typeof from === 'string' ? compile(from, [...path, field]) : undefined;
    };
    return {
      channel: own('channel'),
      username: own('username'),
      iconEmoji: own('icon_emoji'),
      iconUrl: own('icon_url'),
      color: own('color'),
      title: own('title'),
      titleLink: own('title_link'),
      pretext: own('pretext'),
      text: own('text'),
      fallback: own('fallback'),
      footer: own('footer'),
      imageUrl: own('image_url'),
      thumbUrl: own('thumb_url'),
      callbackId: own('callback_id'),
      fields: spec.fields.map(({ title, value, short }, index) => ({
        title: compile(title, [...path, 'fields', index, 'title']),
        value: compile(value, [...path, 'fields', index, 'value']),
        short: short ?? spec.short_fields,
      })),
      linkNames: spec.link_names,
      mrkdwnIn: spec.mrkdwn_in,
    };
  }
}

const quote = (text: string): string => JSON.stringify(text);
