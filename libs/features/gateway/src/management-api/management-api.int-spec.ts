import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { Secret } from '@answerline/config';
import { KnowledgeIndex, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { HealthRegistry } from '@answerline/lifecycle';
import { createLogger, LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database, migrateDatabase, newId } from '@answerline/persistence';
import { generateApiKey, hashApiKey, SecretBox } from '@answerline/secrets';
import {
  captureLogs,
  createTestDatabase,
  eventually,
  startTestNats,
  tempDir,
  type TestDatabase,
  type TestNats,
} from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type DynamicModule, type InjectionToken, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import * as z from 'zod';
import { createGatewayAdapter, openGatewayDoors } from '../gateway-http.ts';
import { type GatewayOptions } from '../gateway-options.ts';
import { GatewayModule } from '../gateway.module.ts';

const operatorKey = randomBytes(24).toString('hex');
const accessToken = `EAA${randomBytes(20).toString('hex')}`;
const appSecret = randomBytes(16).toString('hex');
const logs = captureLogs();
const secretBox = new SecretBox([{ id: 'k1', key: randomBytes(32) }]);
const options: GatewayOptions = {
  publicUrl: 'https://answerline.example.com',
  operatorKey: new Secret(operatorKey),
  defaultPlan: 'scale',
  upgradeUrl: 'https://example.com/plans',
  requireAppSecret: false,
};

@Module({})
class SpecModule {
  static forRoot(providers: { provide: InjectionToken; useValue: unknown }[]): DynamicModule {
    const imports = [GatewayModule.forRoot(options)];
    return { module: SpecModule, global: true, imports, providers, exports: providers.map(({ provide }) => provide) };
  }
}

let testDatabase: TestDatabase;
let nats: TestNats;
let database: Database;
let bus: MessageBus;
let index: LanceKnowledgeIndex;
let app: NestFastifyApplication;
let origin: string;
let openApi: OpenApi;

/** Every route of the server. */
const served: string[] = [];

interface OpenApi {
  readonly openapi: string;
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema: object }> }> }>
  >;
}

