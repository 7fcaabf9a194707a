import { randomUUID } from 'node:crypto';
import { InvalidInput } from '@answerline/errors';
import { newId } from '@answerline/persistence';
import { generateApiKey, hashApiKey } from '@answerline/secrets';
import {
  type ApiAnswer,
  eventually,
  type FurnishedWorkspace,
  startTestGateway,
  startTestRag,
  type TestGateway,
  type TestRag,
} from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
let rag: TestRag;
beforeAll(async () => {
  rag = await startTestRag({
    search: async (request) => {
      await requireChatbot(request);
      return { mode: 'SEARCH_MODE_LEXICAL', lexicalReason: 'no_embedding_model', passages: [] };
    },
    ask: async (request, send) => {
      await requireChatbot(request);
      send({ result: { kind: 'ANSWER_KIND_ANSWER', text: 'At seven.', citations: [], receiptId: newId() } });
    },
  });
  api = await startTestGateway({ ragUrl: rag.url });
});
afterAll(async () => {
  await api.stop();
  await rag.stop();
});

/** As rag does: a workspace has its own chatbots only. */
async function requireChatbot({ workspaceId, chatbotId }: { workspaceId: string; chatbotId: string }): Promise<void> {
  const rows = await api.database.query('SELECT 1 FROM chatbots WHERE workspace_id = $1 AND id = $2', [
    workspaceId,
    chatbotId,
  ]);
  if (rows.length === 0) throw new InvalidInput('chatbot_not_found', 'None.', { httpStatus: 404 });
}

/** An answered message with its receipt. */
async function addReceipt({ id: workspaceId, channelId, conversationId }: FurnishedWorkspace) {
  const [turnId, messageId, receiptId] = [newId(), newId(), newId()];
  await api.database.query(
    `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
     VALUES ($1, $2, $3, 1, 1, 'replied', 1)`,
    [turnId, workspaceId, conversationId],
  );
  await api.database.query(
    `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text)
     VALUES ($1, $2, $3, $4, $5, 'ai', 'answer', 'At seven.')`,
    [messageId, workspaceId, channelId, conversationId, turnId],
  );
  await api.database.query(
    `INSERT INTO receipts (id, workspace_id, turn_id, reply_id, question, passages, model, timings)
     VALUES ($1, $2, $3, $4, 'When do you open?', '[]', 'extractive', '{}')`,
    [receiptId, workspaceId, turnId, messageId],
  );
  return { messageId, receiptId };
}

const idsOf = ({ body }: ApiAnswer): string[] => body.items.map(({ id }) => id);
const pathsOf = ({ body }: Pick<ApiAnswer, 'body'>): string[] => body.errors.map(({ path }) => path).toSorted();

const countRows = async (): Promise<unknown> =>
  api.database.query(
    `SELECT (SELECT count(*) FROM chatbots) AS chatbots, (SELECT count(*) FROM webhook_keys) AS keys,
            (SELECT md5(string_agg(c::text, '' ORDER BY id)) FROM channels c) AS channels,
            (SELECT md5(string_agg(s::text, '' ORDER BY id)) FROM sources s) AS sources`,
  );

