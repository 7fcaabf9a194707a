import { createHash } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { InvalidInput } from '@answerline/errors';
import { newId } from '@answerline/persistence';
import {
  type ApiAnswer,
  type FurnishedWorkspace,
  rowsOfWorkspace,
  seedConversation,
  seedMessages,
  seedReply,
  startTestGateway,
  startTestRag,
  type TestGateway,
  type TestRag,
} from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

/** A workspace with a row in every table. */
interface FullWorkspace extends FurnishedWorkspace {
  readonly contactId: string;
  readonly replyId: string;
  readonly receiptId: string;
  readonly deliveryId: string;
  readonly bodySha256: string;
  readonly connection: ReturnType<TestGateway['aConnection']>;
}

let api: TestGateway;
let rag: TestRag;
let mine: FullWorkspace;
let theirs: FullWorkspace;
/** Another one of theirs, for calls that destroy what they name. */
let copy: FullWorkspace;

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
  // Mine are the older ones, so that they come after a cursor of theirs.
  [mine, theirs, copy] = [await fullWorkspace(), await fullWorkspace(), await fullWorkspace()];
});
afterAll(async () => {
  await api.stop();
  await rag.stop();
});

/** As rag does, which has a test of its own: a workspace has its own chatbots only. */
async function requireChatbot({ workspaceId, chatbotId }: { workspaceId: string; chatbotId: string }): Promise<void> {
  const rows = await api.database.query('SELECT 1 FROM chatbots WHERE workspace_id = $1 AND id = $2', [
    workspaceId,
    chatbotId,
  ]);
  if (rows.length === 0) throw new InvalidInput('chatbot_not_found', 'None.', { httpStatus: 404 });
}

/** Two of whatever is listed, so that there is something after the first page's cursor. */
async function fullWorkspace(): Promise<FullWorkspace> {
  const furnished = await api.furnish();
  const { id: workspaceId, key, chatbotId, channelId, phoneNumberId } = furnished;
  await api.createChatbot(key);
  const source = { type: 'text', title: 'Parking', text: 'In the yard.' };
  await api.call('POST', `/chatbots/${chatbotId}/sources`, { key, body: source });
  const second = api.aConnection();
  await api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body: second });
  const [keyRow] = await api.database.query<{ id: string; app_id: string }>(
    'SELECT k.id, k.app_id FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1',
    [channelId],
  );
  const keyId = keyRow?.id ?? '';
  const channel = { workspaceId, chatbotId, keyId, channelId, phoneNumberId };
  const conversation = await seedConversation(api.database, channel);
  const { conversationId, contactId } = conversation;
  await seedMessages(api.database, conversation, ['When do you open?', 'And on Sunday?']);
  const reply = await seedReply(api.database, conversation);
  const receiptId = newId();
  const fill = (table: string, values: object) => fillTable(table, { workspace_id: workspaceId, ...values });
  await fill('receipts', {
    id: receiptId,
    turn_id: reply.turnId,
    reply_id: reply.replyId,
    question: 'When do you open?',
    passages: '[]',
    model: 'extractive',
    timings: '{}',
  });
  const now = new Date();
  const attempt = { id: newId(), channel_id: channelId, send_id: reply.sendIds[0], number: 1 };
  await fill('attempts', { ...attempt, phase: 'accepted', started_at: now });
  const status = { id: newId(), channel_id: channelId, provider_message_id: 'wamid.1', dedupe_key: '1' };
  await fill('statuses', { ...status, status: 'sent', at: now, received_at: now });
  await fill('channel_pacing', { channel_id: channelId, version: 1, free_at: now });
  // Due tomorrow, so that no check is made meanwhile.
  const tomorrow = new Date(now.getTime() + 24 * 60 * 60 * 1_000);
  await fill('channel_health', { channel_id: channelId, due_at: tomorrow });
  await fill('contact_notices', {
    contact_id: contactId,
    conversation_id: conversationId,
    kind: 'limited',
    told_at: now,
  });
  await fill('conversation_tokens', { conversation_id: conversationId, day: '2026-11-22', tokens: 7 });
  await fill('token_usage', { day: '2026-11-22', input_tokens: 5, output_tokens: 2 });
  await fill('mails', { id: newId(), kind: 'quota', about: '{}', dedupe_key: '1', due_at: null });
  await fill('outbox', { event_id: newId(), subject: 'of.the.spec', payload: '{}' });
  await fill('deletion_marks', { mac: Buffer.alloc(32), key_id: 'k1', deleted_at: now });
  await fill('embeddings', { sha256: Buffer.alloc(32), model: 'm', vector: Buffer.alloc(4) });
  await fill('index_versions', { id: newId(), chatbot_id: chatbotId, engine: 'lancedb', mapping: 1, state: 'live' });
  const [documentId, sourceId] = [newId(), furnished.sourceId];
  await fill('documents', { id: documentId, source_id: sourceId, title: 'Hours', sha256: '1' });
  const passage = { id: newId(), chatbot_id: chatbotId, source_id: sourceId, document_id: documentId, ordinal: 0 };
  await fill('passages', { ...passage, title: 'Hours', heading_path: '{}', text: 'We open at seven.', sha256: '1' });
  await addDelivery(workspaceId, keyId);
  const delivery = await addDelivery(workspaceId, keyId);
  const connection = api.aConnection({ phoneNumberId });
  return { ...furnished, conversationId, contactId, replyId: reply.replyId, receiptId, ...delivery, connection };
}

