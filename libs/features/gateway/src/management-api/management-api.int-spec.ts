import { randomUUID } from 'node:crypto';
import { generateApiKey, hashApiKey } from '@answerline/secrets';
import { type ApiAnswer, eventually, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

const pathsOf = ({ body }: Pick<ApiAnswer, 'body'>): string[] => body.errors.map(({ path }) => path).toSorted();

describe('the owner of a workspace', () => {
  it('has an address for mails, if the operator gives one, and it is one address', async () => {
    const create = (body: object) =>
      api.call('POST', '/workspaces', { key: api.operatorKey, body: { name: 'Owned', ...body } });
    const { status, body } = await create({ ownerEmail: 'owner@example.com' });
    expect([status, body]).toMatchObject([201, { workspace: { ownerEmail: 'owner@example.com' } }]);
    expect((await create({})).body).toMatchObject({ workspace: { ownerEmail: null } });
    for (const ownerEmail of ['owner', 'a@example.com, b@example.com', 'a@example.com\r\nBcc: b@example.com']) {
      const refused = await create({ ownerEmail });
      expect([refused.status, pathsOf(refused)]).toEqual([422, ['ownerEmail']]);
    }
  });
});

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

  it('lets the operator alone change a plan, and each workspace see what it has used', async () => {
    const [mine, theirs] = [await api.createWorkspace('growth'), await api.createWorkspace('growth')];
    const body = { plan: 'enterprise' };
    const refused = await api.call('PUT', `/operator/workspaces/${theirs.id}/plan`, { key: mine.key, body });
    expect([refused.status, refused.body.code]).toEqual([403, 'operator_key_required']);
    const changed = await api.call('PUT', `/operator/workspaces/${mine.id}/plan`, { key: api.operatorKey, body });
    expect([changed.status, changed.body]).toMatchObject([200, { workspace: { id: mine.id, plan: 'enterprise' } }]);
    const limits = [mine, theirs].map(async ({ key }) => (await api.call('GET', '/usage', { key })).body['messages']);
    expect(await Promise.all(limits)).toMatchObject([{ limit: null }, { limit: 5_000 }]);
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
    });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('x-powered-by')).toBeNull();
  });

  it('logs no secret, key or name', async () => {
    await api.furnish();
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
