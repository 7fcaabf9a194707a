import { createHmac, randomUUID } from 'node:crypto';
import { Secret } from '@answerline/config';
import { eventSubject } from '@answerline/contracts';
import { HealthRegistry } from '@answerline/lifecycle';
import { createLogger, LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { applySendFacts, Database } from '@answerline/persistence';
import { RagClient } from '@answerline/rag-client';
import { SecretBox } from '@answerline/secrets';
import {
  type ApiAnswer,
  eventually,
  seedReply,
  type SeededConversation,
  startTestGateway,
  type TestGateway,
} from '@answerline/testing';
import { GraphManagement } from '@answerline/whatsapp';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Test } from '@nestjs/testing';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { createGatewayAdapter, openGatewayDoors } from '../gateway-http.ts';
import { GatewayModule } from '../gateway.module.ts';
import { WebhookKeys } from '../receive-webhook/webhook-keys.ts';

type Connection = ReturnType<TestGateway['aConnection']>;

interface Connected {
  readonly workspaceId: string;
  readonly key: string;
  readonly chatbotId: string;
  readonly channelId: string;
  readonly connection: Connection;
  readonly callbackUrl: string;
  readonly verifyToken: string;
}

let api: TestGateway;
let second: { readonly app: NestFastifyApplication; readonly origin: string; readonly keys: WebhookKeys };
const rag = new RagClient({ url: 'grpc://127.0.0.1:1', token: 'of-the-spec' });

beforeAll(async () => {
  api = await startTestGateway();
  second = await startSecondGateway();
});
afterEach(() => api.sandbox.faults({}));
afterAll(async () => {
  await second.app.close();
  rag.close();
  await api.stop();
});

/** Another process of the gateway: what it remembers is its own. */
async function startSecondGateway(): Promise<typeof second> {
  const parts: [unknown, unknown][] = [
    [Database, api.database],
    [MessageBus, api.bus],
    [RagClient, rag],
    [HealthRegistry, new HealthRegistry()],
    [SecretBox, api.secretBox],
    [GraphManagement, new GraphManagement({ baseUrl: api.sandbox.url, version: 'v26.0' })],
    [LOGGER, createLogger({ app: 'second', level: 'trace', destination: api.logs.stream })],
  ];
  const gateway = GatewayModule.forRoot({
    publicUrl: api.publicUrl,
    operatorKey: new Secret(api.operatorKey),
    defaultPlan: 'scale',
    upgradeUrl: undefined,
    requireAppSecret: false,
  });
  const providers = parts.map(([provide, useValue]) => ({ provide: provide as typeof Database, useValue }));
  const module = await Test.createTestingModule({
    imports: [
      { module: PartsOfSecond, global: true, providers, exports: providers.map(({ provide }) => provide) },
      gateway,
    ],
  }).compile();
  const app = module.createNestApplication<NestFastifyApplication>(createGatewayAdapter(), {
    bodyParser: false,
    logger: nestLogger(createLogger({ app: 'second', level: 'silent' })),
  });
  await openGatewayDoors(app);
  await app.listen(0, '127.0.0.1');
  return { app, origin: await app.getUrl(), keys: app.get(WebhookKeys) };
}
class PartsOfSecond {}

const put = (key: string, chatbotId: string, body: object): Promise<ApiAnswer> =>
  api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });
const disconnect = ({ key, channelId }: Pick<Connected, 'key' | 'channelId'>): Promise<ApiAnswer> =>
  api.call('DELETE', `/channels/${channelId}`, { key });

async function aConnected(
  extra: object = {},
  owner?: Pick<Connected, 'workspaceId' | 'key' | 'chatbotId'>,
): Promise<Connected> {
  const { id: workspaceId, key } = owner ? { id: owner.workspaceId, key: owner.key } : await api.createWorkspace();
  const chatbotId = owner?.chatbotId ?? (await api.createChatbot(key));
  const connection = api.aConnection(extra);
  const { status, body } = await put(key, chatbotId, connection);
  expect({ status, code: body.code }).toEqual({ status: 200, code: undefined });
  const { id: channelId, callbackUrl, verifyToken } = body;
  return { workspaceId, key, chatbotId, channelId, connection, callbackUrl, verifyToken };
}

