import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { type ChannelHealth } from '@answerline/contracts';
import { StoreWebhooks } from '@answerline/feature-ingest';
import { createLogger } from '@answerline/logging';
import { MessageBus, type RunningConsumer } from '@answerline/messaging';
import { Database, DELETION_MARKS_PURPOSE, migrateDatabase, newId, noteMailSetup } from '@answerline/persistence';
import { generateToken } from '@answerline/secrets';
import {
  createTestDatabase,
  eventually,
  freePort,
  seedChannel,
  seedConversation,
  seedReply,
  startTestNats,
  startTestSandbox,
  type SeededChannel,
  type TestDatabase,
  type TestNats,
  type TestSandbox,
} from '@answerline/testing';
import { GraphManagement } from '@answerline/whatsapp';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { fastify, type FastifyInstance } from 'fastify';
import { DeliveryBook } from '../receive-webhook/delivery-book.ts';
import { webhookDoor } from '../receive-webhook/webhook-door.ts';
import { WebhookKeys } from '../receive-webhook/webhook-keys.ts';
import { CheckHealth } from './check-health.ts';
import { settleNewChannels } from './settle-channel-states.ts';

const DAY = 24 * 60 * 60 * 1_000;
const MINUTE = 60_000;
const FIELDS = [
  'messages',
  'account_update',
  'phone_number_quality_update',
  'account_alerts',
  'message_template_status_update',
  'user_id_update',
  'smb_message_echoes',
];

const logger = createLogger({ app: 'spec', level: 'silent' });
let testDatabase: TestDatabase;
let nats: TestNats;
let sandbox: TestSandbox;
let database: Database;
let bus: MessageBus;
let ingest: RunningConsumer;
let door: FastifyInstance;
let deliveries: DeliveryBook;
let publicUrl: string;

beforeAll(async () => {
  [testDatabase, nats, sandbox] = await Promise.all([
    createTestDatabase(migrateDatabase),
    startTestNats(),
    startTestSandbox(),
  ]);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'health-spec' });
  const { url, token } = nats;
  bus = await MessageBus.connect({ url, token, name: 'health-spec', logger, profile: 'standalone' });
  await bus.reconcile();
  await noteMailSetup(database, { canSend: true, hasOperator: true });
  const store = new StoreWebhooks(database, logger, sandbox.secrets.fingerprints(DELETION_MARKS_PURPOSE));
  ingest = await bus.startConsumer({
    stream: 'WEBHOOKS',
    consumer: 'ingest',
    concurrency: 1,
    batchSize: 10,
    handle: async (batch) => void (await store.execute(batch)),
    logger,
  });
  deliveries = new DeliveryBook(database, logger);
  door = fastify();
  await door.register(webhookDoor({ keys: new WebhookKeys(database, sandbox.secrets), bus, deliveries }));
  publicUrl = await door.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  await ingest.stop(5_000);
  await door.close();
  await Promise.all([bus.close(), database.close(), sandbox.close()]);
  await Promise.all([nats.stop(), testDatabase.drop()]);
});

afterEach(() => sandbox.control('DELETE', '/faults'));

/** A connected number that Meta knows, and all that is set up for it there. */
interface Connected extends SeededChannel {
  readonly appId: string;
  readonly wabaId: string;
  readonly accessToken: string;
  readonly appSecret: string;
  readonly callbackUrl: string;
  readonly number: Record<string, unknown>;
}