beforeAll(async () => {
  [testDatabase, nats] = await Promise.all([createTestDatabase(migrateDatabase), startTestNats()]);
  const logger = createLogger({ app: 'spec', level: 'trace', destination: logs.stream });
  database = await Database.connect({ url: testDatabase.url, applicationName: 'api-spec' });
  bus = await MessageBus.connect({ url: nats.url, token: nats.token, name: 'api-spec', logger, profile: 'standalone' });
  await bus.reconcile();
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  const module = SpecModule.forRoot([
    { provide: Database, useValue: database },
    { provide: MessageBus, useValue: bus },
    { provide: KnowledgeIndex, useValue: index },
    { provide: HealthRegistry, useValue: new HealthRegistry() },
    { provide: SecretBox, useValue: secretBox },
    { provide: LOGGER, useValue: logger },
  ]);
  const adapter = createGatewayAdapter();
  adapter.getInstance().addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) served.push(`${one} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
  });
  app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    logger: nestLogger(logger),
    bodyParser: false,
    abortOnError: false,
  });
  await openGatewayDoors(app);
  await app.listen(0, '127.0.0.1');
  origin = await app.getUrl();
  openApi = (await (await fetch(`${origin}/api/openapi.json`)).json()) as OpenApi;
});

afterAll(async () => {
  await app.close();
  await Promise.all([bus.close(), database.close(), index.close()]);
  await Promise.all([nats.stop(), testDatabase.drop()]);
});

/** What the tests look into; `call` has held the answer against its schema. */
interface Body {
  readonly id: string;
  readonly code: string;
  readonly items: Body[];
  readonly nextCursor: string | null;
  readonly errors: { readonly path: string }[];
  readonly callbackUrl: string;
  readonly verifyToken: string;
  readonly apiKey: string;
  readonly workspace: Body;
  readonly [field: string]: unknown;
}

interface Answer {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

const idsOf = ({ body }: Answer): string[] => body.items.map(({ id }) => id);
const pathsOf = ({ body }: Pick<Answer, 'body'>): string[] => body.errors.map(({ path }) => path).toSorted();

/** Calls the API, and holds every answer of a documented route against its own schema. */
async function call(
  method: string,
  path: string,
  { key, body }: { key?: string | undefined; body?: unknown } = {},
): Promise<Answer> {
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
  return { status: response.status, body: answer as Body, headers: response.headers };
}

function holdAgainstSchema(method: string, path: string, response: Response, answer: unknown): void {
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
}

/** Routes whose answers were held against their schema. */
const checked = new Set<string>();

const apiKeys: string[] = [];

async function createWorkspace(plan = 'scale'): Promise<{ id: string; key: string }> {
  const { status, body } = await call('POST', '/workspaces', { key: operatorKey, body: { name: 'Bakery', plan } });
  expect(status).toBe(201);
  apiKeys.push(body.apiKey);
  return { id: body.workspace.id, key: body.apiKey };
}

const createChatbot = async (key: string): Promise<string> =>
  (await call('POST', '/chatbots', { key, body: { name: 'Assistant' } })).body.id;

let lastNumber = 100_000_000_000_000;
const aConnection = (extra: object = {}) => ({
  appId: '123456789012345',
  phoneNumberId: String(++lastNumber),
  wabaId: '987654321098765',
  accessToken,
  appSecret,
  ...extra,
});

interface Furnished {
  readonly id: string;
  readonly key: string;
  readonly chatbotId: string;
  readonly sourceId: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly phoneNumberId: string;
}

/** A workspace with one of everything. */
async function furnish(): Promise<Furnished> {
  const { id, key } = await createWorkspace();
  const chatbotId = await createChatbot(key);
  const source = { type: 'text', title: 'Hours', text: 'We open at seven.' };
  const sourceId = (await call('POST', `/chatbots/${chatbotId}/sources`, { key, body: source })).body.id;
  const connection = aConnection();
  const channelId = (await call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body: connection })).body.id;
  const conversationId = await addConversation(id, channelId);
  return { id, key, chatbotId, sourceId, channelId, conversationId, phoneNumberId: connection.phoneNumberId };
}

async function addConversation(
  workspaceId: string,
  channelId: string,
  lastInboundAt: string | null = '2026-11-20T10:00:00Z',
) {
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
}

const countRows = async (): Promise<unknown> =>
  database.query(
    `SELECT (SELECT count(*) FROM chatbots) AS chatbots, (SELECT count(*) FROM webhook_keys) AS keys,
            (SELECT md5(string_agg(c::text, '' ORDER BY id)) FROM channels c) AS channels,
            (SELECT md5(string_agg(s::text, '' ORDER BY id)) FROM sources s) AS sources`,
  );

describe('who may do what', () => {
  it('opens workspace routes to an API key and operator routes to the operator, and neither to the other', async () => {
    const { id, key } = await createWorkspace();
    expect((await call('GET', `/workspaces/${id}`, { key })).body).toMatchObject({
      id,
      plan: 'scale',
      timeZone: 'UTC',
    });
    const byWorkspace = await call('POST', '/workspaces', { key, body: { name: 'Mine' } });
    expect([byWorkspace.status, byWorkspace.body.code]).toEqual([403, 'operator_key_required']);
    const byOperator = await call('GET', `/workspaces/${id}`, { key: operatorKey });
    expect([byOperator.status, byOperator.body.code]).toEqual([403, 'workspace_key_required']);
  });

  it.each<[string, string | undefined, string]>([
    ['no key', undefined, 'credentials_missing'],
    ['a key that nobody has', generateApiKey(), 'credentials_invalid'],
    ['a wrong operator key', 'x'.repeat(48), 'credentials_invalid'],
    ['an empty key', '', 'credentials_missing'],
  ])('answers 401 for %s, on every kind of route', async (_what, key, code) => {
    for (const [method, path] of [
      ['GET', '/chatbots'],
      ['POST', '/workspaces'],
      ['GET', `/sources/${randomUUID()}`],
    ] as const) {
      const answer = await call(method, path, { key, ...(method === 'POST' && { body: {} }) });
      expect([answer.status, answer.body.code]).toEqual([401, code]);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it('refuses an expired key, and a revoked one within 5 s', async () => {
    const { key } = await createWorkspace();
    const hash = Buffer.from(hashApiKey(key), 'hex');
    await database.query(`UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE key_hash = $1`, [hash]);
    expect((await call('GET', '/chatbots', { key })).status).toBe(401);

    const { key: other } = await createWorkspace();
    expect((await call('GET', '/chatbots', { key: other })).status).toBe(200);
    await database.query(`UPDATE api_keys SET revoked_at = now() WHERE key_hash = $1`, [
      Buffer.from(hashApiKey(other), 'hex'),
    ]);
    await eventually(async () => (await call('GET', '/chatbots', { key: other })).status === 401, {
      what: 'the key is refused',
      timeoutMs: 5_000,
    });
  });

  it('asks for the scope', async () => {
    const { key } = await createWorkspace();
    await database.query(`UPDATE api_keys SET scopes = '{read}' WHERE key_hash = $1`, [
      Buffer.from(hashApiKey(key), 'hex'),
    ]);
    expect((await call('GET', '/chatbots', { key })).status).toBe(200);
    const answer = await call('POST', '/chatbots', { key, body: { name: 'Assistant' } });
    expect([answer.status, answer.body.code, answer.body.requiredScope]).toEqual([403, 'scope_missing', 'write']);
  });

  it('shows nothing of one workspace to another, and lets it change nothing', async () => {
    const [mine, theirs] = [await furnish(), await furnish()];
    const before = await countRows();
    const connection = { ...aConnection(), phoneNumberId: theirs.phoneNumberId };
    const source = { type: 'text', title: 'Mine', text: 'Mine.' };
    const routes: [string, string, unknown?][] = [
      ['GET', `/workspaces/${theirs.id}`],
      ['GET', `/chatbots/${theirs.chatbotId}`],
      ['GET', `/chatbots/${theirs.chatbotId}/sources`],
      ['POST', `/chatbots/${theirs.chatbotId}/sources`, source],
      ['GET', `/chatbots/${theirs.chatbotId}/search?q=seven`],
      ['PUT', `/chatbots/${theirs.chatbotId}/channels/whatsapp`, connection],
      ['GET', `/chatbots/${theirs.chatbotId}/channels/whatsapp`],
      ['GET', `/sources/${theirs.sourceId}`],
      ['DELETE', `/sources/${theirs.sourceId}`],
      ['GET', `/channels/${theirs.channelId}`],
      ['GET', `/conversations/${theirs.conversationId}`],
      ['GET', `/conversations/${theirs.conversationId}/messages`],
    ];
    for (const [method, path, body] of routes) {
      const answer = await call(method, path, { key: mine.key, ...(body !== undefined && { body }) });
      expect([path, answer.status, answer.body.code]).toEqual([path, 404, 'not_found']);
    }
    const inUse = await call('PUT', `/chatbots/${mine.chatbotId}/channels/whatsapp`, {
      key: mine.key,
      body: connection,
    });
    expect([inUse.status, inUse.body.code]).toEqual([409, 'phone_number_in_use']);
    expect(JSON.stringify(inUse.body)).not.toContain(theirs.id);
    const byChannel = await call('GET', `/conversations?channelId=${theirs.channelId}`, { key: mine.key });
    expect(byChannel.body.items).toEqual([]);
    for (const [list, own] of [
      ['/chatbots', mine.chatbotId],
      ['/conversations', mine.conversationId],
    ] as const) {
      expect(idsOf(await call('GET', list, { key: mine.key }))).toEqual([own]);
    }
    expect(await countRows()).toEqual(before);
    // Every route with an id in its path is in the list above.
    const withId = Object.entries(openApi.paths).flatMap(([path, methods]) =>
      path.includes('{') ? Object.keys(methods).map((method) => `${method} ${path.replaceAll(/\{\w+\}/g, '*')}`) : [],
    );
    const tried = routes.map(
      ([method, path]) =>
        `${method.toLowerCase()} /api/v1${(path.split('?')[0] ?? '').replaceAll(/[0-9a-f-]{36}/g, '*')}`,
    );
    expect(tried.toSorted()).toEqual(withId.toSorted());
  });
});

describe('what is refused', () => {
  it('names the fields of a body, a query and unknown fields', async () => {
    const { key } = await createWorkspace();
    const bad = await call('POST', '/chatbots', { key, body: { name: ' ', quietMs: -1, colour: 'red' } });
    expect(bad.status).toBe(422);
    expect(bad.body).toMatchObject({
      type: 'about:blank',
      title: 'Unprocessable Content',
      status: 422,
      code: 'validation_failed',
    });
    expect(pathsOf(bad)).toEqual(['', 'name', 'quietMs']);
    const query = await call('GET', '/chatbots?limit=0&cursor=x', { key });
    expect(pathsOf(query)).toEqual(['cursor', 'limit']);
    expect((await call('GET', '/chatbots?limit=101', { key })).status).toBe(422);
    expect((await call('POST', '/chatbots', { key })).status).toBe(422);
    const nul = await call('POST', '/chatbots', { key, body: { name: 'a\u0000b' } });
    expect([nul.status, ...pathsOf(nul)]).toEqual([422, 'name']);
  });

  it.each<[string, number, string, RequestInit]>([
    ['malformed JSON', 400, 'malformed_request', { body: '{"name":', headers: { 'content-type': 'application/json' } }],
    [
      'an empty body that says it is JSON',
      400,
      'malformed_request',
      { headers: { 'content-type': 'application/json' } },
    ],
    [
      'a poisoned body',
      400,
      'malformed_request',
      { body: '{"__proto__":{}}', headers: { 'content-type': 'application/json' } },
    ],
    [
      'another type',
      415,
      'unsupported_media_type',
      { body: 'name=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
    ],
    ['plain text', 415, 'unsupported_media_type', { body: 'x', headers: { 'content-type': 'text/plain' } }],
    [
      'a body over 2 MB',
      413,
      'body_too_large',
      { body: JSON.stringify({ name: 'x'.repeat(2 * 1024 * 1024) }), headers: { 'content-type': 'application/json' } },
    ],
  ])('answers %s with %i', async (_what, status, code, init) => {
    const { key } = await createWorkspace();
    const response = await fetch(`${origin}/api/v1/chatbots`, {
      method: 'POST',
      ...init,
      headers: { ...init.headers, authorization: `Bearer ${key}` },
    });
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(await response.json()).toMatchObject({ status, code });
    expect(response.status).toBe(status);
  });

  it.each([
    '/api/v1/nothing',
    '/api/v1/chatbots/x/y/z',
    '/',
    `/webhooks/whatsapp/${'k'.repeat(43)}/more`,
    `/webhooks/whatsapp/${'k'.repeat(600)}`,
    '/%E0%A4%A',
  ])('answers %s with a problem that quotes nothing', async (path) => {
    const response = await fetch(`${origin}${path}`, { method: 'POST' });
    expect([400, 404, 414]).toContain(response.status);
    const text = await response.text();
    expect(text).not.toContain('kkkk');
    expect(JSON.parse(text)).toMatchObject({ status: response.status });
  });

  it('answers 404 for an id that cannot be one', async () => {
    const { key } = await createWorkspace();
    for (const path of ['/chatbots/1', '/sources/not-an-id', "/conversations/'--/messages"]) {
      expect((await call('GET', path, { key })).body.code).toBe('not_found');
    }
  });

  it('explains a fault of ours to the log and not to the client', async () => {
    const { key } = await createWorkspace();
    expect((await call('GET', '/webhook-log', { key })).status).toBe(200);
    await database.query('ALTER TABLE webhook_log RENAME TO webhook_log_away');
    const answer = await call('GET', '/webhook-log', { key }).finally(() =>
      database.query('ALTER TABLE webhook_log_away RENAME TO webhook_log'),
    );
    expect(answer.status).toBe(500);
    expect(answer.body).toEqual({
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      code: 'internal_error',
      detail: 'Something went wrong on our side.',
      correlationId: expect.any(String),
    });
    expect(logs.lines().filter(({ correlationId }) => correlationId === answer.body.correlationId)).toHaveLength(1);
  });
});

describe('chatbots and sources', () => {
  it('creates, lists in pages and reads chatbots', async () => {
    const { key } = await createWorkspace();
    const created = await call('POST', '/chatbots', { key, body: { name: ' Assistant ', language: 'es', quietMs: 0 } });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      name: 'Assistant',
      language: 'es',
      quietMs: 0,
      quietMaxMs: 6_000,
      aiEnabled: true,
    });
    const second = await createChatbot(key);
    const first = await call('GET', '/chatbots?limit=1', { key });
    expect(idsOf(first)).toEqual([second]);
    const next = await call('GET', `/chatbots?limit=1&cursor=${first.body.nextCursor}`, { key });
    expect(next.body).toEqual({ items: [created.body], nextCursor: null });
    expect((await call('GET', `/chatbots/${created.body.id}`, { key })).body).toEqual(created.body);
  });

  it('stores a source as due and rings, and marks it for deletion the same way', async () => {
    const rings: string[] = [];
    const stop = bus.onRing('source', (id) => void rings.push(id));
    const { key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const body = {
      type: 'markdown',
      title: 'Hours',
      text: '# Hours\n\nWe open at seven. 🥐',
      url: 'https://example.com/hours',
    };
    const added = await call('POST', `/chatbots/${chatbotId}/sources`, { key, body });
    expect(added.status).toBe(201);
    expect(added.body).toMatchObject({ chatbotId, state: 'pending', passageCount: 0, url: body.url, errorCode: null });
    const due = () =>
      database.query(`SELECT state, content, due_at <= now() AS due FROM sources WHERE id = $1`, [added.body.id]);
    expect(await due()).toEqual([{ state: 'pending', content: body.text, due: true }]);
    expect((await call('GET', `/chatbots/${chatbotId}/sources`, { key })).body.items).toEqual([added.body]);

    await database.query(`UPDATE sources SET state = 'ready', due_at = NULL WHERE id = $1`, [added.body.id]);
    const deleted = await call('DELETE', `/sources/${added.body.id}`, { key });
    expect([deleted.status, deleted.body.state]).toEqual([202, 'deleting']);
    expect(await due()).toEqual([{ state: 'deleting', content: body.text, due: true }]);
    expect((await call('GET', `/sources/${added.body.id}`, { key })).body.state).toBe('deleting');
    await eventually(() => expect(rings).toEqual([added.body.id, added.body.id]), { what: 'both rings' });
    stop();
  });

  it('finds passages, and nothing of a source that is being deleted', async () => {
    const { id: workspaceId, key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const path = `/chatbots/${chatbotId}/search?q=croissant`;
    expect((await call('GET', path, { key })).body).toEqual({ mode: 'lexical', items: [] });

    const passages: { passageId: string; sourceId: string; title: string; headingPath: string[]; text: string }[] = [];
    for (const text of ['A croissant costs two coins.', 'Every croissant is a croissant with butter.']) {
      const source = { type: 'text', title: 'Prices', text };
      const sourceId = (await call('POST', `/chatbots/${chatbotId}/sources`, { key, body: source })).body.id;
      const [documentId, passageId] = [newId(), newId()];
      await database.query(
        `INSERT INTO documents (id, workspace_id, source_id, title, sha256) VALUES ($1, $2, $3, 'Prices', '')`,
        [documentId, workspaceId, sourceId],
      );
      await database.query(
        `INSERT INTO passages (id, workspace_id, chatbot_id, source_id, document_id, ordinal, title, heading_path, text, sha256)
         VALUES ($1, $2, $3, $4, $5, 0, 'Prices', '{Menu}', $6, '')`,
        [passageId, workspaceId, chatbotId, sourceId, documentId, text],
      );
      passages.push({ passageId, sourceId, title: 'Prices', headingPath: ['Menu'], text });
    }
    await index.addPassages(index.versionFor(chatbotId), passages);
    const found = await call('GET', path, { key });
    expect(found.body.items.map(({ rank }) => rank)).toEqual([1, 2]);
    expect(found.body.items).toEqual(
      expect.arrayContaining(passages.map((passage) => expect.objectContaining(passage))),
    );
    expect((await call('GET', `${path}&limit=1`, { key })).body.items).toHaveLength(1);

    await call('DELETE', `/sources/${passages[0]?.sourceId}`, { key });
    expect((await call('GET', path, { key })).body.items).toEqual([
      expect.objectContaining({ ...passages[1], rank: 1 }),
    ]);
    expect((await call('GET', `/chatbots/${chatbotId}/search?q=`, { key })).status).toBe(422);
  });
});

describe('connecting WhatsApp', () => {
  const connect = (key: string, chatbotId: string, body: object) =>
    call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });
  const pathOf = (callbackUrl: string): string => callbackUrl.replace(options.publicUrl, '');

  it('gives a callback that takes signed deliveries and answers the verification', async () => {
    const { key } = await createWorkspace();
    const { status, body } = await connect(
      key,
      await createChatbot(key),
      aConnection({ displayPhoneNumber: '+1 555 0100' }),
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ state: 'live', answers: true, unsigned: false, sendHoldCode: null, type: 'whatsapp' });
    expect(body.callbackUrl).toMatch(/^https:\/\/answerline\.example\.com\/webhooks\/whatsapp\/[\w-]{43}$/);
    const callback = `${origin}${pathOf(body.callbackUrl)}`;
    const verification = await fetch(
      `${callback}?hub.mode=subscribe&hub.challenge=42&hub.verify_token=${body.verifyToken}`,
    );
    expect(await verification.text()).toBe('42');
    // Bytes that a JSON parser would change, through the whole application.
    const delivery = String.raw`{ "entry":[], "object":"caf\u00e9", "id":"${randomUUID()}" }`;
    const signature = `sha256=${createHmac('sha256', appSecret).update(delivery).digest('hex')}`;
    const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
    const accepted = await fetch(callback, { method: 'POST', body: delivery, headers });
    expect([accepted.status, await accepted.text()]).toEqual([200, '']);
    const refused = await fetch(callback, { method: 'POST', body: `${delivery} `, headers });
    expect([refused.status, await refused.text()]).toEqual([401, '']);
    await eventually(
      async () => {
        const log = await call('GET', '/webhook-log', { key });
        expect(log.body.items).toEqual([
          expect.objectContaining({ verdict: 'bad_signature', count: 1, bodySha256: null }),
        ]);
      },
      { what: 'the refusal is in the log' },
    );
  });

  it('stores secrets as ciphertext that opens in its place, and shows them nowhere', async () => {
    const { id: workspaceId, key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const { body } = await connect(key, chatbotId, aConnection());
    const [row] = await database.query<{ token: string; secret: string; key_id: string; all: string }>(
      `SELECT c.access_token_ciphertext AS token, k.app_secret_ciphertext AS secret, k.id AS key_id, c::text || k::text AS all
       FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1`,
      [body.id],
    );
    expect(row?.all).not.toContain(accessToken);
    expect(row?.all).not.toContain(appSecret);
    const open = (ciphertext: string, table: string, rowId: string, column: string) =>
      secretBox.open(ciphertext, { workspaceId, table, rowId, column });
    expect(open(row?.token ?? '', 'channels', body.id, 'access_token_ciphertext')).toBe(accessToken);
    expect(open(row?.secret ?? '', 'webhook_keys', row?.key_id ?? '', 'app_secret_ciphertext')).toBe(appSecret);
    const shown = [
      body,
      (await call('GET', `/channels/${body.id}`, { key })).body,
      (await call('GET', `/chatbots/${chatbotId}/channels/whatsapp`, { key })).body,
    ];
    for (const secret of [accessToken, appSecret]) expect(JSON.stringify(shown)).not.toContain(secret);
    expect(JSON.stringify(shown.slice(1))).not.toContain(body.verifyToken);
  });

  it('gives numbers of one app one callback, of another app another, and keeps a secret that is not sent again', async () => {
    const { key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const first = await connect(key, chatbotId, aConnection());
    const { appSecret: _left, ...withoutSecret } = aConnection();
    const second = await connect(key, chatbotId, withoutSecret);
    const other = await connect(key, chatbotId, { ...withoutSecret, appId: '55', phoneNumberId: String(++lastNumber) });
    expect(second.body).toMatchObject({
      callbackUrl: first.body.callbackUrl,
      verifyToken: first.body.verifyToken,
      unsigned: false,
    });
    expect(other.body.callbackUrl).not.toBe(first.body.callbackUrl);
    expect(other.body.unsigned).toBe(true);
    expect((await call('GET', `/chatbots/${chatbotId}/channels/whatsapp`, { key })).body.items).toHaveLength(3);
  });

  it('makes one key and one channel of calls that come together', async () => {
    const { id, key } = await createWorkspace();
    const chatbotId = await createChatbot(key);
    const connection = aConnection();
    const answers = await Promise.all(Array.from({ length: 6 }, () => connect(key, chatbotId, connection)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => `${body.id} ${body.callbackUrl}`)).size).toBe(1);
    expect(await database.query('SELECT id FROM channels WHERE workspace_id = $1', [id])).toHaveLength(1);
  });

  it('ends a hold and makes due what waited for it, and only that', async () => {
    const rings: string[] = [];
    const stop = bus.onRing('send', (payload) => void rings.push(payload));
    const { id: workspaceId, key, chatbotId, channelId, conversationId, phoneNumberId } = await furnish();
    const replyId = newId();
    await database.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text) VALUES ($1, $2, $3, $4, 'ai', 'answer', '')`,
      [replyId, workspaceId, channelId, conversationId],
    );
    const phases = ['retry', 'retry', 'pending', 'accepted'];
    for (const [part, phase] of phases.entries()) {
      await database.query(
        `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, 'ai', 1, '', $7, $8)`,
        [newId(), workspaceId, channelId, conversationId, replyId, part, phase, part === 1 ? '2030-01-01' : null],
      );
    }
    await database.query(`UPDATE channels SET send_hold_code = 'token_dead', state = 'broken' WHERE id = $1`, [
      channelId,
    ]);
    const answer = await connect(key, chatbotId, aConnection({ phoneNumberId }));
    expect(answer.body).toMatchObject({ id: channelId, sendHoldCode: null, state: 'live' });
    const due = await database.query(
      `SELECT part, due_at <= now() AS due FROM sends WHERE channel_id = $1 ORDER BY part`,
      [channelId],
    );
    expect(due).toEqual([
      { part: 0, due: true },
      { part: 1, due: false },
      { part: 2, due: null },
      { part: 3, due: null },
    ]);
    await eventually(() => rings.length > 0, { what: 'the ring' });
    stop();
  });

  it('asks for a plan that has WhatsApp', async () => {
    const { key } = await createWorkspace('starter');
    const { status, body } = await connect(key, await createChatbot(key), aConnection());
    expect(status).toBe(402);
    expect(body).toMatchObject({
      code: 'plan_upgrade_required',
      currentPlan: 'starter',
      requiredPlans: ['growth', 'scale', 'enterprise'],
      upgradeUrl: 'https://example.com/plans',
    });
  });

  it('refuses what cannot be a connection and repeats no secret', async () => {
    const { key } = await createWorkspace();
    const { status, body } = await connect(
      key,
      await createChatbot(key),
      aConnection({ appSecret: 'not hex at all!', phoneNumberId: '+1' }),
    );
    expect(status).toBe(422);
    expect(pathsOf({ body })).toEqual(['appSecret', 'phoneNumberId']);
    expect(JSON.stringify(body)).not.toContain('not hex');
  });
});