/** One more number of the same Meta app and account. */
async function aSecondNumber(first: Connected): Promise<Connected> {
  const { appId, wabaId, accessToken, appSecret } = first.connection;
  const { phoneNumberId } = api.aConnection();
  const known = {
    appId,
    wabaId,
    accessToken,
    appSecret,
    displayPhoneNumber: '+1 202 555 0101',
    verifiedName: 'Bakery',
  };
  await api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, known);
  return aConnected({ phoneNumberId, appId, wabaId, accessToken }, first);
}

const rowOf = async ({ channelId }: Connected) => {
  const [row] = await api.database.query<Record<string, unknown>>(
    `SELECT c.state, c.answers, c.access_token_ciphertext AS token, k.app_secret_ciphertext AS secret,
            k.verify_token_ciphertext AS verify, k.key_ciphertext AS key
     FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1`,
    [channelId],
  );
  return row;
};
/** All that Meta was asked, about whatever number. */
const callsOfMeta = async (): Promise<number> => {
  const journal = await api.sandbox.control<{ items: object[] }>('GET', '/journal?limit=10000');
  return journal.items.length;
};
const overrideOf = async ({ connection }: Connected): Promise<unknown> => {
  const { items } = await api.sandbox.control<{ items: { phoneNumberId: string; override: unknown }[] }>(
    'GET',
    '/numbers',
  );
  return items.find(({ phoneNumberId }) => phoneNumberId === connection.phoneNumberId)?.override;
};