async function connect(options: { readonly signed?: boolean } = {}): Promise<Connected> {
  const channel = await seedChannel(database);
  const { workspaceId, channelId, keyId, phoneNumberId } = channel;
  const [appId, wabaId] = [`1${phoneNumberId}`, `2${phoneNumberId}`];
  const [key, verifyToken, appSecret] = [generateToken(32), generateToken(32), randomBytes(16).toString('hex')];
  const seal = (plain: string, column: string): string =>
    sandbox.secrets.seal(plain, { workspaceId, table: 'webhook_keys', rowId: keyId, column });
  await database.query(
    `UPDATE webhook_keys SET app_id = $2, key_hash = $3, key_ciphertext = $4, verify_token_ciphertext = $5, app_secret_ciphertext = $6
     WHERE id = $1`,
    [
      keyId,
      appId,
      createHash('sha256').update(key).digest(),
      seal(key, 'key_ciphertext'),
      seal(verifyToken, 'verify_token_ciphertext'),
      options.signed === false ? null : seal(appSecret, 'app_secret_ciphertext'),
    ],
  );
  await database.query(
    `UPDATE channels SET state = 'validated', waba_id = $2, heard_key_id = NULL, heard_at = NULL WHERE id = $1`,
    [channelId, wabaId],
  );
  const callbackUrl = `${publicUrl}/webhooks/whatsapp/${key}`;
  const given = { wabaId, appId, appSecret, callbackUrl, verifyToken };
  const { accessToken, displayPhoneNumber, verifiedName } = await sandbox.connect(database, channel, given);
  const number = { ...given, accessToken, displayPhoneNumber, verifiedName };
  await sandbox.control('PUT', `/wabas/${wabaId}`, { subscribedAppIds: [appId] });
  await sandbox.control('PUT', `/apps/${appId}`, {
    appSecret,
    subscription: { callbackUrl, verifyToken, fields: FIELDS, active: true },
  });
  return { ...channel, appId, wabaId, accessToken, appSecret, callbackUrl, number };
}

const setToken = ({ accessToken, appId }: Connected, settings: object): Promise<unknown> =>
  sandbox.control('PUT', '/tokens', { accessToken, appId, ...settings });

/** The doctor, with a clock of its own. */
function doctor({ at = () => Date.now(), url = publicUrl, graphUrl = sandbox.url } = {}): CheckHealth {
  const graph = new GraphManagement({ baseUrl: graphUrl, version: 'v26.0' });
  return new CheckHealth(
    database,
    bus,
    sandbox.secrets,
    graph,
    { publicUrl: url, readWithinMs: url === publicUrl ? 5_000 : 0 },
    at,
  );
}

/** Runs the checks and reads what they came to. */
async function check(channel: Connected, health = doctor()): Promise<ChannelHealth> {
  await health.run(channel.channelId);
  return health.read(channel.workspaceId, channel.channelId);
}

const codesOf = ({ reasons }: ChannelHealth): string[] => reasons.map(({ code }) => code);
const found = ({ checks }: ChannelHealth): (string | null)[] => checks.flatMap(({ code }) => code ?? []);

