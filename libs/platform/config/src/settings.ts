import { z } from 'zod';
import {
  addressRanges,
  baseUrl,
  decimalNumber,
  emailAddress,
  encryptionKeys,
  listOf,
  onOff,
  oneOf,
  plainText,
  secretText,
  sender,
  url,
  urls,
  urlWithPort,
  wholeNumber,
} from './setting-schemas.ts';

/** The settings that the start rule looks at (`unsafe-settings.ts`), and so the only names `ALLOW_UNSAFE` takes. */
export const guardedNames = [
  'SANDBOX',
  'META_GRAPH_BASE_URL',
  'ENCRYPTION_KEYS',
  'AUTH_SECRET',
  'INTERNAL_TOKEN',
  'OPERATOR_KEY',
] as const;

interface Setting {
  /** Takes the variable's text. Its description is printed in `.env.example`. */
  readonly schema: z.ZodType<unknown, string>;
  /** Text that stands when the variable is not set. Without it an unset variable is `undefined`. */
  readonly default?: string;
  /** A right value, shown when a value is wrong. For a secret: how to make one. */
  readonly example: string;
  /** It is or may hold a secret, so it can also be read from the file that `<name>_FILE` names. */
  readonly secret?: true;
}

const port = () => wholeNumber(0, 65_535);
const modelPrice = () => decimalNumber(1_000_000);

