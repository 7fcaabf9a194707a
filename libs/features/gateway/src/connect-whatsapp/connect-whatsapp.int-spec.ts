import { createHmac, randomUUID } from 'node:crypto';
import { newId } from '@answerline/persistence';
import { type ApiAnswer, eventually, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const pathsOf = ({ body }: Pick<ApiAnswer, 'body'>): string[] => body.errors.map(({ path }) => path).toSorted();

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

describe('connecting WhatsApp', () => {
  const connect = (key: string, chatbotId: string, body: object) =>
    api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });
  const pathOf = (callbackUrl: string): string => callbackUrl.replace(api.publicUrl, '');

  it('gives a callback that takes signed deliveries and answers the verification', async () => {
    const { key } = await api.createWorkspace();
    const { status, body } = await connect(
      key,
      await api.createChatbot(key),
      api.aConnection({ displayPhoneNumber: '+1 555 0100' }),
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ state: 'live', answers: true, unsigned: false, sendHoldCode: null, type: 'whatsapp' });
    expect(body.callbackUrl).toMatch(/^https:\/\/answerline\.example\.com\/webhooks\/whatsapp\/[\w-]{43}$/);
    const callback = `${api.origin}${pathOf(body.callbackUrl)}`;
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
    const { body } = await connect(key, chatbotId, api.aConnection());
    const [row] = await api.database.query<{ token: string; secret: string; key_id: string; all: string }>(
      `SELECT c.access_token_ciphertext AS token, k.app_secret_ciphertext AS secret, k.id AS key_id, c::text || k::text AS all
       FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1`,
      [body.id],
    );
    expect(row?.all).not.toContain(api.accessToken);
    expect(row?.all).not.toContain(api.appSecret);
    const open = (ciphertext: string, table: string, rowId: string, column: string) =>
      api.secretBox.open(ciphertext, { workspaceId, table, rowId, column });
    expect(open(row?.token ?? '', 'channels', body.id, 'access_token_ciphertext')).toBe(api.accessToken);
    expect(open(row?.secret ?? '', 'webhook_keys', row?.key_id ?? '', 'app_secret_ciphertext')).toBe(api.appSecret);
    const shown = [
      body,
      (await api.call('GET', `/channels/${body.id}`, { key })).body,
      (await api.call('GET', `/chatbots/${chatbotId}/channels/whatsapp`, { key })).body,
    ];
    for (const secret of [api.accessToken, api.appSecret]) expect(JSON.stringify(shown)).not.toContain(secret);
    expect(JSON.stringify(shown.slice(1))).not.toContain(body.verifyToken);
  });

  it('gives numbers of one app one callback, of another app another, and keeps a secret that is not sent again', async () => {
    const { key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const first = await connect(key, chatbotId, api.aConnection());
    const { appSecret: _left, ...withoutSecret } = api.aConnection();
    const second = await connect(key, chatbotId, withoutSecret);
    const other = await connect(key, chatbotId, {
      ...api.aConnection({ appId: '55' }),
      appSecret: undefined,
    });
    expect(second.body).toMatchObject({
      callbackUrl: first.body.callbackUrl,
      verifyToken: first.body.verifyToken,
      unsigned: false,
    });
    expect(other.body.callbackUrl).not.toBe(first.body.callbackUrl);
    expect(other.body.unsigned).toBe(true);
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
    expect(answer.body).toMatchObject({ id: channelId, sendHoldCode: null, state: 'live' });
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