async function deliver(channel: Connected, signWith = channel.appSecret): Promise<number> {
  const metadata = { display_phone_number: '1', phone_number_id: channel.phoneNumberId };
  const message = {
    id: `wamid.${randomUUID()}`,
    from: '12025550123',
    timestamp: '1',
    type: 'text',
    text: { body: 'Hi' },
  };
  const change = { field: 'messages', value: { messaging_product: 'whatsapp', metadata, messages: [message] } };
  const body = JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: '1', changes: [change] }] });
  const signature = createHmac('sha256', signWith).update(body).digest('hex');
  const { status } = await fetch(channel.callbackUrl, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}` },
  });
  await deliveries.flush();
  return status;
}

async function becomeLive(channel: Connected): Promise<void> {
  expect(await deliver(channel)).toBe(200);
  await eventually(async () => (await stateOf(channel)).state === 'live', { what: 'the channel is live' });
}

async function stateOf({
  channelId,
}: SeededChannel): Promise<{ state: string; state_reasons: string[]; answers: boolean }> {
  await settleNewChannels(database, { now: Date.now() });
  const [row] = await database.query<{ state: string; state_reasons: string[]; answers: boolean }>(
    'SELECT state, state_reasons, answers FROM channels WHERE id = $1',
    [channelId],
  );
  if (!row) throw new Error('No channel');
  return row;
}

/** Mails and events about a channel, as code and days left. They agree. */
async function alarmsOf({ channelId }: SeededChannel): Promise<unknown[][]> {
  const mails = await database.query<{ about: { code: string; daysLeft: number | null } }>(
    `SELECT about FROM mails WHERE kind = 'channel_alarm' AND about ->> 'channelId' = $1 ORDER BY id`,
    [channelId],
  );
  const events = await database.query<{ data: { code: string; daysLeft: number | null } }>(
    `SELECT payload -> 'data' AS data FROM outbox WHERE event_id LIKE 'channel_alarm:%' AND payload -> 'data' ->> 'channelId' = $1 ORDER BY id`,
    [channelId],
  );
  const shown = ({ code, daysLeft }: { code: string; daysLeft: number | null }) => [code, daysLeft];
  expect(events.map(({ data }) => shown(data))).toEqual(mails.map(({ about }) => shown(about)));
  return mails.map(({ about }) => shown(about));
}

describe('the way to live', () => {
  it('goes from validated over the verified webhook to the first signed event of this number', async () => {
    const channel = await connect();
    expect(await check(channel)).toMatchObject({ state: 'validated', webhookVerifiedAt: null, lastInboundAt: null });
    const health = await doctor().read(channel.workspaceId, channel.channelId);
    expect(codesOf(health)).toEqual(['webhook_not_verified', 'no_event_yet']);
    expect(health).toMatchObject({ lastSignedDeliveryAt: null, answers: true });

    await sandbox.control('POST', `/numbers/${channel.phoneNumberId}/verify-webhook`);
    await deliveries.flush();
    expect(await stateOf(channel)).toMatchObject({ state: 'webhook_verified' });

    expect(await deliver(channel, 'f'.repeat(32))).toBe(401);
    expect(await stateOf(channel)).toMatchObject({ state: 'webhook_verified' });
    await becomeLive(channel);
    const live = await check(channel);
    expect([live.state, live.reasons]).toEqual(['live', []]);
    expect(live).toMatchObject({
      webhookVerifiedAt: expect.any(String),
      lastSignedDeliveryAt: expect.any(String),
      lastInboundAt: expect.any(String),
      lastInboundAgeSeconds: expect.any(Number),
    });
  });

  it('is each number’s own: another number of the same app is not live with it', async () => {
    const [first, second] = [await connect(), await connect()];
    await database.query('UPDATE channels SET webhook_key_id = $2, workspace_id = $3, chatbot_id = $4 WHERE id = $1', [
      second.channelId,
      first.keyId,
      first.workspaceId,
      first.chatbotId,
    ]);
    await becomeLive(first);
    expect(await stateOf(second)).toMatchObject({ state: 'validated' });
  });

  it('begins anew with another Meta app', async () => {
    const channel = await connect();
    await becomeLive(channel);
    const keyId = newId();
    await database.query(
      `INSERT INTO webhook_keys (id, workspace_id, app_id, key_hash, key_ciphertext, verify_token_ciphertext, verified_at)
       VALUES ($1, $2, '2', $3, '-', '-', now())`,
      [keyId, channel.workspaceId, randomBytes(32)],
    );
    await database.query(`UPDATE channels SET webhook_key_id = $2, state = 'validated' WHERE id = $1`, [
      channel.channelId,
      keyId,
    ]);
    expect(await stateOf(channel)).toMatchObject({ state: 'webhook_verified' });
  });

  it('does without a signature where there is no App Secret, and says so', async () => {
    const channel = await connect({ signed: false });
    await becomeLive(channel);
    const health = await check(channel);
    expect([health.state, health.unsigned, codesOf(health)]).toEqual(['live', true, ['app_secret_missing']]);
    expect(health.delivery).toMatchObject({ hop: null, code: null });
  });
});

describe('a run of all checks', () => {
  it('shows number, token, delivery and each check, and stores no secret', async () => {
    const channel = await connect();
    await becomeLive(channel);
    const expiresAt = Math.floor((Date.now() + 40 * DAY) / 1_000);
    await setToken(channel, { expiresAt });
    await noteMailSetup(database, { canSend: false, hasOperator: true });
    const health = await check(channel);
    await noteMailSetup(database, { canSend: true, hasOperator: true });
    expect(health.checks.map(({ check: name, status }) => [name, status])).toEqual(
      expect.arrayContaining([
        ['token', 'ok'],
        ['app_secret', 'ok'],
        ['callback', 'ok'],
        ['fields', 'ok'],
      ]),
    );
    expect(found(health)).toEqual([]);
    expect(codesOf(health)).toEqual(['mail_not_configured']);
    expect(health).toMatchObject({
      state: 'live',
      ageSeconds: expect.any(Number),
      delivery: { hop: null, code: null, httpStatus: 200 },
      number: { qualityRating: 'GREEN', throughput: 'STANDARD', status: 'CONNECTED' },
      token: { expiresAt: new Date(expiresAt * 1_000).toISOString(), daysLeft: 40 },
    });
    const [row] = await database.query<{ all: string }>(
      'SELECT h::text AS all FROM channel_health h WHERE channel_id = $1',
      [channel.channelId],
    );
    for (const secret of [channel.accessToken, channel.appSecret, channel.callbackUrl.slice(-43)]) {
      expect(row?.all).not.toContain(secret);
      expect(JSON.stringify(health)).not.toContain(secret);
    }
  });

  it('leaves a verdict of the delivery of our own, and no sign of life of Meta', async () => {
    const channel = await connect();
    await check(channel);
    await deliveries.flush();
    const log = await database.query('SELECT verdict, found, stored FROM webhook_log WHERE workspace_id = $1', [
      channel.workspaceId,
    ]);
    expect(log).toEqual([{ verdict: 'self_test', found: 0, stored: 0 }]);
    expect(
      await database.query('SELECT last_accepted_at, last_signed_at FROM webhook_keys WHERE id = $1', [channel.keyId]),
    ).toEqual([{ last_accepted_at: null, last_signed_at: null }]);
  });

  it.each<[string, (channel: Connected) => Promise<unknown>, string, string]>([
    ['the token is revoked', (channel) => setToken(channel, { isValid: false }), 'broken', 'token_invalid'],
    [
      'the token has expired',
      (channel) => setToken(channel, { isValid: false, errorSubcode: 463 }),
      'broken',
      'token_expired',
    ],
    [
      'the token may not send',
      (channel) => setToken(channel, { scopes: ['whatsapp_business_management'] }),
      'broken',
      'scope_messaging_missing',
    ],
    [
      'the token may only send',
      (channel) => setToken(channel, { scopes: ['whatsapp_business_messaging'] }),
      'live',
      'scope_management_missing',
    ],
    [
      'the app is no longer subscribed',
      ({ wabaId }) => sandbox.control('PUT', `/wabas/${wabaId}`, { subscribedAppIds: [] }),
      'degraded',
      'app_not_subscribed',
    ],
    [
      'the callback is somebody else’s',
      ({ appId }) =>
        sandbox.control('PUT', `/apps/${appId}`, {
          subscription: {
            callbackUrl: 'https://elsewhere.example.com/',
            verifyToken: 'x',
            fields: FIELDS,
            active: true,
          },
        }),
      'degraded',
      'callback_in_use',
    ],
    [
      'the field messages is off',
      ({ appId, callbackUrl }) =>
        sandbox.control('PUT', `/apps/${appId}`, {
          subscription: { callbackUrl, verifyToken: 'x', fields: ['account_update'], active: true },
        }),
      'degraded',
      'field_not_subscribed',
    ],
    [
      'the number is not registered',
      ({ phoneNumberId, number }) =>
        sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...number, platformType: 'NOT_APPLICABLE' }),
      'broken',
      'phone_number_not_registered',
    ],
    [
      'the number is flagged',
      ({ phoneNumberId, number }) =>
        sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...number, status: 'FLAGGED' }),
      'degraded',
      'phone_number_limited',
    ],
    [
      'the quality is low',
      ({ phoneNumberId, number }) =>
        sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...number, qualityRating: 'RED' }),
      'degraded',
      'quality_low',
    ],
    [
      'the App Secret was changed',
      ({ appId }) => sandbox.control('PUT', `/apps/${appId}`, { appSecret: randomBytes(16).toString('hex') }),
      'broken',
      'app_secret_wrong',
    ],
  ])('when %s', async (_what, change, state, code) => {
    const channel = await connect();
    await becomeLive(channel);
    await change(channel);
    const health = await check(channel);
    expect([health.state, codesOf(health)]).toEqual([state, expect.arrayContaining([code])]);
    const stored = await stateOf(channel);
    expect([stored.state, stored.answers]).toEqual([state, true]);
    expect(stored.state_reasons.includes(code)).toBe(state !== 'live');
    const reason = health.reasons.find((one) => one.code === code);
    expect(reason?.message).not.toContain('answered: ');
    // Whatever Meta says of it, it receives.
    expect(await deliver(channel)).toBe(200);
  });

  it('tells failed sends in plain words, and what to do', async () => {
    const channel = await connect();
    await becomeLive(channel);
    const conversation = await seedConversation(database, channel);
    for (const code of ['recipient_not_in_allowed_list', 'payment_problem', 'outbound_timeout', 'payment_problem']) {
      const { sendIds } = await seedReply(database, conversation);
      await database.query(
        `INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at, ended_at, code)
         VALUES (gen_random_uuid(), $1, $2, $3, 1, 'refused', now(), now(), $4)`,
        [channel.workspaceId, channel.channelId, sendIds[0], code],
      );
    }
    const health = await doctor().read(channel.workspaceId, channel.channelId);
    expect(health.state).toBe('degraded');
    expect(codesOf(health)).toEqual(['payment_method_missing', 'recipient_not_in_allowed_list']);
    const errors = Object.fromEntries(health.sendErrors.map((error) => [error.code, error]));
    expect(errors['payment_method_missing']).toMatchObject({ count: 2, message: expect.stringContaining('131042') });
    expect(errors['recipient_not_in_allowed_list']).toMatchObject({
      count: 1,
      message: expect.stringContaining('131030'),
      action: expect.stringContaining('API Setup'),
    });
    expect(errors['outbound_timeout']).toMatchObject({ count: 1 });
    // A week later they are no longer told.
    const later = await doctor({ at: () => Date.now() + 8 * DAY }).read(channel.workspaceId, channel.channelId);
    expect(later.sendErrors).toEqual([]);
  });

  it('shows a number on hold as broken with its reason, and it goes on receiving', async () => {
    const channel = await connect();
    await becomeLive(channel);
    await database.query(`UPDATE channels SET send_hold_code = 'token_expired', state = 'broken' WHERE id = $1`, [
      channel.channelId,
    ]);
    const health = await doctor().read(channel.workspaceId, channel.channelId);
    expect([health.state, codesOf(health), health.answers]).toEqual(['broken', ['token_expired'], true]);
    expect(health.reasons[0]).toMatchObject({ severity: 'broken', action: expect.stringContaining('permanent token') });
    expect(await deliver(channel)).toBe(200);
    await eventually(
      async () => {
        const rows = await database.query('SELECT 1 FROM messages WHERE channel_id = $1', [channel.channelId]);
        expect(rows).toHaveLength(2);
      },
      { what: 'the message is stored' },
    );
  });

  it('says that signatures do not fit while nothing right comes', async () => {
    const channel = await connect();
    await becomeLive(channel);
    expect(await deliver(channel, 'f'.repeat(32))).toBe(401);
    const health = await doctor().read(channel.workspaceId, channel.channelId);
    expect([health.state, codesOf(health)]).toEqual(['degraded', ['signatures_refused']]);
  });

  it('forgets the run of other credentials', async () => {
    const channel = await connect();
    await becomeLive(channel);
    await setToken(channel, { isValid: false });
    expect((await check(channel)).state).toBe('broken');
    const accessToken = `EAA${randomBytes(12).toString('hex')}`;
    await setToken({ ...channel, accessToken }, {});
    await sandbox.connect(database, channel, { ...channel.number, accessToken });
    expect(await doctor().read(channel.workspaceId, channel.channelId)).toMatchObject({
      state: 'live',
      checkedAt: null,
      checks: [],
    });
    expect((await check(channel)).state).toBe('live');
    expect(await alarmsOf(channel)).toEqual([['token_invalid', null]]);
  });

  it('stores nothing when the number was connected anew meanwhile', async () => {
    const channel = await connect();
    const slow = doctor();
    await sandbox.faults({ kinds: ['management'], latencyMs: 500 });
    const running = slow.run(channel.channelId);
    await eventually(
      async () => {
        const rows = await database.query(`SELECT 1 FROM webhook_log WHERE workspace_id = $1`, [channel.workspaceId]);
        expect(rows).toHaveLength(1);
      },
      { what: 'the delivery of our own has come' },
    );
    await sandbox.connect(database, channel, {
      ...channel.number,
      accessToken: `EAA${randomBytes(12).toString('hex')}`,
    });
    await running;
    expect((await slow.read(channel.workspaceId, channel.channelId)).checkedAt).toBeNull();
  });
});

describe('the delivery of our own', () => {
  it('ends where something stands in the way', async () => {
    const channel = await connect();
    const key = new URL(channel.callbackUrl).pathname;
    const through = async (forward: (body: string) => Promise<{ status: number; body?: string }>) => {
      const server = createServer((request, response) => {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          void forward(body).then((answer) => response.writeHead(answer.status).end(answer.body ?? ''));
        });
      });
      const port = await freePort();
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      const { delivery, state } = await check(
        channel,
        doctor({ url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` }),
      );
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      expect(state).toBe('validated');
      return [delivery?.hop, delivery?.code];
    };
    // A proxy that writes bodies anew has our own signature refused at our own door.
    const rewriting = through(async (body) => {
      const answer = await fetch(`${publicUrl}${key}`, {
        method: 'POST',
        body: `${body} `,
        headers: {
          'x-hub-signature-256': `sha256=${createHmac('sha256', channel.appSecret).update(body).digest('hex')}`,
        },
      });
      return { status: answer.status };
    });
    expect(await rewriting).toEqual(['signature', 'callback_signature_refused']);
    // A server that answers as ours does is told by what ingest has not read.
    expect(await through(async () => ({ status: 200 }))).toEqual([null, 'self_test_not_read']);
    expect(await through(async () => ({ status: 200, body: 'Hello' }))).toEqual([
      'answer',
      'callback_answered_by_other',
    ]);
    expect(
      (await check(channel, doctor({ url: `http://127.0.0.1:${String(await freePort())}` }))).delivery,
    ).toMatchObject({
      hop: 'connect',
      code: 'callback_unreachable',
    });
  });

  it('degrades the channel only while nothing comes from Meta', async () => {
    const channel = await connect();
    await becomeLive(channel);
    const url = `http://127.0.0.1:${String(await freePort())}`;
    await sandbox.control('PUT', `/apps/${channel.appId}`, {
      subscription: {
        callbackUrl: channel.callbackUrl.replace(publicUrl, url),
        verifyToken: 'x',
        fields: FIELDS,
        active: true,
      },
    });
    const reached = await check(channel, doctor({ url }));
    expect([reached.state, reached.reasons]).toMatchObject([
      'live',
      [{ code: 'callback_unreachable', severity: 'notice' }],
    ]);
    const silent = await check(channel, doctor({ url, at: () => Date.now() + 2 * DAY }));
    expect([silent.state, codesOf(silent)]).toEqual(['degraded', ['callback_unreachable']]);
  });
});

