import { createHmac, randomInt, randomUUID } from 'node:crypto';
import { newId } from '@answerline/persistence';
import { hashApiKey } from '@answerline/secrets';
import { type ApiAnswer, eventually, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const pathsOf = ({ body }: Pick<ApiAnswer, 'body'>): string[] => body.errors.map(({ path }) => path).toSorted();

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

/** Another number of the same app and account, which Meta knows. */
async function anotherNumberOf(connection: ReturnType<TestGateway['aConnection']>) {
  const phoneNumberId = String(randomInt(10 ** 14, 2 ** 47));
  const { appId, wabaId, accessToken, appSecret } = connection;
  const number = {
    appId,
    wabaId,
    accessToken,
    appSecret,
    displayPhoneNumber: '+1 202 555 0177',
    verifiedName: 'Bakery',
  };
  await api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, number);
  return { ...connection, phoneNumberId };
}

describe('connecting WhatsApp', () => {
  const connect = (key: string, chatbotId: string, body: object) =>
    api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });

  it('gives a callback that takes signed deliveries and answers the verification', async () => {
    const { key } = await api.createWorkspace();
    const { status, body } = await connect(key, await api.createChatbot(key), api.aConnection());
    expect(status).toBe(200);
    expect(body).toMatchObject({ type: 'whatsapp', state: 'webhook_verified', answers: true, unsigned: false });
    expect(body).toMatchObject({ sendHoldCode: null, numberOverride: false });
    const callback = body.callbackUrl;
    expect(callback.replace(api.publicUrl, '')).toMatch(/^\/webhooks\/whatsapp\/[\w-]{43}$/);
    const verification = await fetch(
      `${callback}?hub.mode=subscribe&hub.challenge=42&hub.verify_token=${body.verifyToken}`,
    );
    expect(await verification.text()).toBe('42');
    // Bytes that a JSON parser would change, through the whole application.
    const delivery = String.raw`{ "entry":[], "object":"caf\u00e9", "id":"${randomUUID()}" }`;
    const signature = `sha256=${createHmac('sha256', api.appSecret).update(delivery).digest('hex')}`;
    const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
    const accepted = await fetch(callback, { method: 'POST', body: delivery, headers });
    expect([accepted.status, await accepted.text()]).toEqual([200, '']);
    const refused = await fetch(callback, { method: 'POST', body: `${delivery} `, headers });
    expect([refused.status, await refused.text()]).toEqual([401, '']);
    await eventually(
      async () => {
        const log = await api.call('GET', '/webhook-log', { key });
        expect(log.body.items).toEqual([
          expect.objectContaining({ verdict: 'bad_signature', count: 1, bodySha256: null }),
        ]);
      },
      { what: 'the refusal is in the log' },
    );
  });

  it('stores secrets as ciphertext that opens in its place, and shows them nowhere', async () => {
    const { id: workspaceId, key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const connection = api.aConnection();
    const { body } = await connect(key, chatbotId, connection);
    const [row] = await api.database.query<{ token: string; secret: string; key_id: string; all: string }>(
      `SELECT c.access_token_ciphertext AS token, k.app_secret_ciphertext AS secret, k.id AS key_id, c::text || k::text AS all
       FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1`,
      [body.id],
    );
    expect(row?.all).not.toContain(api.accessToken);
    expect(row?.all).not.toContain(api.appSecret);
    const open = (ciphertext: string, table: string, rowId: string, column: string) =>
      api.secretBox.open(ciphertext, { workspaceId, table, rowId, column });
    expect(open(row?.token ?? '', 'channels', body.id, 'access_token_ciphertext')).toBe(connection.accessToken);
    expect(open(row?.secret ?? '', 'webhook_keys', row?.key_id ?? '', 'app_secret_ciphertext')).toBe(api.appSecret);
    const list = (await api.call('GET', `/chatbots/${chatbotId}/channels/whatsapp`, { key })).body;
    const shown = [body, list, (await api.call('GET', `/channels/${body.id}`, { key })).body];
    for (const secret of [api.accessToken, api.appSecret]) expect(JSON.stringify(shown)).not.toContain(secret);
    expect(JSON.stringify(list)).not.toContain(body.verifyToken);
  });

  it('shows what is pasted at Meta later on, to keys that may write', async () => {
    const { id: workspaceId, key } = await api.createWorkspace();
    const { body } = await connect(key, await api.createChatbot(key), api.aConnection());
    const reader = `al_${randomUUID()}`;
    await api.database.query(
      `INSERT INTO api_keys (id, workspace_id, key_hash, scopes, name, prefix)
       VALUES ($1, $2, decode($3, 'hex'), '{read}', 'Reader', 'al')`,
      [newId(), workspaceId, hashApiKey(reader)],
    );
    const { callbackUrl, verifyToken } = body;
    expect((await api.call('GET', `/channels/${body.id}`, { key })).body).toMatchObject({ callbackUrl, verifyToken });
    const seen = await api.call('GET', `/channels/${body.id}`, { key: reader });
    expect(seen).toMatchObject({ status: 200, body: { id: body.id } });
    expect(JSON.stringify(seen.body)).not.toContain(verifyToken);
    expect(seen.body).not.toHaveProperty('callbackUrl');
  });

  it('gives numbers of one app one callback, of another app another, and keeps a secret that is not sent again', async () => {
    const { key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const ofApp = api.aConnection();
    const { appSecret: _left, ...withoutSecret } = await anotherNumberOf(ofApp);
    const first = await connect(key, chatbotId, ofApp);
    const second = await connect(key, chatbotId, withoutSecret);
    const other = await connect(key, chatbotId, api.aConnection({ appSecret: undefined }));
    expect([first.status, second.status, other.status]).toEqual([200, 200, 200]);
    expect(second.body).toMatchObject({
      callbackUrl: first.body.callbackUrl,
      verifyToken: first.body.verifyToken,
      unsigned: false,
      state: 'webhook_verified',
    });
    expect(other.body.callbackUrl).not.toBe(first.body.callbackUrl);
    expect(other.body).toMatchObject({ unsigned: true, state: 'validated' });
    expect((await api.call('GET', `/chatbots/${chatbotId}/channels/whatsapp`, { key })).body.items).toHaveLength(3);
  });

  it('makes one key and one channel of calls that come together', async () => {
    const { id, key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const connection = api.aConnection();
    const answers = await Promise.all(Array.from({ length: 6 }, () => connect(key, chatbotId, connection)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => `${body.id} ${body.callbackUrl}`)).size).toBe(1);
    expect(await api.database.query('SELECT id FROM channels WHERE workspace_id = $1', [id])).toHaveLength(1);
  });

  it('ends a hold and makes due what waited for it, and only that', async () => {
    const rings: string[] = [];
    const stop = api.bus.onRing('send', (payload) => void rings.push(payload));
    const { id: workspaceId, key, chatbotId, channelId, conversationId, phoneNumberId } = await api.furnish();
    const replyId = newId();
    await api.database.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text) VALUES ($1, $2, $3, $4, 'ai', 'answer', '')`,
      [replyId, workspaceId, channelId, conversationId],
    );
    const phases = ['retry', 'retry', 'pending', 'accepted'];
    for (const [part, phase] of phases.entries()) {
      await api.database.query(
        `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, 'ai', 1, '', $7, $8)`,
        [newId(), workspaceId, channelId, conversationId, replyId, part, phase, part === 1 ? '2030-01-01' : null],
      );
    }
    await api.database.query(`UPDATE channels SET send_hold_code = 'token_dead', state = 'broken' WHERE id = $1`, [
      channelId,
    ]);
    const answer = await connect(key, chatbotId, api.aConnection({ phoneNumberId }));
    expect(answer.body).toMatchObject({ id: channelId, sendHoldCode: null, state: 'webhook_verified' });
    const due = await api.database.query(
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
    const { key } = await api.createWorkspace('starter');
    const { status, body } = await connect(key, await api.createChatbot(key), api.aConnection());
    expect(status).toBe(402);
    expect(body).toMatchObject({
      code: 'plan_upgrade_required',
      currentPlan: 'starter',
      requiredPlans: ['growth', 'scale', 'enterprise'],
      upgradeUrl: 'https://example.com/plans',
    });
  });

  it('refuses what cannot be a connection and repeats no secret', async () => {
    const { key } = await api.createWorkspace();
    const { status, body } = await connect(
      key,
      await api.createChatbot(key),
      api.aConnection({ appSecret: 'not hex at all!', phoneNumberId: '+1' }),
    );
    expect(status).toBe(422);
    expect(pathsOf({ body })).toEqual(['appSecret', 'phoneNumberId']);
    expect(JSON.stringify(body)).not.toContain('not hex');
  });

  it('logs none of it', () => {
    const text = api.logs.text();
    expect(text).not.toBe('');
    for (const secret of [api.operatorKey, api.accessToken, api.appSecret, ...api.apiKeys]) {
      expect(text).not.toContain(secret);
    }
  });
});
