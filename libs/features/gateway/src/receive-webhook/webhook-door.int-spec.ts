import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { correlationHeader, webhookSubject } from '@answerline/contracts';
import { createLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database, migrateDatabase } from '@answerline/persistence';
import { generateToken, SecretBox } from '@answerline/secrets';
import {
  captureLogs,
  createTestDatabase,
  eventually,
  seedChannel,
  startTestNats,
  type TestDatabase,
  type TestNats,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { fastify, type FastifyInstance } from 'fastify';
import { DeliveryBook } from './delivery-book.ts';
import { leaveHeartbeat } from './gateway-heartbeat.ts';
import { SELF_TEST_HEADER, WEBHOOK_BODY_MAX_BYTES, webhookDoor } from './webhook-door.ts';
import { WebhookKeys } from './webhook-keys.ts';

const appSecret = 'a5c1e7b8d2f34960a5c1e7b8d2f34960';
const logs = captureLogs();
const secretBox = new SecretBox([{ id: 'k1', key: randomBytes(32) }]);

let testDatabase: TestDatabase;
let nats: TestNats;
let database: Database;
let bus: MessageBus;
let reader: NatsConnection;
let server: FastifyInstance;
let deliveries: DeliveryBook;
let origin: string;
/** What must not be in the log. */
const secrets: string[] = [];
/** Added to the clock of the key cache. */
let aheadMs = 0;

beforeAll(async () => {
  [testDatabase, nats] = await Promise.all([createTestDatabase(migrateDatabase), startTestNats()]);
  const logger = createLogger({ app: 'spec', level: 'trace', destination: logs.stream });
  database = await Database.connect({ url: testDatabase.url, applicationName: 'door-spec' });
  bus = await MessageBus.connect({
    url: nats.url,
    token: nats.token,
    name: 'door-spec',
    logger,
    profile: 'standalone',
  });
  await bus.reconcile();
  reader = await connect({ servers: nats.url, token: nats.token, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  deliveries = new DeliveryBook(database, logger);
  const keys = new WebhookKeys(database, secretBox, () => performance.now() + aheadMs);
  server = fastify();
  await server.register(webhookDoor({ keys, bus, deliveries }));
  origin = await server.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  await server.close();
  await Promise.all([bus.close(), reader.close(), database.close()]);
  await Promise.all([nats.stop(), testDatabase.drop()]);
});

interface Key {
  readonly path: string;
  readonly keyId: string;
  readonly workspaceId: string;
  readonly verifyToken: string;
}

/** A webhook key as connecting a channel makes it. */
async function makeKey(secret: string | null = appSecret): Promise<Key> {
  const { workspaceId, keyId } = await seedChannel(database);
  const path = generateToken(32);
  const verifyToken = generateToken(32);
  const seal = (plain: string, column: string): string =>
    secretBox.seal(plain, { workspaceId, table: 'webhook_keys', rowId: keyId, column });
  await database.query(
    `UPDATE webhook_keys SET key_hash = $2, verify_token_ciphertext = $3, app_secret_ciphertext = $4 WHERE id = $1`,
    [
      keyId,
      createHash('sha256').update(path).digest(),
      seal(verifyToken, 'verify_token_ciphertext'),
      secret === null ? null : seal(secret, 'app_secret_ciphertext'),
    ],
  );
  secrets.push(path, verifyToken);
  return { path, keyId, workspaceId, verifyToken };
}

async function changeSecret({ keyId, workspaceId }: Key, secret: string): Promise<void> {
  const place = { workspaceId, table: 'webhook_keys', rowId: keyId, column: 'app_secret_ciphertext' };
  await database.query(`UPDATE webhook_keys SET app_secret_ciphertext = $2 WHERE id = $1`, [
    keyId,
    secretBox.seal(secret, place),
  ]);
}

const sign = (body: Buffer | string, secret = appSecret): string =>
  `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly type: string | null;
}

async function post(path: string, body: Buffer | string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${origin}/webhooks/whatsapp/${path}`, {
    method: 'POST',
    body: new Uint8Array(Buffer.from(body)),
    headers: { 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, text: await response.text(), type: response.headers.get('content-type') };
}

const postSigned = (path: string, body: Buffer | string, secret = appSecret): Promise<Answer> =>
  post(path, body, { 'x-hub-signature-256': sign(body, secret) });

/** The last body in the stream for a key, as its bytes, with its message id. */
async function lastStored(key: Key): Promise<{ data: Buffer; messageId: string; correlationId: string } | null> {
  const manager = await jetstreamManager(reader);
  const stored = await manager.streams.getMessage('WEBHOOKS', {
    last_by_subj: webhookSubject(key.workspaceId, key.keyId),
  });
  if (stored === null) return null;
  const [messageId, correlationId] = [stored.header.get('Nats-Msg-Id'), stored.header.get(correlationHeader)];
  return { data: Buffer.from(stored.data), messageId, correlationId };
}

async function storedCount(key: Key): Promise<number> {
  const manager = await jetstreamManager(reader);
  const subject = webhookSubject(key.workspaceId, key.keyId);
  const info = await manager.streams.info('WEBHOOKS', { subjects_filter: subject });
  return info.state.subjects?.[subject] ?? 0;
}

/** A body of its own, so that JetStream does not take it for a repeat. */
const aBody = (): string => `{"object":"whatsapp_business_account","entry":[{"id":"${randomUUID()}"}]}`;
const ok = { status: 200, text: '', type: null };
const empty = (status: number): Answer => ({ status, text: '', type: null });

const keyRow = async ({ keyId }: Key) => {
  await deliveries.flush();
  const [row] = await database.query<{ last_accepted_at: Date | null; last_refused_at: Date | null }>(
    `SELECT last_accepted_at, last_refused_at FROM webhook_keys WHERE id = $1`,
    [keyId],
  );
  return row;
};
const logRows = async ({ keyId }: Key) => {
  await deliveries.flush();
  return database.query<{ verdict: string; count: string; body_sha256: string | null }>(
    `SELECT verdict, sum(count)::int AS count, max(body_sha256) AS body_sha256 FROM webhook_log
     WHERE webhook_key_id = $1 GROUP BY verdict ORDER BY verdict`,
    [keyId],
  );
};

describe('POST', () => {
  let key: Key;
  beforeEach(async () => {
    key = await makeKey();
  });

  it('answers 200 with nothing when the stream has the very bytes', async () => {
    const body = aBody();
    expect(await postSigned(key.path, body)).toEqual(ok);
    expect(await lastStored(key)).toEqual({
      data: Buffer.from(body),
      messageId: `${key.keyId}:${createHash('sha256').update(body).digest('hex')}`,
      correlationId: expect.stringMatching(/./),
    });
  });

  it('stores a repeated body once and answers 200 again', async () => {
    const body = aBody();
    expect([await postSigned(key.path, body), await postSigned(key.path, body)]).toEqual([ok, ok]);
    expect(await storedCount(key)).toBe(1);
  });

  it.each([
    [
      'letters as Meta escapes them',
      String.raw`{"text":"Caf\u00e9 \u00e4\u00f6\u00e5","url":"https:\/\/example.com\/"}`,
    ],
    ['letters as UTF-8', '{"text":"Café äöå 🥐"}'],
    ['what is no JSON', 'not json'],
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0x80])],
    ['nothing', ''],
  ])('keeps %s byte for byte', async (_what, body) => {
    expect(await postSigned(key.path, body)).toEqual(ok);
    expect((await lastStored(key))?.data).toEqual(Buffer.from(body));
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/octet-stream',
  ])('takes a body of type %s', async (type) => {
    const body = aBody();
    const headers = { 'x-hub-signature-256': sign(body), 'content-type': type };
    expect(await post(key.path, body, headers)).toEqual(ok);
    expect((await lastStored(key))?.data.toString()).toBe(body);
  });

  it('refuses the same value with other bytes: the signature is over the escaped form', async () => {
    const escaped = String.raw`{"name":"Caf\u00e9"}`;
    const rewritten = JSON.stringify(JSON.parse(escaped));
    expect(await post(key.path, rewritten, { 'x-hub-signature-256': sign(escaped) })).toEqual(empty(401));
  });

  it.each<[string, (body: string) => Record<string, string>]>([
    ['no signature', () => ({})],
    ['a signature with another secret', (body) => ({ 'x-hub-signature-256': sign(body, 'other') })],
    ['a signature over another body', () => ({ 'x-hub-signature-256': sign('other') })],
    ['a bare digest', (body) => ({ 'x-hub-signature-256': sign(body).slice(7) })],
    ['the SHA-1 header only', (body) => ({ 'x-hub-signature': sign(body) })],
  ])('refuses %s with 401, stores nothing and notes it', async (_what, headersFor) => {
    const body = aBody();
    expect(await post(key.path, body, headersFor(body))).toEqual(empty(401));
    expect(await storedCount(key)).toBe(0);
    expect(await logRows(key)).toEqual([{ verdict: 'bad_signature', count: 1, body_sha256: null }]);
    expect(await keyRow(key)).toEqual({ last_accepted_at: null, last_refused_at: expect.any(Date) });
  });

  it('writes one row a verdict and minute, however many are refused', async () => {
    for (let round = 0; round < 3; round += 1) {
      await post(key.path, aBody());
      await deliveries.flush();
    }
    const rows = await database.query<{ count: number }>(`SELECT count FROM webhook_log WHERE webhook_key_id = $1`, [
      key.keyId,
    ]);
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(3);
    // Two when the minute ended in between.
    expect(rows.length).toBeLessThanOrEqual(2);
  });

  it('takes unsigned bodies for an app whose secret nobody gave', async () => {
    const unsigned = await makeKey(null);
    expect(await post(unsigned.path, aBody())).toEqual(ok);
    expect(await storedCount(unsigned)).toBe(1);
  });

  it.each([
    ['another key of the right shape', generateToken(32)],
    ['a short key', 'nothing'],
    ['a long key', 'x'.repeat(90)],
    ['a key with what no key has', `${'x'.repeat(42)}.`],
  ])('answers 404 for %s', async (_what, path) => {
    expect((await post(path, aBody())).status).toBe(404);
  });

  it('leaves no row for unknown keys', async () => {
    const before = await database.query('SELECT id FROM webhook_log');
    await post(generateToken(32), aBody());
    await deliveries.flush();
    expect(await database.query('SELECT id FROM webhook_log')).toHaveLength(before.length);
  });

  it('takes a body of 3 MB and refuses one byte more with 413', async () => {
    const largest = randomBytes(WEBHOOK_BODY_MAX_BYTES / 2).toString('hex');
    expect(Buffer.byteLength(largest)).toBe(WEBHOOK_BODY_MAX_BYTES);
    expect(await postSigned(key.path, largest)).toEqual(ok);
    expect((await lastStored(key))?.data.equals(Buffer.from(largest))).toBe(true);
    expect(await postSigned(key.path, `${largest}x`)).toEqual(empty(413));
    expect(await storedCount(key)).toBe(1);
    expect(await logRows(key)).toEqual([{ verdict: 'too_large', count: 1, body_sha256: null }]);
  });

  it('notes when it last took a delivery', async () => {
    await postSigned(key.path, aBody());
    expect(await keyRow(key)).toEqual({ last_accepted_at: expect.any(Date), last_refused_at: null });
  });

  const signsOfLife = async ({ keyId }: Key) => {
    await deliveries.flush();
    const [row] = await database.query('SELECT verified_at, last_signed_at FROM webhook_keys WHERE id = $1', [keyId]);
    return row;
  };

  it('notes Meta’s verification and the last delivery with a right signature', async () => {
    expect(await signsOfLife(key)).toEqual({ verified_at: null, last_signed_at: null });
    const verify = (token: string) =>
      fetch(`${origin}/webhooks/whatsapp/${key.path}?hub.mode=subscribe&hub.challenge=1&hub.verify_token=${token}`);
    await verify('wrong');
    await post(key.path, aBody());
    expect(await signsOfLife(key)).toEqual({ verified_at: null, last_signed_at: null });
    await verify(key.verifyToken);
    expect(await signsOfLife(key)).toEqual({ verified_at: expect.any(Date), last_signed_at: null });
    await postSigned(key.path, aBody());
    expect(await signsOfLife(key)).toEqual({ verified_at: expect.any(Date), last_signed_at: expect.any(Date) });
  });

  it('takes no unsigned delivery and no test of our own for a sign of life', async () => {
    const unsigned = await makeKey(null);
    await post(unsigned.path, aBody());
    expect(await signsOfLife(unsigned)).toEqual({ verified_at: null, last_signed_at: null });
    const body = aBody();
    const headers = { 'x-hub-signature-256': sign(body), [SELF_TEST_HEADER]: '1' };
    expect(await post(key.path, body, headers)).toEqual(ok);
    expect(await storedCount(key)).toBe(1);
    expect(await signsOfLife(key)).toEqual({ verified_at: null, last_signed_at: null });
    expect(await keyRow(key)).toEqual({ last_accepted_at: null, last_refused_at: null });
    // Forged ones are noted all the same.
    expect(await post(key.path, aBody(), { [SELF_TEST_HEADER]: '1' })).toEqual(empty(401));
    expect(await logRows(key)).toMatchObject([{ verdict: 'bad_signature', count: 1 }]);
  });

  it('goes by a changed App Secret 2 s later at the latest', async () => {
    await postSigned(key.path, aBody());
    await changeSecret(key, 'new-secret');
    aheadMs += 2_000;
    expect(await postSigned(key.path, aBody())).toEqual(empty(401));
    expect(await postSigned(key.path, aBody(), 'new-secret')).toEqual(ok);
  });

  it('refreshes a key in use in the background, before its time is up', async () => {
    await postSigned(key.path, aBody());
    await changeSecret(key, 'new-secret');
    aheadMs += 1_100;
    await eventually(async () => (await postSigned(key.path, aBody(), 'new-secret')).status === 200, {
      what: 'the new secret counts',
      timeoutMs: 800,
    });
  });

  it('takes nothing for a key whose secret cannot be read, and says so in the log', async () => {
    const workspaceId = randomUUID();
    const place = { workspaceId, table: 'webhook_keys', rowId: key.keyId, column: 'app_secret_ciphertext' };
    await database.query(`UPDATE webhook_keys SET app_secret_ciphertext = $2 WHERE id = $1`, [
      key.keyId,
      secretBox.seal(appSecret, place),
    ]);
    const logged = logs.lines().length;
    expect(await postSigned(key.path, aBody())).toEqual(empty(500));
    expect(await post(key.path, aBody())).toEqual(empty(500));
    expect(await logRows(key)).toEqual([{ verdict: 'not_stored', count: 2, body_sha256: null }]);
    expect(logs.lines().slice(logged)).toEqual([
      expect.objectContaining({ code: 'secret_unreadable', count: 2, level: 'error' }),
    ]);
    deliveries.takeNotStored();
  });
});