function bodyFor({ connection: { phoneNumberId } }: Connected): string {
  const value = { messaging_product: 'whatsapp', metadata: { phone_number_id: phoneNumberId }, messages: [] };
  return JSON.stringify({
    object: 'whatsapp_business_account',
    id: randomUUID(),
    entry: [{ changes: [{ field: 'messages', value }] }],
  });
}
/** Posts to one of the gateways as Meta does, or with a wrong signature. */
async function deliver(origin: string, to: Connected, secret = to.connection.appSecret): Promise<number> {
  const body = bodyFor(to);
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  const response = await fetch(`${origin}${new URL(to.callbackUrl).pathname}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature },
  });
  return response.status;
}
const wrongSecret = 'f'.repeat(32);
const stored = async (): Promise<number> => (await api.bus.streamLag('WEBHOOKS', 'ingest')).pending;

describe('disconnecting a channel', () => {
  it('switches it off, erases its secrets, says so, and calls Meta no more', async () => {
    const connected = await aConnected();
    const conversationId = await api.addConversation(connected.workspaceId, connected.channelId);
    const { status, body } = await disconnect(connected);
    expect(status).toBe(200);
    expect(body).toEqual({
      channelId: connected.channelId,
      state: 'disconnected',
      supersededSends: 0,
      callsUnderWay: 0,
      callbackOverride: { outcome: 'none', code: null },
      erased: ['accessToken', 'appSecret', 'verifyToken'],
      action: null,
    });
    const calls = await callsOfMeta();
    expect(await rowOf(connected)).toEqual({
      state: 'disconnected',
      answers: false,
      token: null,
      secret: null,
      verify: null,
      key: expect.any(String),
    });
    expect(
      await api.database.query('SELECT 1 FROM channel_health WHERE channel_id = $1', [connected.channelId]),
    ).toEqual([]);
    const { key } = connected;
    const shown = await api.call('GET', `/channels/${connected.channelId}`, { key });
    expect(shown.body).toMatchObject({ state: 'disconnected', answers: false });
    expect(shown.body.callbackUrl).toBeUndefined();
    // History stays.
    expect((await api.call('GET', `/conversations/${conversationId}`, { key })).status).toBe(200);
    expect((await api.call('GET', `/conversations/${conversationId}/messages`, { key })).status).toBe(200);
    expect(await callsOfMeta()).toBe(calls);
  });

  it('does it again without harm, and not for others', async () => {
    const connected = await aConnected();
    await disconnect(connected);
    expect((await disconnect(connected)).body).toMatchObject({ state: 'disconnected', erased: [], supersededSends: 0 });
    const { key } = await api.createWorkspace();
    expect((await disconnect({ ...connected, key })).status).toBe(404);
  });

  it('first takes away the override that was set at Meta', async () => {
    const connection = api.aConnection();
    const foreign = { callbackUrl: 'https://other.example.com/hook', verifyToken: 'theirs', fields: ['messages'] };
    await api.sandbox.control('PUT', `/apps/${connection.appId}`, { subscription: { ...foreign, active: true } });
    const connected = await aConnected({ ...connection, callback: 'number_override' });
    expect(await overrideOf(connected)).toMatchObject({ callbackUrl: connected.callbackUrl });
    const { body } = await disconnect(connected);
    expect(body).toMatchObject({ callbackOverride: { outcome: 'removed', code: null }, action: null });
    expect(await overrideOf(connected)).toBeNull();
    const last = (await api.sandbox.managementCalls()).at(-1);
    expect(last).toMatchObject({ method: 'POST', phoneNumberId: connection.phoneNumberId });
    expect(last?.refusedWith ?? null).toBeNull();
    expect(await rowOf(connected)).toMatchObject({ token: null });
  });

  it('keeps no secret for an override that cannot be taken away, and says that it stays', async () => {
    const connection = api.aConnection();
    const foreign = { callbackUrl: 'https://other.example.com/hook', verifyToken: 'theirs', fields: ['messages'] };
    await api.sandbox.control('PUT', `/apps/${connection.appId}`, { subscription: { ...foreign, active: true } });
    const connected = await aConnected({ ...connection, callback: 'number_override' });
    await api.sandbox.faults({ kinds: ['management'], expiredToken: true });
    const { status, body } = await disconnect(connected);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      callbackOverride: { outcome: 'not_removed', code: 'token_expired' },
      action: expect.stringMatching(/webhook override/),
      erased: ['accessToken', 'appSecret', 'verifyToken'],
    });
    expect(await rowOf(connected)).toMatchObject({ token: null, secret: null });
    expect((await api.call('GET', `/channels/${connected.channelId}`, { key: connected.key })).body).toMatchObject({
      numberOverride: true,
    });
  });

  it('keeps App Secret and verify token while another number of the app is connected', async () => {
    const first = await aConnected();
    const other = await aSecondNumber(first);
    expect(other.callbackUrl).toBe(first.callbackUrl);
    expect((await disconnect(first)).body).toMatchObject({ erased: ['accessToken'] });
    expect(await rowOf(other)).toMatchObject({ token: expect.any(String), secret: expect.any(String) });
    expect(await deliver(api.origin, other)).toBe(200);
    expect(await deliver(api.origin, other, wrongSecret)).toBe(401);
    expect((await disconnect(other)).body).toMatchObject({ erased: ['accessToken', 'appSecret', 'verifyToken'] });
  });

  it('lets no gateway remember the secrets for 2 s, takes late deliveries and stores none', async () => {
    const connected = await aConnected();
    for (const origin of [api.origin, second.origin]) {
      expect(await deliver(origin, connected)).toBe(200);
      expect(await deliver(origin, connected, wrongSecret)).toBe(401);
    }
    expect(second.keys.secretsHeld).toBeGreaterThan(0);
    await disconnect(connected);
    const at = performance.now();
    // Nobody asks the second gateway for this key meanwhile, and it forgets it none the less.
    await eventually(() => second.keys.secretsHeld === 0, { what: 'the secret is forgotten', timeoutMs: 2_000 });
    await eventually(async () => (await deliver(api.origin, connected, wrongSecret)) === 200, {
      what: 'the first gateway knows no secret to check by',
      timeoutMs: 2_000,
    });
    expect(performance.now() - at).toBeLessThan(2_000);
    const before = await stored();
    const log = () =>
      api.database.query('SELECT id, count FROM webhook_log WHERE workspace_id = $1', [connected.workspaceId]);
    await eventually(async () => (await log()).length === 1, { what: 'the refusals from before are in the log' });
    for (const origin of [api.origin, second.origin]) {
      expect(await deliver(origin, connected)).toBe(200);
      expect(await deliver(origin, connected, wrongSecret)).toBe(200);
      const path = new URL(connected.callbackUrl).pathname;
      const verification = await fetch(
        `${origin}${path}?hub.mode=subscribe&hub.challenge=42&hub.verify_token=${connected.verifyToken}`,
      );
      expect(verification.status).toBe(404);
    }
    expect(await stored()).toBe(before);
    expect(await log()).toHaveLength(1);
  });

  it('is connected again: the same channel, conversations and callback, and the first delivery is stored', async () => {
    const connected = await aConnected();
    const conversationId = await api.addConversation(connected.workspaceId, connected.channelId);
    await disconnect(connected);
    expect(await deliver(second.origin, connected)).toBe(200);
    const before = await stored();
    const again = await put(connected.key, connected.chatbotId, connected.connection);
    expect(again.body).toMatchObject({ id: connected.channelId, answers: true, callbackUrl: connected.callbackUrl });
    expect(again.body.verifyToken).not.toBe(connected.verifyToken);
    // The second gateway has just noted that the key is erased.
    expect(await deliver(second.origin, connected)).toBe(200);
    expect(await stored()).toBe(before + 1);
    expect(await deliver(second.origin, connected, wrongSecret)).toBe(401);
    const { body } = await api.call('GET', '/conversations', { key: connected.key });
    expect(body.items).toEqual([expect.objectContaining({ id: conversationId, channelId: connected.channelId })]);
  });

  it('frees the number for another workspace, which then keeps it', async () => {
    const connected = await aConnected();
    const { key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    expect((await put(key, chatbotId, connected.connection)).body.code).toBe('phone_number_in_use');
    await disconnect(connected);
    const taken = await put(key, chatbotId, { ...connected.connection, callback: 'replace' });
    expect([taken.status, taken.body.code]).toEqual([200, undefined]);
    expect(taken.body.id).not.toBe(connected.channelId);
    const back = await put(connected.key, connected.chatbotId, { ...connected.connection, callback: 'replace' });
    expect([back.status, back.body.code]).toEqual([409, 'phone_number_in_use']);
    expect((await api.call('GET', `/channels/${connected.channelId}`, { key: connected.key })).body.state).toBe(
      'disconnected',
    );
  });

  it('erases nothing of a channel that somebody connects while it waits', async () => {
    const connected = await aConnected();
    const conversation = await seedConversationOf(connected);
    const sendId = await aSend(conversation, 'sending');
    const waiting = disconnect(connected);
    await eventually(async () => (await rowOf(connected))?.['answers'] === false, { what: 'it is switched off' });
    expect((await put(connected.key, connected.chatbotId, connected.connection)).status).toBe(200);
    await settle(sendId);
    const { status, body } = await waiting;
    expect([status, body.code]).toEqual([409, 'channel_connected_meanwhile']);
    expect(await rowOf(connected)).toMatchObject({
      answers: true,
      token: expect.any(String),
      secret: expect.any(String),
    });
  });
});

async function seedConversationOf({
  workspaceId,
  channelId,
  chatbotId,
  connection,
}: Connected): Promise<SeededConversation> {
  const conversationId = await api.addConversation(workspaceId, channelId);
  const [row] = await api.database.query<{ contact_id: string }>('SELECT contact_id FROM conversations WHERE id = $1', [
    conversationId,
  ]);
  const contactId = row?.contact_id ?? '';
  const { phoneNumberId } = connection;
  return { workspaceId, chatbotId, keyId: '', channelId, phoneNumberId, conversationId, contactId, address: '' };
}

/** A reply with one send that stands at `phase`, its attempt begun a moment ago. */
async function aSend(
  conversation: SeededConversation,
  phase: 'pending' | 'retry' | 'sending' | 'unknown',
  author: 'ai' | 'human' = 'ai',
): Promise<string> {
  const { sendIds } = await seedReply(api.database, conversation, {
    author,
    kind: author === 'ai' ? 'answer' : 'human',
  });
  const [sendId = ''] = sendIds;
  await api.database.query(
    `UPDATE sends SET phase = $2, due_at = CASE WHEN $2 = 'pending' THEN now() END WHERE id = $1`,
    [sendId, phase],
  );
  if (phase === 'pending') return sendId;
  await api.database.query(
    `INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at)
     VALUES (gen_random_uuid(), $1, $2, $3, 1, $4, now())`,
    [
      conversation.workspaceId,
      conversation.channelId,
      sendId,
      phase === 'retry' ? 'refused' : phase === 'sending' ? 'calling' : phase,
    ],
  );
  return sendId;
}
/** Meta refuses the call under way for now: without a disconnect it would be made again. */
async function settle(sendId: string): Promise<void> {
  await api.database.transaction(async (sql) => {
    const [attempt] = await sql.query<{ id: string }>('SELECT id FROM attempts WHERE send_id = $1', [sendId]);
    const fact = {
      type: 'refused',
      now: Date.now(),
      attemptId: attempt?.id ?? '',
      retry: 'backoff',
      code: 'rate_limited',
    } as const;
    await applySendFacts(sql, [{ sendId, fact }]);
  });
}
const phasesOf = async ({ conversationId }: SeededConversation): Promise<unknown[]> =>
  (
    await api.database.query(
      'SELECT author, phase, failure, due_at FROM sends WHERE conversation_id = $1 ORDER BY position',
      [conversationId],
    )
  ).map(({ author, phase, failure, due_at: dueAt }) => [author, phase, failure, dueAt]);
const used = async ({ workspaceId }: Connected): Promise<number | undefined> =>
  (await api.database.query<{ used: number }>('SELECT used FROM usage WHERE workspace_id = $1', [workspaceId]))[0]
    ?.used;

describe('what has not left when a channel is disconnected', () => {
  it('is superseded, a person’s words too, and costs nothing unless it may have arrived', async () => {
    const connected = await aConnected();
    const conversation = await seedConversationOf(connected);
    for (const phase of ['retry', 'unknown', 'pending'] as const) await aSend(conversation, phase);
    await aSend(conversation, 'pending', 'human');
    expect(await used(connected)).toBe(3);
    expect((await disconnect(connected)).body).toMatchObject({ supersededSends: 4, callsUnderWay: 0 });
    expect(await phasesOf(conversation)).toEqual([
      ['ai', 'superseded', 'channel_off', null],
      ['ai', 'superseded', 'channel_off', null],
      ['ai', 'superseded', 'channel_off', null],
      ['human', 'superseded', 'channel_off', null],
    ]);
    // The unknown one may have arrived.
    expect(await used(connected)).toBe(1);
  });

  it('waits for a call under way, and calls off what comes back from it', async () => {
    const connected = await aConnected();
    const conversation = await seedConversationOf(connected);
    const sendId = await aSend(conversation, 'sending');
    let isOver = false;
    const waiting = disconnect(connected).finally(() => (isOver = true));
    await eventually(async () => (await rowOf(connected))?.['answers'] === false, { what: 'it is switched off' });
    expect(isOver).toBe(false);
    expect(await rowOf(connected)).toMatchObject({ token: expect.any(String) });
    await settle(sendId);
    expect((await waiting).body).toMatchObject({
      supersededSends: 1,
      callsUnderWay: 0,
      erased: expect.arrayContaining(['accessToken']),
    });
    expect(await phasesOf(conversation)).toEqual([['ai', 'superseded', 'channel_off', null]]);
  });

  it('waits for ticks that are being shown for a message from before', async () => {
    const connected = await aConnected();
    const isTaken = Promise.withResolvers<void>();
    const isShown = Promise.withResolvers<void>();
    // What the notifier does for each message, held up in the middle of its call.
    const notifier = await api.bus.startConsumer({
      stream: 'EVENTS',
      consumer: 'presence',
      batchSize: 1,
      concurrency: 1,
      handle: async () => {
        isTaken.resolve();
        await isShown.promise;
      },
      dependenciesUp: async () => true,
      logger: createLogger({ app: 'notifier', level: 'silent' }),
    });
    const subject = eventSubject('message_received', connected.workspaceId, connected.channelId, randomUUID());
    await api.bus.publish(subject, Buffer.from('{}'), { messageId: randomUUID() });
    await isTaken.promise;
    let isOver = false;
    const waiting = disconnect(connected).finally(() => (isOver = true));
    await eventually(async () => (await rowOf(connected))?.['answers'] === false, { what: 'it is switched off' });
    const until = performance.now() + 300;
    await eventually(() => performance.now() > until, { what: 'rounds of waiting have passed' });
    expect(isOver).toBe(false);
    isShown.resolve();
    expect((await waiting).status).toBe(200);
    await notifier.stop(5_000);
  });

  it('waits 15 s for a call that is never heard of, and says so', async () => {
    const connected = await aConnected();
    await aSend(await seedConversationOf(connected), 'sending');
    const at = performance.now();
    const { status, body } = await disconnect(connected);
    expect([status, body['callsUnderWay']]).toEqual([200, 1]);
    expect(performance.now() - at).toBeGreaterThan(14_900);
    expect(await rowOf(connected)).toMatchObject({ token: null });
  }, 40_000);
});

it('logs no secret', () => {
  const text = api.logs.text();
  expect(text).not.toBe('');
  for (const secret of [api.accessToken, api.appSecret, api.operatorKey, ...api.apiKeys])
    expect(text).not.toContain(secret);
});
