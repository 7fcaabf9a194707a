import { randomBytes } from 'node:crypto';
import { Secret } from '@answerline/config';
import { freePort } from '@answerline/embedded-services';
import { HealthRegistry } from '@answerline/lifecycle';
import { createLogger, LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { Database, migrateDatabase, newId } from '@answerline/persistence';
import { RagClient } from '@answerline/rag-client';
import { SecretBox } from '@answerline/secrets';
import { GraphManagement } from '@answerline/whatsapp';
import { expect } from '@jest/globals';
import { type DynamicModule, type InjectionToken } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import * as z from 'zod';
import { captureLogs, type CapturedLogs } from './capture-logs.ts';
import { eventually } from './eventually.ts';
import { startTestSandbox, type TestSandbox } from './test-sandbox.ts';
import { startTestNats } from './test-nats.ts';
import { createTestDatabase } from './test-postgres.ts';

/** The description of the API, as far as tests look into it. */
export interface OpenApi {
  readonly openapi: string;
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>
  >;
}

/** What tests look into of an answer; `call` has held it against its schema. */
export interface ApiBody {
  readonly id: string;
  readonly code: string;
  readonly items: ApiBody[];
  readonly nextCursor: string | null;
  readonly errors: { readonly path: string }[];
  readonly callbackUrl: string;
  readonly verifyToken: string;
  readonly apiKey: string;
  readonly workspace: ApiBody;
  readonly [field: string]: unknown;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: ApiBody;
  readonly headers: Headers;
}

/** A workspace with one of everything. */
export interface FurnishedWorkspace {
  readonly id: string;
  readonly key: string;
  readonly chatbotId: string;
  readonly sourceId: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly phoneNumberId: string;
}

/** The gateway over HTTP, on a Postgres and a NATS of its own. */
export interface TestGateway {
  readonly origin: string;
  readonly publicUrl: string;
  readonly database: Database;
  readonly bus: MessageBus;
  readonly secretBox: SecretBox;
  readonly logs: CapturedLogs;
  readonly operatorKey: string;
  /** Meta, which knows the numbers of `aConnection`. Its deliveries are paused. */
  readonly sandbox: TestSandbox;
  /** What all access tokens of `aConnection` begin with. */
  readonly accessToken: string;
  /** Of all its apps. */
  readonly appSecret: string;
  /** Of every workspace that was created here. */
  readonly apiKeys: readonly string[];
  /** Every route of the server, as `GET /path/{id}`. */
  readonly served: readonly string[];
  readonly openApi: OpenApi;
  /** Routes whose answers were held against their schema: `get /path/{id} ok`, or `problem`. */
  readonly checked: ReadonlySet<string>;
  /** Calls the API, and holds every answer of a documented route against its own schema. */
  call(method: string, path: string, options?: { key?: string | undefined; body?: unknown }): Promise<ApiAnswer>;
  createWorkspace(plan?: string): Promise<{ id: string; key: string }>;
  createChatbot(key: string): Promise<string>;
  /**
   * The body that connects a WhatsApp number, which the sandbox knows; each time another number of another app and account,
   * or the one whose `phoneNumberId` is given.
   */
  aConnection(extra?: object): {
    appId: string;
    phoneNumberId: string;
    wabaId: string;
    accessToken: string;
    appSecret: string;
    [field: string]: unknown;
  };
  furnish(): Promise<FurnishedWorkspace>;
  addConversation(workspaceId: string, channelId: string, lastInboundAt?: string | null): Promise<string>;
  stop(): Promise<void>;
}

/** Nothing listens there: every route but search and ask must do without rag. */
const NO_RAG = 'grpc://127.0.0.1:1';

/** How many numbers Meta knows from the start. */
const NUMBERS = 500;

export interface TestGatewayOptions {
  /** That of a `startTestRag`. */
  readonly ragUrl?: string;
  /** Where Graph calls go instead of to the sandbox, as to something that stands before it and interferes. */
  readonly graphUrl?: (sandboxUrl: string) => Promise<string>;
  /** Where Meta is told to deliver, when that is not to lead here. */
  readonly publicUrl?: string;
}

/** Starts it, with a sandbox as Meta that knows the numbers of `aConnection`. */
export async function startTestGateway({
  ragUrl = NO_RAG,
  graphUrl = async (sandboxUrl) => sandboxUrl,
  publicUrl: givenUrl,
}: TestGatewayOptions = {}): Promise<TestGateway> {
  // Loaded here, so that specs which need no gateway do not load it either.
  const { createGatewayAdapter, GatewayModule, openGatewayDoors } = await import('@answerline/feature-gateway');
  const accessToken = `EAA${randomBytes(20).toString('hex')}`;
  const appSecret = randomBytes(16).toString('hex');
  // Each number has an app and an account of its own: the app's callback is its workspace's.
  const connectionOf = (n: number) => ({
    appId: String(123_000_000_000_000 + n),
    phoneNumberId: String(100_000_000_000_000 + n),
    wabaId: String(987_000_000_000_000 + n),
    accessToken: `${accessToken}${String(n)}`,
    appSecret,
  });
  const numbers = Array.from({ length: NUMBERS }, (_, n) => ({
    ...connectionOf(n + 1),
    displayPhoneNumber: '+1 202 555 0100',
    verifiedName: 'Bakery',
  }));
  const [testDatabase, nats, sandbox, port] = await Promise.all([
    createTestDatabase(migrateDatabase),
    startTestNats(),
    startTestSandbox({ numbers }),
    freePort('127.0.0.1'),
  ]);
  const logs = captureLogs();
  const logger = createLogger({ app: 'spec', level: 'trace', destination: logs.stream });
  const database = await Database.connect({ url: testDatabase.url, applicationName: 'api-spec' });
  const { url, token } = nats;
  const bus = await MessageBus.connect({ url, token, name: 'api-spec', logger, profile: 'standalone' });
  await bus.reconcile();
  const rag = new RagClient({ url: ragUrl, token: 'of-the-spec' });
  const secretBox = new SecretBox([{ id: 'k1', key: randomBytes(32) }]);
  const operatorKey = randomBytes(24).toString('hex');
  // Meta verifies callbacks, so this has to lead here.
  const publicUrl = givenUrl ?? `http://127.0.0.1:${String(port)}`;
  const parts: [InjectionToken, unknown][] = [
    [Database, database],
    [MessageBus, bus],
    [RagClient, rag],
    [HealthRegistry, new HealthRegistry()],
    [SecretBox, secretBox],
    [GraphManagement, new GraphManagement({ baseUrl: await graphUrl(sandbox.url), version: 'v26.0' })],
    [LOGGER, logger],
  ];
  const gateway = GatewayModule.forRoot({
    publicUrl,
    operatorKey: new Secret(operatorKey),
    defaultPlan: 'scale',
    upgradeUrl: 'https://example.com/plans',
    requireAppSecret: false,
  });
  const served: string[] = [];
  const adapter = createGatewayAdapter();
  adapter.getInstance().addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) served.push(`${one} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
  });
  const app = await NestFactory.create<NestFastifyApplication>(TestGatewayModule.of(parts, gateway), adapter, {
    logger: nestLogger(logger),
    bodyParser: false,
    abortOnError: false,
  });
  await openGatewayDoors(app);
  await app.listen(port, '127.0.0.1');
  const origin = await app.getUrl();
  const openApi = (await (await fetch(`${origin}/api/openapi.json`)).json()) as OpenApi;
  const checked = new Set<string>();
  const apiKeys: string[] = [];
  let lastNumber = 0;

  const call: TestGateway['call'] = async (method, path, { key, body } = {}) => {
    const response = await fetch(`${origin}/api/v1${path}`, {
      method,
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    holdAgainstSchema(method, path, response, answer);
    return { status: response.status, body: answer as ApiBody, headers: response.headers };
  };
  const holdAgainstSchema = (method: string, path: string, response: Response, answer: unknown): void => {
    const type = response.headers.get('content-type')?.split(';')[0] ?? '';
    expect(type).toBe(response.ok ? 'application/json' : 'application/problem+json');
    const wanted = `/api/v1${path.split('?')[0] ?? ''}`;
    const template = Object.keys(openApi.paths).find((one) =>
      new RegExp(`^${one.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(wanted),
    );
    const responses = template === undefined ? undefined : openApi.paths[template]?.[method.toLowerCase()]?.responses;
    if (!responses) return expect(response.status).toBe(404);
    const schema = (responses[response.status] ?? responses['default'])?.content?.[type]?.schema;
    expect(schema).toBeDefined();
    const parsed = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(answer);
    expect(parsed.error?.issues ?? []).toEqual([]);
    checked.add(`${method.toLowerCase()} ${template ?? ''} ${response.ok ? 'ok' : 'problem'}`);
  };
  const createWorkspace: TestGateway['createWorkspace'] = async (plan = 'scale') => {
    const { status, body } = await call('POST', '/workspaces', { key: operatorKey, body: { name: 'Bakery', plan } });
    expect(status).toBe(201);
    apiKeys.push(body.apiKey);
    return { id: body.workspace.id, key: body.apiKey };
  };
  const createChatbot: TestGateway['createChatbot'] = async (key) =>
    (await call('POST', '/chatbots', { key, body: { name: 'Assistant' } })).body.id;
  const aConnection: TestGateway['aConnection'] = (extra = {}) => {
    const wanted =
      'phoneNumberId' in extra ? numbers.findIndex((one) => one.phoneNumberId === extra.phoneNumberId) : -1;
    return { ...connectionOf(wanted >= 0 ? wanted + 1 : ++lastNumber), ...extra };
  };
  const addConversation: TestGateway['addConversation'] = async (
    workspaceId,
    channelId,
    lastInboundAt = '2026-11-20T10:00:00Z',
  ) => {
    const [contactId, conversationId] = [newId(), newId()];
    await database.query(`INSERT INTO contacts (id, workspace_id, name) VALUES ($1, $2, 'Customer A')`, [
      contactId,
      workspaceId,
    ]);
    await database.query(
      `INSERT INTO conversations (id, workspace_id, channel_id, contact_id, last_inbound_at) VALUES ($1, $2, $3, $4, $5)`,
      [conversationId, workspaceId, channelId, contactId, lastInboundAt],
    );
    return conversationId;
  };
  const furnish = async (): Promise<FurnishedWorkspace> => {
    const { id, key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const source = { type: 'text', title: 'Hours', text: 'We open at seven.' };
    const sourceId = (await call('POST', `/chatbots/${chatbotId}/sources`, { key, body: source })).body.id;
    const connection = aConnection();
    const channel = await call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body: connection });
    const channelId = channel.body.id;
    const conversationId = await addConversation(id, channelId);
    return { id, key, chatbotId, sourceId, channelId, conversationId, phoneNumberId: connection.phoneNumberId };
  };

  return {
    origin,
    publicUrl,
    database,
    bus,
    secretBox,
    logs,
    operatorKey,
    sandbox,
    accessToken,
    appSecret,
    apiKeys,
    served,
    openApi,
    checked,
    call,
    createWorkspace,
    createChatbot,
    aConnection,
    furnish,
    addConversation,
    stop: async () => {
      // What hangs is named, before Jest says only that something does.
      const end = (what: string, work: () => Promise<void>) =>
        eventually(work, { what: `${what} ends`, timeoutMs: 25_000 });
      await end('the application', () => app.close());
      rag.close();
      await Promise.all([end('the bus', () => bus.close()), end('the pool', () => database.close())]);
      await end('the calls to Meta', () => closeOperatorConnections());
      await Promise.all([
        end('nats-server', () => nats.stop()),
        end('the database', () => testDatabase.drop()),
        end('the sandbox', () => sandbox.close()),
      ]);
    },
  };
}

class TestGatewayModule {
  static of(parts: readonly [InjectionToken, unknown][], gateway: DynamicModule): DynamicModule {
    const providers = parts.map(([provide, useValue]) => ({ provide, useValue }));
    const exports = parts.map(([provide]) => provide);
    return { module: TestGatewayModule, global: true, imports: [gateway], providers, exports };
  }
}