/** Every setting there is. A process takes the ones it needs by name, with `loadConfig`. */
export const settings = {
  NODE_ENV: {
    schema: oneOf(['development', 'test', 'production']).describe(
      'With production, a process refuses to start with settings that are only fit for trying things out.',
    ),
    default: 'development',
    example: 'production',
  },
  HOST: {
    schema: plainText().describe('Address that the process listens on. 0.0.0.0 listens on all of them.'),
    default: '127.0.0.1',
    example: '127.0.0.1',
  },
  PORT: {
    schema: port().describe('Port for HTTP: webhook and API at the gateway, health at the other processes.'),
    default: '3000',
    example: '3000',
  },
  PUBLIC_URL: {
    schema: baseUrl().describe('Address under which Meta and browsers reach the gateway.'),
    example: 'https://answerline.example.com',
  },
  TRUSTED_PROXIES: {
    schema: addressRanges().describe(
      'Proxies in front of the gateway whose X-Forwarded-For is believed, parted by commas.',
    ),
    default: '',
    example: '10.0.0.0/8',
  },
  GRPC_PORT: { schema: wholeNumber(1, 65_535).describe("Port of rag's gRPC service."), example: '5000' },
  RAG_URL: {
    schema: urlWithPort('grpc').describe("Where the gateway reaches rag's gRPC service."),
    example: 'grpc://127.0.0.1:5000',
  },
  METRICS_PORT: { schema: port().describe('Port for metrics. Not set: no metrics.'), example: '9464' },
  LOG_LEVEL: {
    schema: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).describe(
      'Least level that is logged.',
    ),
    default: 'info',
    example: 'info',
  },
  DATA_DIR: {
    schema: plainText(1000).describe('Folder for everything that is kept on disk by embedded parts.'),
    default: '.answerline',
    example: '.answerline',
  },
  DATABASE_URL: {
    schema: url('postgres', 'postgresql').describe('Postgres 15 or newer. Not set: standalone starts its own.'),
    example: 'postgres://user:password@localhost:5432/answerline',
    secret: true,
  },
  DATABASE_POOL_SIZE: {
    schema: wholeNumber(2, 200, 'connections').describe('Most Postgres connections that one process opens.'),
    default: '10',
    example: '10',
  },
  NATS_URL: {
    schema: urls('nats', 'tls', 'ws', 'wss').describe(
      'NATS 2.11 or newer with JetStream; several servers parted by commas. Not set: standalone starts its own.',
    ),
    example: 'nats://localhost:4222',
    secret: true,
  },
  ELASTICSEARCH_URL: {
    schema: baseUrl().describe('Elasticsearch 9 for the knowledge index. Not set: LanceDB in DATA_DIR.'),
    example: 'http://localhost:9200',
    secret: true,
  },
  OPENAI_API_KEY: {
    schema: secretText(1).describe('Key for the chat model. An endpoint of your own may need none.'),
    example: '<the key from the model provider>',
    secret: true,
  },
  OPENAI_BASE_URL: {
    schema: baseUrl().describe('Address of any OpenAI-compatible endpoint, with its version. Not set: OpenAI.'),
    example: 'https://api.openai.com/v1',
  },
  CHAT_MODEL: {
    schema: plainText().describe(
      'Name of the chat model at that endpoint. Not set: answers are quoted from the knowledge base.',
    ),
    example: 'gpt-5-mini',
  },
  CHAT_MODEL_INPUT_PRICE: {
    schema: modelPrice().describe(
      'What a million tokens of input cost at the chat model, in your currency. Not set: receipts have no costs.',
    ),
    example: '0.25',
  },
  CHAT_MODEL_OUTPUT_PRICE: {
    schema: modelPrice().describe('What a million tokens of output cost at the chat model, in the same currency.'),
    example: '2',
  },
  MODEL_TIMEOUT_MS: {
    // A turn ends 25 s after its claim, with its fallback sent: what a model call may take must leave room for that.
    schema: wholeNumber(1_000, 20_000, 'milliseconds').describe('Longest time that one model call may take.'),
    default: '12000',
    example: '12000',
  },
  EMBEDDING_MODEL: {
    schema: plainText().describe('Name of the embedding model. Not set: lexical search only.'),
    example: 'text-embedding-3-small',
  },
  EMBEDDING_BASE_URL: {
    schema: baseUrl().describe('OpenAI-compatible endpoint for embeddings. Not set: the one of the chat model.'),
    example: 'https://api.openai.com/v1',
  },
  EMBEDDING_API_KEY: {
    schema: secretText(1).describe(
      'Key for the embedding endpoint. Not set: OPENAI_API_KEY, if EMBEDDING_BASE_URL is not set either.',
    ),
    example: '<the key from the model provider>',
    secret: true,
  },
  EMBEDDING_MODEL_DIR: {
    schema: plainText(1000).describe('Folder with an embedding model that runs inside the process.'),
    example: '/var/lib/answerline/models',
  },
  META_GRAPH_BASE_URL: {
    schema: baseUrl().describe("Meta's Graph API. Not set: the sandbox if it is on, else Meta."),
    example: 'https://graph.facebook.com',
  },
  META_GRAPH_VERSION: {
    schema: z
      .string()
      .regex(/^v\d{1,3}\.\d$/, { error: 'must be a version such as v26.0' })
      .describe('Version of the Graph API.'),
    default: 'v26.0',
    example: 'v26.0',
  },
  REQUIRE_APP_SECRET: {
    schema: onOff().describe('Refuse WhatsApp channels without an App Secret, whose webhooks cannot be checked.'),
    default: 'off',
    example: 'on',
  },
  SANDBOX: {
    schema: onOff().describe(
      'Stand in for Meta with a phone in the browser. Not set: on where META_GRAPH_BASE_URL is not set.',
    ),
    example: 'off',
  },
  SANDBOX_PORT: { schema: port().describe('Port of the sandbox.'), default: '4400', example: '4400' },
  SANDBOX_SMTP_PORT: {
    schema: port().describe("Port of the sandbox's mailbox. 0 takes a free one."),
    default: '0',
    example: '4425',
  },
  SMTP_URL: {
    schema: url('smtp', 'smtps')
      .refine((text) => !/[?#]/.test(text), { error: 'must have no ? and no #' })
      .describe(
        "Server for outgoing mail: smtps:// is TLS from the start, smtp:// STARTTLS where it is offered. Not set: the sandbox's mailbox with standalone, else mails wait.",
      ),
    example: 'smtps://user:password@smtp.example.com',
    secret: true,
  },
  MAIL_FROM: {
    schema: sender().describe('Sender of outgoing mail. Needed with SMTP_URL.'),
    example: 'Answerline <no-reply@example.com>',
  },
  OPERATOR_EMAIL: {
    schema: emailAddress().describe(
      'Where the operator of this installation gets mail, also what is for owners without an address.',
    ),
    example: 'operator@example.com',
  },
  ENCRYPTION_KEYS: {
    schema: encryptionKeys().describe(
      'Keys for stored secrets: id:base64, parted by commas. The first one writes, all of them read.',
    ),
    example: 'k1:<output of: openssl rand -base64 32>',
    secret: true,
  },
  AUTH_SECRET: {
    schema: secretText(32).describe('Signs session cookies.'),
    example: '<output of: openssl rand -hex 32>',
    secret: true,
  },
  OPERATOR_KEY: {
    schema: secretText(32).describe('Key of the operator API, which creates workspaces.'),
    example: '<output of: openssl rand -hex 32>',
    secret: true,
  },
  INTERNAL_TOKEN: {
    schema: secretText(32).describe('What processes show each other on internal calls.'),
    example: '<output of: openssl rand -hex 32>',
    secret: true,
  },
  SIGN_UP: {
    schema: oneOf(['closed', 'invite', 'open']).describe('Who may make an account.'),
    default: 'closed',
    example: 'invite',
  },
  DEFAULT_PLAN: {
    schema: oneOf(['free', 'starter', 'growth', 'scale', 'enterprise']).describe('Plan of a new workspace.'),
    default: 'enterprise',
    example: 'enterprise',
  },
  UPGRADE_URL: {
    schema: url('http', 'https').describe('Where an owner is sent to choose a bigger plan.'),
    example: 'https://example.com/plans',
  },
  ALLOW_UNSAFE: {
    schema: listOf(guardedNames).describe(
      'Settings that may be unfit for production all the same, parted by commas. Printed at each start.',
    ),
    default: '',
    example: 'SANDBOX',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** The parsed value of a setting; `undefined` belongs to it unless the setting has a default. */
export type SettingValue<N extends SettingName> =
  | z.output<(typeof settings)[N]['schema']>
  | ((typeof settings)[N] extends { readonly default: string } ? never : undefined);

export type GuardedName = (typeof guardedNames)[number];

/** A setting without its exact type, for code that goes over all of them. */
export const settingOf = (name: SettingName): Setting => settings[name];

/** The names of all settings, in the order of the catalogue. */
export const settingNames = Object.keys(settings) as SettingName[];