describe('GET', () => {
  let key: Key;
  beforeEach(async () => {
    key = await makeKey();
  });

  const verify = async (path: string, query: Record<string, string>): Promise<Answer> => {
    const response = await fetch(`${origin}/webhooks/whatsapp/${path}?${new URLSearchParams(query).toString()}`);
    return { status: response.status, text: await response.text(), type: response.headers.get('content-type') };
  };
  const right = (): Record<string, string> => ({
    'hub.mode': 'subscribe',
    'hub.challenge': '1158201444',
    'hub.verify_token': key.verifyToken,
  });

  it('echoes the challenge as plain text', async () => {
    expect(await verify(key.path, right())).toEqual({
      status: 200,
      text: '1158201444',
      type: 'text/plain; charset=utf-8',
    });
  });

  it('knows a key at once, also when it was unknown a moment ago', async () => {
    const path = generateToken(32);
    await post(path, aBody());
    await database.query(`UPDATE webhook_keys SET key_hash = $2 WHERE id = $1`, [
      key.keyId,
      createHash('sha256').update(path).digest(),
    ]);
    expect((await verify(path, right())).status).toBe(200);
  });

  it.each<[string, Record<string, string>]>([
    ['a wrong token', { 'hub.verify_token': 'wrong' }],
    ['an empty token', { 'hub.verify_token': '' }],
    ['another mode', { 'hub.mode': 'unsubscribe' }],
    ['a challenge that is no number', { 'hub.challenge': '<script>' }],
    ['an empty challenge', { 'hub.challenge': '' }],
    ['a challenge without end', { 'hub.challenge': '1'.repeat(100) }],
  ])('refuses %s with 403, echoes nothing and notes it', async (_what, change) => {
    expect(await verify(key.path, { ...right(), ...change })).toEqual(empty(403));
    expect(await logRows(key)).toEqual([{ verdict: 'bad_verify_token', count: 1, body_sha256: null }]);
  });

  it('refuses what is missing or there twice', async () => {
    expect(await verify(key.path, {})).toEqual(empty(403));
    const twice = `${new URLSearchParams(right()).toString()}&hub.verify_token=${key.verifyToken}`;
    const response = await fetch(`${origin}/webhooks/whatsapp/${key.path}?${twice}`);
    expect(response.status).toBe(403);
  });

  it('answers 404 for an unknown key', async () => {
    expect((await verify(generateToken(32), right())).status).toBe(404);
  });

  it('takes the token of its own key only', async () => {
    const other = await makeKey();
    expect((await verify(other.path, right())).status).toBe(403);
  });
});