describe('reading conversations', () => {
  it('pages through conversations by the time of the last message, those without one first', async () => {
    const { id, key, channelId, conversationId } = await furnish();
    const later = await addConversation(id, channelId, '2026-11-21T10:00:00.123456Z');
    const sameTime = await addConversation(id, channelId, '2026-11-21T10:00:00.123456Z');
    const [silent, silentToo] = [
      await addConversation(id, channelId, null),
      await addConversation(id, channelId, null),
    ];
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body }: Answer = await call(
        'GET',
        `/conversations?channelId=${channelId}&limit=2${cursor && `&cursor=${cursor}`}`,
        { key },
      );
      seen.push(...body.items.map(({ id }) => id));
      cursor = body.nextCursor;
    }
    expect(seen).toEqual([silentToo, silent, sameTime, later, conversationId]);
    expect((await call('GET', `/conversations/${later}`, { key })).body).toMatchObject({
      id: later,
      contactName: 'Customer A',
      owner: 'ai',
      waiting: 0,
      lastInboundAt: '2026-11-21T10:00:00.123Z',
    });
    for (const cursor of ['x', randomUUID(), Buffer.from('[1]').toString('base64url')]) {
      expect((await call('GET', `/conversations?cursor=${cursor}`, { key })).status).toBe(422);
    }
  });

  it('shows both sides in one list that pages stably while more is said', async () => {
    const { id: workspaceId, key, channelId, conversationId } = await furnish();
    let number = 0;
    const message = async (sentAt: string, place = 0): Promise<string> => {
      const id = newId();
      await database.query(
        `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, number, direction, author, type, text,
                               provider_message_id, context_message_id, sent_at, place, received_at, raw)
         VALUES ($1, $2, $3, $4, $5, 'inbound', 'contact', 'text', 'Hello', $6, 'wamid.quoted', $7, $8, $7, '{}')`,
        [id, workspaceId, channelId, conversationId, ++number, `wamid.${id}`, sentAt, place],
      );
      return id;
    };
    const turnId = newId();
    let position = 0;
    const reply = async (createdAt: string, parts: [phase: string, delivery: string | null][]): Promise<string> => {
      const id = newId();
      await database.query(
        `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text, quote_message_id, created_at)
         VALUES ($1, $2, $3, $4, $5, 'ai', 'answer', 'We open at seven.', 'wamid.asked', $6)`,
        [id, workspaceId, channelId, conversationId, parts.length > 1 ? turnId : null, createdAt],
      );
      for (const [part, [phase, delivery]] of parts.entries()) {
        const sendId = newId();
        await database.query(
          `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, delivery)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'ai', 1, '', $8, $9)`,
          [sendId, workspaceId, channelId, conversationId, id, part, ++position, phase, delivery],
        );
        await database.query(
          `INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at, provider_message_id)
           VALUES ($1, $2, $3, $4, 1, 'accepted', now(), $5)`,
          [newId(), workspaceId, channelId, sendId, `wamid.out${part}`],
        );
      }
      return id;
    };
    await database.query(
      `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch) VALUES ($1, $2, $3, 1, 2, 'replied', 1)`,
      [turnId, workspaceId, conversationId],
    );
    const asked = await message('2026-11-20T10:00:00Z', 0);
    const askedMore = await message('2026-11-20T10:00:00Z', 1);
    const answered = await reply('2026-11-20T10:00:02.000001Z', [
      ['accepted', 'read'],
      ['accepted', 'delivered'],
    ]);
    const answeredToo = await reply('2026-11-20T10:00:02.000002Z', [['pending', null]]);
    const thanked = await message('2026-11-20T10:00:02.000002Z');
    const expected = [answeredToo, thanked, answered, askedMore, asked];

    const seen: Record<string, unknown>[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body }: Answer = await call(
        'GET',
        `/conversations/${conversationId}/messages?limit=1${cursor && `&cursor=${cursor}`}`,
        { key },
      );
      expect(body.items).toHaveLength(1);
      seen.push(...body.items);
      cursor = body.nextCursor;
      // More is said while someone reads: no page changes.
      await message('2026-11-20T11:00:00Z');
    }
    expect(seen.map(({ id }) => id)).toEqual(expected);
    expect(seen[4]).toEqual({
      id: asked,
      conversationId,
      direction: 'inbound',
      author: 'contact',
      kind: null,
      type: 'text',
      text: 'Hello',
      providerMessageId: `wamid.${asked}`,
      status: null,
      failure: null,
      sentAt: '2026-11-20T10:00:00.000Z',
      receivedAt: '2026-11-20T10:00:00.000Z',
      editedAt: null,
      revokedAt: null,
      turnId,
      replyToId: 'wamid.quoted',
    });
    expect(seen[2]).toMatchObject({
      direction: 'outbound',
      author: 'ai',
      kind: 'answer',
      type: 'text',
      text: 'We open at seven.',
      providerMessageId: 'wamid.out0',
      status: 'delivered',
      turnId,
      replyToId: 'wamid.asked',
    });
    expect(seen[0]).toMatchObject({ status: 'pending', turnId: null });
    expect(seen[1]).toMatchObject({ turnId: null });
  });
});