async function fillTable(table: string, values: object): Promise<void> {
  const names = Object.keys(values);
  await api.database.query(
    `INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map((_, place) => `$${String(place + 1)}`).join(', ')})`,
    Object.values(values),
  );
}

/** An entry of the webhook log whose body is still in the stream. */
async function addDelivery(workspaceId: string, keyId: string): Promise<{ deliveryId: string; bodySha256: string }> {
  const deliveryId = newId();
  const data = Buffer.from(JSON.stringify({ object: 'whatsapp_business_account', entry: [], id: deliveryId }));
  const bodySha256 = createHash('sha256').update(data).digest('hex');
  const messageId = `${keyId}:${bodySha256}`;
  const { sequence } = await api.bus.publish(webhookSubject(workspaceId, keyId), data, { messageId });
  await fillTable('webhook_log', {
    id: deliveryId,
    workspace_id: workspaceId,
    webhook_key_id: keyId,
    verdict: 'ignored',
    body_sha256: bodySha256,
    stream_sequence: sequence,
  });
  return { deliveryId, bodySha256 };
}

/** The gateway writes down up to a second later when Meta verified a callback; nothing else here changes by itself. */
const CHANGING = { webhook_keys: ['verified_at'] };
const rowsOf = ({ id }: FullWorkspace) => rowsOfWorkspace(api.database, id, CHANGING);
const idsIn = (value: unknown): string[] =>
  JSON.stringify(value).match(/[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/g) ?? [];
const idsOf = ({ body }: ApiAnswer): string[] => body.items.map(({ id }) => id);
/** Of all ids that stand in rows of theirs now, and of theirs at Meta, those that stand in an answer. */
async function foreignIdsIn({ body }: ApiAnswer): Promise<string[]> {
  const { appId, wabaId, phoneNumberId } = theirs.connection;
  const ids = new Set([...idsIn(await rowsOf(theirs)), appId, wabaId, phoneNumberId]);
  const text = JSON.stringify(body);
  return [...ids].filter((id) => text.includes(id));
}

/** What Meta was asked about theirs. */
async function callsAboutTheirs(): Promise<number> {
  const { appId, wabaId, phoneNumberId } = theirs.connection;
  const calls = await api.sandbox.managementCalls();
  return calls.filter(({ path }) => path.split('/').some((part) => [appId, wabaId, phoneNumberId].includes(part)))
    .length;
}

/** A call of a route, which has ids of `of`. */
interface Named {
  /** As in the description of the API. */
  readonly route: string;
  readonly path: (of: FullWorkspace) => string;
  readonly body?: (of: FullWorkspace) => unknown;
  /** Why its owner makes the call in another workspace than the one that has to stay as it is. */
  readonly inCopy?:
    'it destroys what it names' | 'a second one changes nothing' | 'what Meta says of it is noted later';
}

const callAs = ({ key }: { key: string }, { route, path, body }: Omit<Named, 'inCopy'>, of: FullWorkspace) =>
  api.call(route.split(' ')[0] ?? '', path(of), { key, ...(body && { body: body(of) }) });

/** Every route with an id in its path. */
const named: Named[] = [
  { route: 'GET /workspaces/{id}', path: ({ id }) => `/workspaces/${id}` },
  { route: 'GET /chatbots/{id}', path: ({ chatbotId }) => `/chatbots/${chatbotId}` },
  ...[{ name: 'Renamed', aiEnabled: false }, { texts: { en: { abstain: 'No idea.' } } }].map((settings) => ({
    route: 'PATCH /chatbots/{id}',
    path: ({ chatbotId }: FullWorkspace) => `/chatbots/${chatbotId}`,
    body: () => settings,
    inCopy: 'a second one changes nothing' as const,
  })),
  { route: 'GET /chatbots/{id}/sources', path: ({ chatbotId }) => `/chatbots/${chatbotId}/sources` },
  {
    route: 'POST /chatbots/{id}/sources',
    path: ({ chatbotId }) => `/chatbots/${chatbotId}/sources`,
    body: () => ({ type: 'text', title: 'More', text: 'More.' }),
  },
  { route: 'GET /chatbots/{id}/search', path: ({ chatbotId }) => `/chatbots/${chatbotId}/search?q=seven` },
  {
    route: 'POST /chatbots/{id}/ask',
    path: ({ chatbotId }) => `/chatbots/${chatbotId}/ask`,
    body: () => ({ question: 'When do you open?' }),
  },
  {
    route: 'GET /chatbots/{id}/channels/whatsapp',
    path: ({ chatbotId }) => `/chatbots/${chatbotId}/channels/whatsapp`,
  },
  {
    route: 'PUT /chatbots/{id}/channels/whatsapp',
    path: ({ chatbotId }) => `/chatbots/${chatbotId}/channels/whatsapp`,
    body: ({ connection }) => connection,
  },
  { route: 'GET /sources/{id}', path: ({ sourceId }) => `/sources/${sourceId}` },
  {
    route: 'DELETE /sources/{id}',
    path: ({ sourceId }) => `/sources/${sourceId}`,
    inCopy: 'it destroys what it names',
  },
  { route: 'GET /channels/{id}', path: ({ channelId }) => `/channels/${channelId}` },
  { route: 'GET /channels/{id}/health', path: ({ channelId }) => `/channels/${channelId}/health` },
  {
    route: 'POST /channels/{id}/health-checks',
    path: ({ channelId }) => `/channels/${channelId}/health-checks`,
    inCopy: 'what Meta says of it is noted later',
  },
  { route: 'GET /conversations/{id}', path: ({ conversationId }) => `/conversations/${conversationId}` },
  {
    route: 'GET /conversations/{id}/messages',
    path: ({ conversationId }) => `/conversations/${conversationId}/messages`,
  },
  {
    route: 'POST /conversations/{id}/messages',
    path: ({ conversationId }) => `/conversations/${conversationId}/messages`,
    body: () => ({ text: 'Hello' }),
  },
  {
    route: 'POST /conversations/{id}/handoff',
    path: ({ conversationId }) => `/conversations/${conversationId}/handoff`,
    body: () => ({ action: 'take_over' }),
  },
  {
    route: 'POST /conversations/{id}/handoff',
    path: ({ conversationId }) => `/conversations/${conversationId}/handoff`,
    body: () => ({ action: 'hand_back' }),
    inCopy: 'a second one changes nothing',
  },
  { route: 'GET /messages/{id}/receipt', path: ({ replyId }) => `/messages/${replyId}/receipt` },
  { route: 'GET /receipts/{id}', path: ({ receiptId }) => `/receipts/${receiptId}` },
  { route: 'POST /webhook-log/{id}/replay', path: ({ deliveryId }) => `/webhook-log/${deliveryId}/replay` },
  { route: 'GET /contacts/{id}', path: ({ contactId }) => `/contacts/${contactId}` },
  { route: 'GET /contacts/{id}/export', path: ({ contactId }) => `/contacts/${contactId}/export` },
  {
    route: 'DELETE /contacts/{id}',
    path: ({ contactId }) => `/contacts/${contactId}`,
    inCopy: 'it destroys what it names',
  },
  {
    route: 'DELETE /channels/{id}',
    path: ({ channelId }) => `/channels/${channelId}`,
    inCopy: 'it destroys what it names',
  },
];

/** Every list, in a workspace. A cursor holds the id of the last item before it. */
const lists: { readonly route: string; readonly path: (of: FullWorkspace) => string }[] = [
  { route: 'GET /chatbots', path: () => '/chatbots' },
  { route: 'GET /chatbots/{id}/sources', path: ({ chatbotId }) => `/chatbots/${chatbotId}/sources` },
  {
    route: 'GET /chatbots/{id}/channels/whatsapp',
    path: ({ chatbotId }) => `/chatbots/${chatbotId}/channels/whatsapp`,
  },
  { route: 'GET /conversations', path: () => '/conversations' },
  {
    route: 'GET /conversations/{id}/messages',
    path: ({ conversationId }) => `/conversations/${conversationId}/messages`,
  },
  { route: 'GET /webhook-log', path: () => '/webhook-log' },
];

/** Every filter of a list by something that is one workspace's. */
const filters: { readonly route: string; readonly name: string; readonly value: (of: FullWorkspace) => string }[] = [
  { route: 'GET /conversations', name: 'channelId', value: ({ channelId }) => channelId },
  { route: 'GET /webhook-log', name: 'sha256', value: ({ bodySha256 }) => bodySha256 },
];

/**
 * Every id in a body. They are Meta's, and whoever has a token for them may name them: so the answer is not 404, but a refusal
 * that says nothing of the workspace which has them already.
 */
const connect = 'PUT /chatbots/{id}/channels/whatsapp';
const inBodies: { readonly name: 'appId' | 'phoneNumberId' | 'wabaId'; readonly refusedWith: [number, string] }[] = [
  { name: 'phoneNumberId', refusedWith: [409, 'phone_number_in_use'] },
  { name: 'appId', refusedWith: [409, 'callback_in_use'] },
  { name: 'wabaId', refusedWith: [422, 'waba_not_shared'] },
];

/** Routes of the operator, whose key is no workspace's: a workspace's key is refused before any id is looked at. */
const ofOperator: Omit<Named, 'inCopy'>[] = [
  { route: 'POST /workspaces', path: () => '/workspaces', body: () => ({ name: 'New' }) },
  {
    route: 'PUT /operator/workspaces/{id}/plan',
    path: ({ id }) => `/operator/workspaces/${id}/plan`,
    body: () => ({ plan: 'enterprise' }),
  },
];

/** The rest, and why nothing of another workspace can be named there. */
const withoutIds: Record<string, string> = {
  'POST /chatbots': 'It takes no id: what it makes is in the workspace of the key.',
  'GET /usage': 'It takes no id: that it counts nothing of others is tried with the lists.',
};

async function unchanged(attempt: () => Promise<void>): Promise<void> {
  const before = [await rowsOf(theirs), await callsAboutTheirs()];
  await attempt();
  expect([await rowsOf(theirs), await callsAboutTheirs()]).toEqual(before);
}

describe('what is of another workspace', () => {
  it('has a row in every table, so that a lost or changed one is seen', async () => {
    const rows = Object.entries(await rowsOf(theirs));
    expect(rows.length).toBeGreaterThan(25);
    expect(rows.filter(([, { length }]) => length === 0).map(([table]) => table)).toEqual([]);
  });

  it.each(named)('is not there for $route, and stays as it is', async (one) => {
    const ofOwner = await callAs(one.inCopy ? copy : theirs, one, one.inCopy ? copy : theirs);
    expect([ofOwner.status < 300, ofOwner.body.code]).toEqual([true, undefined]);
    await unchanged(async () => {
      const answer = await callAs(mine, one, theirs);
      expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
      expect(await foreignIdsIn(answer)).toEqual([]);
    });
  });

  it.each(lists)('is not in $route, nor after a cursor of theirs', async ({ path }) => {
    const list = (of: FullWorkspace, query: string) => api.call('GET', `${path(of)}?${query}`, { key: of.key });
    const first = await list(theirs, 'limit=1');
    const cursor = first.body.nextCursor ?? '';
    expect([first.status, cursor]).toEqual([200, expect.stringMatching(/./)]);
    const next = await list(theirs, `cursor=${cursor}`);
    expect([next.status, next.body.items]).not.toEqual([200, []]);
    expect(await foreignIdsIn(next)).toEqual(expect.arrayContaining(idsOf(next)));
    for (const query of ['limit=100', `cursor=${cursor}`]) {
      const answer = await list(mine, query);
      expect([answer.status, await foreignIdsIn(answer)]).toEqual([200, []]);
      expect(idsOf(answer)).not.toEqual([]);
    }
  });

  it('is not counted as usage of mine', async () => {
    const answers = await Promise.all([theirs, mine].map(({ key }) => api.call('GET', '/usage', { key })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const foreign = await Promise.all(answers.map(foreignIdsIn));
    expect(foreign.map((ids) => ids.length > 0)).toEqual([true, false]);
  });

  it.each(filters)('is not found by $route with $name', async ({ route, name, value }) => {
    const path = () => `${route.split(' ')[1] ?? ''}?${name}=${value(theirs)}`;
    expect(idsOf(await callAs(theirs, { route, path }, theirs))).not.toEqual([]);
    const answer = await callAs(mine, { route, path }, theirs);
    expect([answer.status, answer.body.items]).toEqual([200, []]);
  });

  it.each(inBodies)('is not taken by $name in a body, and not told of', async ({ name, refusedWith }) => {
    const put = (of: FullWorkspace, body: object) =>
      api.call('PUT', `/chatbots/${of.chatbotId}/channels/whatsapp`, { key: of.key, body });
    expect((await put(theirs, theirs.connection)).status).toBe(200);
    const connection = await connectionWith(name);
    const before = [await rowsOf(theirs), await theirsAtMeta()];
    const answer = await put(mine, connection);
    expect([answer.status, answer.body.code]).toEqual(refusedWith);
    const told = await foreignIdsIn(answer);
    // What was sent may come back.
    expect(told.filter((id) => !Object.values(connection).includes(id))).toEqual([]);
    expect([await rowsOf(theirs), await theirsAtMeta()]).toEqual(before);
  });

  it.each(ofOperator)('is not reached by $route without the key of the operator', async (one) => {
    expect((await callAs({ key: api.operatorKey }, one, copy)).status).toBeLessThan(300);
    await unchanged(async () => {
      const answer = await callAs(mine, one, theirs);
      expect([answer.status, answer.body.code]).toEqual([403, 'operator_key_required']);
      expect(await foreignIdsIn(answer)).toEqual([]);
    });
  });
});

/** A connection of mine that has one id of theirs. */
async function connectionWith(name: 'appId' | 'phoneNumberId' | 'wabaId'): Promise<object> {
  if (name === 'phoneNumberId') return theirs.connection;
  const connection = { ...api.aConnection(), [name]: theirs.connection[name] };
  // Two businesses may use one app at Meta, each with an account and a token of its own.
  const { phoneNumberId, accessToken, appSecret, appId, wabaId } = connection;
  const number = {
    accessToken,
    appSecret,
    appId,
    wabaId,
    displayPhoneNumber: '+1 202 555 0144',
    verifiedName: 'Bakery',
  };
  if (name === 'appId') await api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, number);
  return connection;
}

/** Who is told what of their app and account. */
const theirsAtMeta = () =>
  Promise.all(
    [`/apps/${theirs.connection.appId}`, `/wabas/${theirs.connection.wabaId}`].map((path) =>
      api.sandbox.control('GET', path),
    ),
  );

describe('the description of the API', () => {
  it('has no route and no id in path, query or body that is not tried above or left out with a reason', () => {
    const tried = [
      ...named.map(({ route }) => `${route}: id in path`),
      ...lists.map(({ route }) => `${route}: cursor in query`),
      ...filters.map(({ route, name }) => `${route}: ${name} in query`),
      ...inBodies.map(({ name }) => `${connect}: ${name} in body`),
      ...ofOperator.map(({ route }) => (route.includes('{id}') ? `${route}: id in path` : route)),
      ...Object.keys(withoutIds),
    ];
    expect(placesOfIds().toSorted()).toEqual([...new Set(tried)].toSorted());
  });

  it('held real answers of every route against their schemas', async () => {
    expect((await api.call('POST', '/chatbots', { key: mine.key, body: { name: 'Another' } })).status).toBe(201);
    const routes = Object.entries(api.openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path} ok`),
    );
    expect([...api.checked].filter((route) => route.endsWith(' ok')).toSorted()).toEqual(routes.toSorted());
  });
});

interface Described {
  readonly parameters?: { readonly name: string; readonly in: string; readonly schema: JsonSchema }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: JsonSchema }> };
}
interface JsonSchema {
  readonly format?: string;
  readonly properties?: Record<string, JsonSchema>;
  readonly [keyword: string]: unknown;
}

/** `GET /chatbots/{id}: id in path` for each id that a route takes, and `GET /usage` for a route that takes none. */
function placesOfIds(): string[] {
  return Object.entries(api.openApi.paths).flatMap(([path, methods]) =>
    Object.entries(methods as unknown as Record<string, Described>).flatMap(([method, { parameters, requestBody }]) => {
      const inputs = [
        ...(parameters ?? []).map((one) => ({ ...one, at: `${one.name} in ${one.in}` })),
        ...Object.values(requestBody?.content ?? {}).flatMap(({ schema }) =>
          propertiesIn(schema).map(([name, of]) => ({ name, schema: of, at: `${name} in body` })),
        ),
      ];
      const ids = inputs.filter(({ name, schema, at }) => at.endsWith('in path') || isId(name, schema));
      const route = `${method.toUpperCase()} ${path.replace('/api/v1', '')}`;
      return ids.length === 0 ? [route] : ids.map(({ at }) => `${route}: ${at}`);
    }),
  );
}

/** By its format, or by a name as names of ids, of positions and of hashes are here. */
const isId = (name: string, { format }: JsonSchema): boolean =>
  format === 'uuid' || /^(id|ids|cursor|sha256)$|(Id|Ids|Key|Hash)$/.test(name);

/** Also those of objects in lists and alternatives. */
function propertiesIn(schema: unknown): [string, JsonSchema][] {
  if (typeof schema !== 'object' || schema === null) return [];
  if (Array.isArray(schema)) return schema.flatMap((one: unknown) => propertiesIn(one));
  const { properties = {}, ...rest } = schema as JsonSchema;
  return [
    ...Object.entries(properties),
    ...[...Object.values(properties), ...Object.values(rest)].flatMap(propertiesIn),
  ];
}