describe('while a service is away', () => {
  it('answers 503 at once without NATS, notes it, leaves no heartbeat, and takes deliveries when NATS is back', async () => {
    const key = await makeKey();
    await postSigned(key.path, aBody());
    const heartbeats = async (): Promise<number> => (await database.query('SELECT id FROM gateway_heartbeats')).length;
    await leaveHeartbeat(database, bus, deliveries);
    expect(await heartbeats()).toBe(1);

    process.kill(nats.pid, 'SIGKILL');
    await eventually(() => !bus.isConnected(), { what: 'the bus notices' });
    const startedAt = performance.now();
    expect(await postSigned(key.path, aBody())).toEqual(empty(503));
    expect(performance.now() - startedAt).toBeLessThan(2_500);
    // The first misses because of the refusal, the second because NATS is away.
    await leaveHeartbeat(database, bus, deliveries);
    await leaveHeartbeat(database, bus, deliveries);
    expect(await heartbeats()).toBe(1);

    await nats.restart();
    await eventually(() => bus.isConnected(), { what: 'the bus is back', timeoutMs: 10_000 });
    const body = aBody();
    await eventually(async () => (await postSigned(key.path, body)).status === 200, { what: 'a delivery is taken' });
    expect((await lastStored(key))?.data.toString()).toBe(body);
    expect((await logRows(key)).map(({ verdict }) => verdict)).toEqual(['not_stored']);
    expect((await keyRow(key))?.last_refused_at).toEqual(expect.any(Date));

    // What was refused since the last beat costs one more beat.
    await postSigned(key.path, body);
    deliveries.notStored('0'.repeat(64), new Error('a refusal'));
    await leaveHeartbeat(database, bus, deliveries);
    expect(await heartbeats()).toBe(1);
    await leaveHeartbeat(database, bus, deliveries);
    expect(await heartbeats()).toBe(2);
  });

  it('forgets heartbeats after an hour', async () => {
    await database.query(`INSERT INTO gateway_heartbeats (at) VALUES (now() - interval '61 minutes')`);
    await leaveHeartbeat(database, bus, deliveries);
    const old = await database.query(`SELECT id FROM gateway_heartbeats WHERE at < now() - interval '1 hour'`);
    expect(old).toEqual([]);
  });

  it('goes on for 2 s without Postgres and then answers 503, and notes that when Postgres is back', async () => {
    const key = await makeKey();
    await postSigned(key.path, aBody());
    await database.transaction(async (sql) => {
      await sql.query('LOCK TABLE webhook_keys IN ACCESS EXCLUSIVE MODE');
      expect(await postSigned(key.path, aBody())).toEqual(ok);
      aheadMs += 2_000;
      expect(await postSigned(key.path, aBody())).toEqual(empty(503));
    });
    expect(await postSigned(key.path, aBody())).toEqual(ok);
    expect(await logRows(key)).toEqual([{ verdict: 'not_stored', count: 1, body_sha256: null }]);
    expect(await keyRow(key)).toEqual({ last_accepted_at: expect.any(Date), last_refused_at: expect.any(Date) });
  });

  it('keeps what it noted until Postgres takes it', async () => {
    const key = await makeKey();
    await post(key.path, aBody());
    await database.query(`ALTER TABLE webhook_log RENAME TO webhook_log_away`);
    try {
      await expect(deliveries.flush()).rejects.toThrow();
      await post(key.path, aBody());
    } finally {
      await database.query(`ALTER TABLE webhook_log_away RENAME TO webhook_log`);
    }
    expect(await logRows(key)).toEqual([{ verdict: 'bad_signature', count: 2, body_sha256: null }]);
  });
});

it('logs no key, token, secret or body', () => {
  const text = logs.text();
  expect(text).not.toBe('');
  for (const secret of [...secrets, appSecret, 'whatsapp_business_account']) expect(text).not.toContain(secret);
});