describe('the webhook log', () => {
  it('lists what ingest wrote, and finds a body by its hash', async () => {
    const { id: workspaceId, key, channelId } = await furnish();
    const sha256 = 'a'.repeat(64);
    const ids = [newId(), newId()];
    for (const [place, id] of ids.entries()) {
      await database.query(
        `INSERT INTO webhook_log (id, workspace_id, webhook_key_id, verdict, body_sha256, stream_sequence, found, stored, repeated)
         SELECT $1, $2, webhook_key_id, 'stored', $3, 1, 2, 1, 1 FROM channels WHERE id = $4`,
        [id, workspaceId, place === 0 ? sha256 : 'b'.repeat(64), channelId],
      );
    }
    const first = await call('GET', '/webhook-log?limit=1', { key });
    expect(first.body).toMatchObject({ items: [{ id: ids[1], found: 2, stored: 1, repeated: 1 }], nextCursor: ids[1] });
    expect((await call('GET', `/webhook-log?cursor=${ids[1]}`, { key })).body.items).toMatchObject([{ id: ids[0] }]);
    expect((await call('GET', `/webhook-log?sha256=${sha256}`, { key })).body.items).toMatchObject([
      { id: ids[0], bodySha256: sha256 },
    ]);
    expect((await call('GET', '/webhook-log?sha256=x', { key })).status).toBe(422);
  });
});