describe('a run that somebody asks for', () => {
  it('is had once a minute', async () => {
    const channel = await connect();
    let now = Date.now();
    const health = doctor({ at: () => now });
    const ask = () => health.request(channel.workspaceId, channel.channelId);
    expect((await ask()).checkedAt).not.toBeNull();
    now += MINUTE - 1_000;
    await expect(ask()).rejects.toMatchObject({ code: 'checked_a_moment_ago', httpStatus: 429, retryAfterMs: 1_000 });
    now += 1_000;
    expect((await ask()).ageSeconds).toBe(0);
  });

  it('is one run when it is asked for many times at once', async () => {
    const channel = await connect();
    const health = doctor();
    const asked = await Promise.allSettled(
      Array.from({ length: 5 }, () => health.request(channel.workspaceId, channel.channelId)),
    );
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('is refused for a channel of another workspace, and for one that is switched off', async () => {
    const [mine, theirs] = [await connect(), await connect()];
    const health = doctor();
    await expect(health.request(mine.workspaceId, theirs.channelId)).rejects.toMatchObject({ httpStatus: 404 });
    await expect(health.read(mine.workspaceId, theirs.channelId)).rejects.toMatchObject({ httpStatus: 404 });
    await database.query(`UPDATE channels SET state = 'disconnected', access_token_ciphertext = NULL WHERE id = $1`, [
      mine.channelId,
    ]);
    await expect(health.request(mine.workspaceId, mine.channelId)).rejects.toMatchObject({
      code: 'channel_not_connected',
      httpStatus: 409,
    });
    expect(await health.read(mine.workspaceId, mine.channelId)).toMatchObject({ state: 'disconnected', reasons: [] });
    // What is switched off calls nobody.
    const before = (await sandbox.managementCalls()).length;
    await health.run(mine.channelId);
    expect((await sandbox.managementCalls()).length).toBe(before);
  });
});

describe('alarms', () => {
  it('come once for a refused token, by event and mail, and never for a network or a limit', async () => {
    const channel = await connect();
    await becomeLive(channel);
    await check(channel, doctor({ graphUrl: `http://127.0.0.1:${String(await freePort())}` }));
    await sandbox.faults({ kinds: ['management'], graphErrorStatus: 400, errorCode: 80007 });
    const limited = await check(channel);
    expect([limited.state, found(limited)[0]]).toEqual(['live', 'rate_limited']);
    await sandbox.faults({ kinds: ['management'], graphErrorStatus: 503 });
    expect((await check(channel)).state).toBe('live');
    await sandbox.control('DELETE', '/faults');
    expect(await alarmsOf(channel)).toEqual([]);

    await setToken(channel, { isValid: false });
    await check(channel);
    await check(channel);
    expect(await alarmsOf(channel)).toEqual([['token_invalid', null]]);
    expect(await stateOf(channel)).toMatchObject({ state: 'broken', state_reasons: ['token_invalid'], answers: true });

    // A network that is away does not make it well either.
    const away = await check(channel, doctor({ graphUrl: `http://127.0.0.1:${String(await freePort())}` }));
    expect([away.state, codesOf(away)]).toEqual(['broken', ['token_invalid']]);
    await check(channel);
    expect(await alarmsOf(channel)).toHaveLength(1);

    await setToken(channel, {});
    expect((await check(channel)).state).toBe('live');
    await setToken(channel, { isValid: false });
    await check(channel);
    expect(await alarmsOf(channel)).toHaveLength(2);
  });

  it('come 14, 7 and 1 days before an expiry, in daily checks by several gateways', async () => {
    const channel = await connect();
    await becomeLive(channel);
    const expiresAt = Math.ceil(Date.now() / 1_000) + 20 * 24 * 60 * 60;
    await setToken(channel, { expiresAt });
    await check(channel);
    let now = Date.now();
    const gateways = [doctor({ at: () => now }), doctor({ at: () => now })];
    const raised: [number, unknown[]][] = [];
    const start = now;
    for (let day = 0; day <= 20; day += 1) {
      now = start + day * DAY + 2 * 60 * MINUTE;
      const before = (await alarmsOf(channel)).length;
      await Promise.all(
        gateways.map(async (health) => {
          for (const id of await health.claimDue(100)) if (id === channel.channelId) await health.run(id);
        }),
      );
      for (const alarm of (await alarmsOf(channel)).slice(before)) raised.push([day, alarm]);
    }
    expect(raised).toEqual([
      [6, ['token_expiring', 14]],
      [13, ['token_expiring', 7]],
      [19, ['token_expiring', 1]],
      [20, ['token_expired', null]],
    ]);
    const health = await gateways[0]?.read(channel.workspaceId, channel.channelId);
    expect([health?.state, health?.token?.daysLeft, health?.answers]).toEqual(['broken', 0, true]);
  });
});

describe('daily checks', () => {
  it('are due once a day, spread over it, and each is taken by one gateway', async () => {
    const channel = await connect();
    const start = Date.now();
    let now = start;
    const gateways = [doctor({ at: () => now }), doctor({ at: () => now }), doctor({ at: () => now })];
    // Its first time is somewhere in the next day.
    await gateways[0]?.claimDue(0);
    const [row] = await database.query<{ in_ms: number }>(
      `SELECT (extract(epoch FROM due_at) * 1000)::float8 - $2 AS in_ms FROM channel_health WHERE channel_id = $1`,
      [channel.channelId, start],
    );
    expect(row?.in_ms).toBeGreaterThanOrEqual(0);
    expect(row?.in_ms).toBeLessThanOrEqual(DAY);
    now = start + DAY;
    const claimed = (await Promise.all(gateways.map((health) => health.claimDue(1_000)))).flat();
    expect(claimed.filter((id) => id === channel.channelId)).toHaveLength(1);
    // The one that took it died: an hour later another takes it.
    expect(await gateways[0]?.claimDue(1_000)).not.toContain(channel.channelId);
    now += 60 * MINUTE;
    expect(await gateways[0]?.claimDue(1_000)).toContain(channel.channelId);
    await gateways[0]?.run(channel.channelId);
    now += 22 * 60 * MINUTE;
    expect(await gateways[0]?.claimDue(1_000)).not.toContain(channel.channelId);
    now += 2 * 60 * MINUTE;
    expect(await gateways[0]?.claimDue(1_000)).toContain(channel.channelId);
  });

  it('come at once when Meta begins to refuse sends, and tell the owner why', async () => {
    const channel = await connect();
    await becomeLive(channel);
    await check(channel);
    await setToken(channel, { isValid: false });
    await database.query(`UPDATE channels SET send_hold_code = 'token_invalid', state = 'broken' WHERE id = $1`, [
      channel.channelId,
    ]);
    const health = doctor();
    expect(await health.claimDue(1_000)).toContain(channel.channelId);
    await health.run(channel.channelId);
    expect(await alarmsOf(channel)).toEqual([['token_invalid', null]]);
    expect(await health.claimDue(1_000)).not.toContain(channel.channelId);
  });
});