describe('who may do what', () => {
  it('opens workspace routes to an API key and operator routes to the operator, and neither to the other', async () => {
    const { id, key } = await api.createWorkspace();
    expect((await api.call('GET', `/workspaces/${id}`, { key })).body).toMatchObject({
      id,
      plan: 'scale',
      timeZone: 'UTC',
    });
    const byWorkspace = await api.call('POST', '/workspaces', { key, body: { name: 'Mine' } });
    expect([byWorkspace.status, byWorkspace.body.code]).toEqual([403, 'operator_key_required']);
    const byOperator = await api.call('GET', `/workspaces/${id}`, { key: api.operatorKey });
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
      const answer = await api.call(method, path, { key, ...(method === 'POST' && { body: {} }) });
      expect([answer.status, answer.body.code]).toEqual([401, code]);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it('refuses an expired key, and a revoked one within 5 s', async () => {
    const { key } = await api.createWorkspace();
    const hash = Buffer.from(hashApiKey(key), 'hex');
    await api.database.query(`UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE key_hash = $1`, [hash]);
    expect((await api.call('GET', '/chatbots', { key })).status).toBe(401);

    const { key: other } = await api.createWorkspace();
    expect((await api.call('GET', '/chatbots', { key: other })).status).toBe(200);
    await api.database.query(`UPDATE api_keys SET revoked_at = now() WHERE key_hash = $1`, [
      Buffer.from(hashApiKey(other), 'hex'),
    ]);
    await eventually(async () => (await api.call('GET', '/chatbots', { key: other })).status === 401, {
      what: 'the key is refused',
      timeoutMs: 5_000,
    });
  });

  it('asks for the scope', async () => {
    const { key } = await api.createWorkspace();
    await api.database.query(`UPDATE api_keys SET scopes = '{read}' WHERE key_hash = $1`, [
      Buffer.from(hashApiKey(key), 'hex'),
    ]);
    expect((await api.call('GET', '/chatbots', { key })).status).toBe(200);
    const answer = await api.call('POST', '/chatbots', { key, body: { name: 'Assistant' } });
    expect([answer.status, answer.body.code, answer.body.requiredScope]).toEqual([403, 'scope_missing', 'write']);
  });

  it('shows nothing of one workspace to another, and lets it change nothing', async () => {
    const [mine, theirs] = [await api.furnish(), await api.furnish()];
    const { messageId, receiptId } = await addReceipt(theirs);
    const before = await countRows();
    const connection = { ...api.aConnection(), phoneNumberId: theirs.phoneNumberId };
    const source = { type: 'text', title: 'Mine', text: 'Mine.' };
    const routes: [string, string, unknown?][] = [
      ['GET', `/workspaces/${theirs.id}`],
      ['GET', `/chatbots/${theirs.chatbotId}`],
      ['GET', `/chatbots/${theirs.chatbotId}/sources`],
      ['POST', `/chatbots/${theirs.chatbotId}/sources`, source],
      ['GET', `/chatbots/${theirs.chatbotId}/search?q=seven`],
      ['POST', `/chatbots/${theirs.chatbotId}/ask`, { question: 'When do you open?' }],
      ['PUT', `/chatbots/${theirs.chatbotId}/channels/whatsapp`, connection],
      ['GET', `/chatbots/${theirs.chatbotId}/channels/whatsapp`],
      ['GET', `/sources/${theirs.sourceId}`],
      ['DELETE', `/sources/${theirs.sourceId}`],
      ['GET', `/channels/${theirs.channelId}`],
      ['GET', `/conversations/${theirs.conversationId}`],
      ['GET', `/conversations/${theirs.conversationId}/messages`],
      ['GET', `/messages/${messageId}/receipt`],
      ['GET', `/receipts/${receiptId}`],
    ];
    const callAs = (key: string, [method, path, sent]: (typeof routes)[number]) =>
      api.call(method, path, { key, ...(sent !== undefined && { body: sent }) });
    for (const route of routes) {
      const answer = await callAs(mine.key, route);
      expect([route[1], answer.status, answer.body.code]).toEqual([route[1], 404, 'not_found']);
    }
    const inUse = await api.call('PUT', `/chatbots/${mine.chatbotId}/channels/whatsapp`, {
      key: mine.key,
      body: connection,
    });
    expect([inUse.status, inUse.body.code]).toEqual([409, 'phone_number_in_use']);
    expect(JSON.stringify(inUse.body)).not.toContain(theirs.id);
    const byChannel = await api.call('GET', `/conversations?channelId=${theirs.channelId}`, { key: mine.key });
    expect(byChannel.body.items).toEqual([]);
    for (const [list, own] of [
      ['/chatbots', mine.chatbotId],
      ['/conversations', mine.conversationId],
    ] as const) {
      expect(idsOf(await api.call('GET', list, { key: mine.key }))).toEqual([own]);
    }
    expect(await countRows()).toEqual(before);
    // Every route with an id in its path is in the list above.
    const withId = Object.entries(api.openApi.paths).flatMap(([path, methods]) =>
      path.includes('{') ? Object.keys(methods).map((method) => `${method} ${path.replaceAll(/\{\w+\}/g, '*')}`) : [],
    );
    const tried = routes.map(
      ([method, path]) =>
        `${method.toLowerCase()} /api/v1${(path.split('?')[0] ?? '').replaceAll(/[0-9a-f-]{36}/g, '*')}`,
    );
    expect(tried.toSorted()).toEqual(withId.toSorted());
    // What the others cannot do, their owner can.
    for (const route of routes)
      expect([route[1], (await callAs(theirs.key, route)).status < 300]).toEqual([route[1], true]);
  });
});

describe('what is refused', () => {
  it('names the fields of a body, a query and unknown fields', async () => {
    const { key } = await api.createWorkspace();
    const bad = await api.call('POST', '/chatbots', { key, body: { name: ' ', quietMs: -1, colour: 'red' } });
    expect(bad.status).toBe(422);
    expect(bad.body).toMatchObject({
      type: 'about:blank',
      title: 'Unprocessable Content',
      status: 422,
      code: 'validation_failed',
    });
    expect(pathsOf(bad)).toEqual(['', 'name', 'quietMs']);
    const query = await api.call('GET', '/chatbots?limit=0&cursor=x', { key });
    expect(pathsOf(query)).toEqual(['cursor', 'limit']);
    expect((await api.call('GET', '/chatbots?limit=101', { key })).status).toBe(422);
    expect((await api.call('POST', '/chatbots', { key })).status).toBe(422);
    const nul = await api.call('POST', '/chatbots', { key, body: { name: 'a\u0000b' } });
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
    const { key } = await api.createWorkspace();
    const response = await fetch(`${api.origin}/api/v1/chatbots`, {
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
    const response = await fetch(`${api.origin}${path}`, { method: 'POST' });
    expect([400, 404, 414]).toContain(response.status);
    const text = await response.text();
    expect(text).not.toContain('kkkk');
    expect(JSON.parse(text)).toMatchObject({ status: response.status });
  });

  it('answers 404 for an id that cannot be one', async () => {
    const { key } = await api.createWorkspace();
    for (const path of ['/chatbots/1', '/sources/not-an-id', "/conversations/'--/messages"]) {
      expect((await api.call('GET', path, { key })).body.code).toBe('not_found');
    }
  });

  it('explains a fault of ours to the log and not to the client', async () => {
    const { key } = await api.createWorkspace();
    expect((await api.call('GET', '/webhook-log', { key })).status).toBe(200);
    await api.database.query('ALTER TABLE webhook_log RENAME TO webhook_log_away');
    const answer = await api
      .call('GET', '/webhook-log', { key })
      .finally(() => api.database.query('ALTER TABLE webhook_log_away RENAME TO webhook_log'));
    expect(answer.status).toBe(500);
    expect(answer.body).toEqual({
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      code: 'internal_error',
      detail: 'Something went wrong on our side.',
      correlationId: expect.any(String),
    });
    expect(api.logs.lines().filter(({ correlationId }) => correlationId === answer.body.correlationId)).toHaveLength(1);
  });
});

describe('the description of the API', () => {
  it('is OpenAPI 3.1 and has every route that the application serves', () => {
    expect(api.openApi.openapi).toBe('3.1.0');
    const described = Object.entries(api.openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = api.served.filter((route) => route.includes(' /api/v1') && !route.startsWith('HEAD '));
    expect(routes.length).toBeGreaterThan(15);
    expect(described.toSorted()).toEqual(routes.toSorted());
  });

  it('held real answers of every route against their schemas', () => {
    const routes = Object.entries(api.openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path} ok`),
    );
    expect([...api.checked].filter((route) => route.endsWith(' ok')).toSorted()).toEqual(routes.toSorted());
  });

  it('has a page that loads nothing from elsewhere', async () => {
    const response = await fetch(`${api.origin}/api/docs`);
    const page = await response.text();
    expect(response.headers.get('content-type')).toContain('text/html');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
    const loaded = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url ?? '');
    expect(loaded.length).toBeGreaterThan(0);
    for (const url of loaded) {
      expect(url).not.toMatch(/^(https?:)?\/\//);
      expect([url, (await fetch(new URL(url, `${api.origin}/api/docs`))).status]).toEqual([url, 200]);
    }
    // Scripts in the page itself would need a hole in the policy.
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
  });
});

describe('the rest of the server', () => {
  it('tells health without a key', async () => {
    expect((await fetch(`${api.origin}/health/live`)).status).toBe(200);
    expect((await fetch(`${api.origin}/health/ready`)).status).toBe(200);
  });

  it('sends safe headers and lets no other site read', async () => {
    const response = await fetch(`${api.origin}/api/v1/chatbots`, { headers: { origin: 'https://elsewhere.example' } });
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
    const text = api.logs.text();
    expect(text).not.toBe('');
    for (const secret of [
      api.operatorKey,
      api.accessToken,
      api.appSecret,
      ...api.apiKeys,
      'Customer A',
      'We open at seven',
    ]) {
      expect(text).not.toContain(secret);
    }
  });
});