describe('the description of the API', () => {
  it('is OpenAPI 3.1 and has every route that the application serves', () => {
    expect(openApi.openapi).toBe('3.1.0');
    const described = Object.entries(openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const api = served.filter((route) => route.includes(' /api/v1') && !route.startsWith('HEAD '));
    expect(api.length).toBeGreaterThan(15);
    expect(described.toSorted()).toEqual(api.toSorted());
  });

  it('held real answers of every route against their schemas', () => {
    const routes = Object.entries(openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path} ok`),
    );
    expect([...checked].filter((route) => route.endsWith(' ok')).toSorted()).toEqual(routes.toSorted());
  });

  it('has a page that loads nothing from elsewhere', async () => {
    const response = await fetch(`${origin}/api/docs`);
    const page = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
    const loaded = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url ?? '');
    expect(loaded.length).toBeGreaterThan(0);
    for (const url of loaded) {
      expect(url).not.toMatch(/^(https?:)?\/\//);
      expect([url, (await fetch(new URL(url, `${origin}/api/docs`))).status]).toEqual([url, 200]);
    }
    // Scripts in the page itself would need a hole in the policy.
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
  });
});

describe('the rest of the server', () => {
  it('tells health without a key', async () => {
    expect((await fetch(`${origin}/health/live`)).status).toBe(200);
    expect((await fetch(`${origin}/health/ready`)).status).toBe(200);
  });

  it('sends safe headers and lets no other site read', async () => {
    const response = await fetch(`${origin}/api/v1/chatbots`, { headers: { origin: 'https://elsewhere.example' } });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'strict-transport-security': expect.any(String),
    });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('x-powered-by')).toBeNull();
  });

  it('logs no secret, key or name', () => {
    const text = logs.text();
    expect(text).not.toBe('');
    for (const secret of [operatorKey, accessToken, appSecret, ...apiKeys, 'Customer A', 'We open at seven']) {
      expect(text).not.toContain(secret);
    }
  });
});
