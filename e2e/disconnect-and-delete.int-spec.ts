import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { SendReply } from '@answerline/feature-notifier';
import { createLogger } from '@answerline/logging';
import { type RunningConsumer } from '@answerline/messaging';
import { addMail, DELETION_MARKS_PURPOSE, newId, trimDeletionMarks } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import {
  type ApiAnswer,
  eventually,
  seedReply,
  type SeededConversation,
  startTestGateway,
  type TestGateway,
} from '@answerline/testing';
import { GraphClient } from '@answerline/whatsapp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { consumeWebhooks } from '../libs/features/ingest/src/store-webhooks/store-webhooks.consumer.ts';
import { StoreWebhooks } from '../libs/features/ingest/src/store-webhooks/store-webhooks.ts';
import { claimTurns, renewLease } from '../libs/features/rag/src/answer-turn/claim-turns.ts';
import { commitTurn } from '../libs/features/rag/src/answer-turn/commit-turn.ts';
import { readTurns } from '../libs/features/rag/src/answer-turn/read-turn.ts';

interface Shop {
  readonly workspaceId: string;
  readonly key: string;
  readonly chatbotId: string;
  readonly channelId: string;
  readonly phoneNumberId: string;
  readonly keyId: string;
  readonly callbackUrl: string;
  readonly appSecret: string;
}

const logger = createLogger({ app: 'spec', level: 'silent' });
let api: TestGateway;
let consumer: RunningConsumer;
let shop: Shop;

beforeAll(async () => {
  api = await startTestGateway();
  const fingerprints = api.secretBox.fingerprints(DELETION_MARKS_PURPOSE);
  consumer = await consumeWebhooks(api.bus, api.database, logger, fingerprints);
});
beforeEach(async () => {
  shop = await aShop();
});
afterEach(() => api.sandbox.faults({}));
afterAll(async () => {
  await consumer.stop(10_000);
  await api.stop();
});

async function aShop(owner?: Shop, extra: object = {}): Promise<Shop> {
  const { id: workspaceId, key } = owner ? { id: owner.workspaceId, key: owner.key } : await api.createWorkspace();
  const chatbotId = owner?.chatbotId ?? (await api.createChatbot(key));
  const connection = api.aConnection(extra);
  const { status, body } = await api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body: connection });
  expect([status, body.code]).toEqual([200, undefined]);
  const [row] = await api.database.query<{ id: string }>('SELECT webhook_key_id AS id FROM channels WHERE id = $1', [
    body.id,
  ]);
  const { phoneNumberId, appSecret } = connection;
  const { id: channelId, callbackUrl } = body;
  return { workspaceId, key, chatbotId, channelId, phoneNumberId, keyId: row?.id ?? '', callbackUrl, appSecret };
}

// What Meta sends.

interface Customer {
  readonly waId: string;
  readonly userId: string;
  readonly name: string;
}
const aCustomer = (): Customer => ({
  waId: `1202${randomBytes(4).readUInt32BE().toString().padStart(10, '0')}`,
  userId: `US.${randomBytes(8).toString('hex')}`,
  name: `Planted ${randomBytes(4).toString('hex')}`,
});
const wamid = (): string => `wamid.${randomBytes(12).toString('hex')}`;
const seconds = (agoMs = 0): string => String(Math.floor((Date.now() - agoMs) / 1000));

const text = ({ waId, userId }: Customer, body: string, extra: object = {}) => ({
  from: waId,
  from_user_id: userId,
  id: wamid(),
  timestamp: seconds(),
  type: 'text',
  text: { body },
  ...extra,
});
const status = (id: string, attemptId: string, word: string) => ({
  id,
  status: word,
  timestamp: seconds(),
  recipient_id: '1',
  biz_opaque_callback_data: attemptId,
});
function bodyOf(to: Shop, value: object, from?: Customer): string {
  const contacts = from ? [{ profile: { name: from.name }, wa_id: from.waId, user_id: from.userId }] : [];
  const metadata = { display_phone_number: '1', phone_number_id: to.phoneNumberId };
  const change = { field: 'messages', value: { messaging_product: 'whatsapp', metadata, contacts, ...value } };
  return JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: '1', changes: [change] }] });
}

/** Through the door, signed. */
async function deliver(to: Shop, body: string): Promise<void> {
  const signature = `sha256=${createHmac('sha256', to.appSecret).update(body).digest('hex')}`;
  const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature };
  const path = new URL(to.callbackUrl).pathname;
  expect((await fetch(`${api.origin}${path}`, { method: 'POST', body, headers })).status).toBe(200);
}
/** Past the stream's memory of repeats, which is 5 minutes long. Returns its place in the stream. */
async function repeat(to: Shop, body: string): Promise<number> {
  const subject = webhookSubject(to.workspaceId, to.keyId);
  const { sequence } = await api.bus.publish(subject, Buffer.from(body), { messageId: randomUUID() });
  return sequence;
}
/** When ingest has done with all that came. */
const ingested = () =>
  eventually(async () => (await api.bus.lagMs('WEBHOOKS', 'ingest')) === 0, { what: 'ingest has read everything' });
const verdictOf = async (sequence: number): Promise<string | undefined> => {
  await ingested();
  const rows = await api.database.query<{ verdict: string }>(
    'SELECT verdict FROM webhook_log WHERE stream_sequence = $1',
    [sequence],
  );
  return rows[0]?.verdict;
};
/** Whether the raw body can still be read. */
const isKept = async (sequence: number): Promise<boolean> => (await api.bus.readStored('WEBHOOKS', sequence)) !== null;
const messages = (of: Shop) =>
  api.database.query<{ text: string | null; provider_message_id: string; conversation_id: string }>(
    'SELECT text, provider_message_id, conversation_id FROM messages WHERE channel_id = $1 ORDER BY id',
    [of.channelId],
  );
const contactsOf = (of: Shop) =>
  api.database.query<{ id: string; name: string | null }>(
    'SELECT id, name FROM contacts WHERE workspace_id = $1 ORDER BY id',
    [of.workspaceId],
  );
const callsOfMeta = async (): Promise<number> =>
  (await api.sandbox.control<{ items: object[] }>('GET', '/journal?limit=10000')).items.length;

/** What was written, as ingest has stored it. */
async function written(
  by: Customer,
  ...bodies: string[]
): Promise<{ contactId: string; conversation: SeededConversation }> {
  await deliver(shop, bodyOf(shop, { messages: bodies.map((body) => text(by, body)) }, by));
  await ingested();
  const [row] = await api.database.query<{ id: string; contact_id: string }>(
    `SELECT c.id, c.contact_id FROM conversations c JOIN contact_identities i ON i.contact_id = c.contact_id
     WHERE c.channel_id = $1 AND i.value = $2`,
    [shop.channelId, by.waId],
  );
  const { workspaceId, chatbotId, channelId, phoneNumberId, keyId } = shop;
  const contactId = row?.contact_id ?? '';
  const conversationId = row?.id ?? '';
  const conversation = {
    workspaceId,
    chatbotId,
    channelId,
    phoneNumberId,
    keyId,
    contactId,
    conversationId,
    address: by.waId,
  };
  return { contactId, conversation };
}
const sender = () =>
  new SendReply({
    database: api.database,
    secrets: api.secretBox,
    logger,
    graph: new GraphClient({ baseUrl: api.sandbox.url, version: 'v26.0' }),
  });
const remove = (contactId: string): Promise<ApiAnswer> =>
  api.call('DELETE', `/contacts/${contactId}`, { key: shop.key });

describe('webhooks for a number that was disconnected', () => {
  it('are answered and dropped, while another number of the app goes on', async () => {
    const { phoneNumberId } = api.aConnection();
    const [known] = await api.sandbox
      .control<{ items: Record<string, unknown>[] }>('GET', '/numbers')
      .then(({ items }) => items.filter((one) => one['phoneNumberId'] === shop.phoneNumberId));
    const { appId, wabaId, accessToken } = api.aConnection({ phoneNumberId: shop.phoneNumberId });
    await api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, {
      appId,
      wabaId,
      accessToken,
      appSecret: shop.appSecret,
      displayPhoneNumber: String(known?.['displayPhoneNumber']),
      verifiedName: 'Bakery',
    });
    const other = await aShop(shop, { phoneNumberId, appId, wabaId, accessToken });
    expect(other.keyId).toBe(shop.keyId);
    const customer = aCustomer();
    await written(customer, 'before');
    expect((await api.call('DELETE', `/channels/${shop.channelId}`, { key: shop.key })).status).toBe(200);
    const calls = await callsOfMeta();

    const late = bodyOf(
      shop,
      { messages: [text(customer, 'a late word')], statuses: [status(wamid(), newId(), 'read')] },
      customer,
    );
    await deliver(shop, late);
    await deliver(other, bodyOf(other, { messages: [text(customer, 'to the other number')] }, customer));
    await ingested();
    expect((await messages(shop)).map(({ text: said }) => said)).toEqual(['before']);
    expect((await messages(other)).map(({ text: said }) => said)).toEqual(['to the other number']);
    expect(await api.database.query('SELECT 1 FROM statuses WHERE channel_id = $1', [shop.channelId])).toEqual([]);
    const log = await api.database.query<{
      verdict: string;
      stream_sequence: string;
      body_sha256: string;
      found: number;
    }>('SELECT verdict, stream_sequence, body_sha256, found FROM webhook_log WHERE webhook_key_id = $1 ORDER BY id', [
      shop.keyId,
    ]);
    expect(log.map(({ verdict }) => verdict)).toEqual(['stored', 'dropped_disconnected', 'stored']);
    expect(log[1]).toMatchObject({ found: 2, body_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    // The raw body is gone from the stream as well; the others are kept.
    const sequences = log.map(({ stream_sequence: sequence }) => Number(sequence));
    await eventually(async () => !(await isKept(sequences[1] ?? 0)), { what: 'the raw body is erased' });
    expect(await Promise.all(sequences.map(isKept))).toEqual([true, false, true]);
    expect(await callsOfMeta()).toBe(calls);
    const shown = await api.call('GET', '/webhook-log', { key: shop.key });
    expect(shown.body.items.map((entry) => entry['verdict'])).toContain('dropped_disconnected');
  });

  it('go on where they were when it is connected again', async () => {
    const customer = aCustomer();
    const { conversation } = await written(customer, 'before');
    await api.call('DELETE', `/channels/${shop.channelId}`, { key: shop.key });
    const again = await aShop(shop, { phoneNumberId: shop.phoneNumberId });
    expect(again).toMatchObject({ channelId: shop.channelId, callbackUrl: shop.callbackUrl });
    await written(customer, 'after');
    expect(await messages(shop)).toMatchObject([
      { text: 'before', conversation_id: conversation.conversationId },
      { text: 'after', conversation_id: conversation.conversationId },
    ]);
  });
});

describe('a disconnect while a reply is sent', () => {
  it('lets the call end that is under way, and none follows', async () => {
    const { conversation } = await written(aCustomer(), 'hello');
    await seedReply(api.database, conversation, { parts: ['one', 'two'] });
    await seedReply(api.database, conversation, { parts: ['three'], author: 'human', kind: 'human' });
    await api.sandbox.faults({ kinds: ['text'], latencyMs: 1_500 });
    const notifier = sender();
    const [job] = (await notifier.claim(1)).jobs;
    if (!job) throw new Error('Nothing is due.');
    const calling = notifier.execute(job);
    const { body } = await api.call('DELETE', `/channels/${shop.channelId}`, { key: shop.key });
    expect(body).toMatchObject({ state: 'disconnected', supersededSends: 2, callsUnderWay: 0 });
    const calls = await callsOfMeta();
    await calling;
    expect((await api.sandbox.calls(shop)).map((call) => call.body)).toEqual(['one']);
    expect((await notifier.claim(64)).jobs).toEqual([]);
    expect(await callsOfMeta()).toBe(calls);
  });

  it('supersedes what a commit that was faster leaves behind', async () => {
    const { conversation } = await written(aCustomer(), 'hello');
    await api.call('DELETE', `/channels/${shop.channelId}`, { key: shop.key });
    const { sendIds } = await seedReply(api.database, conversation);
    const calls = await callsOfMeta();
    expect((await sender().claim(64)).jobs).toEqual([]);
    expect(await api.database.query('SELECT phase, failure FROM sends WHERE id = ANY($1::uuid[])', [sendIds])).toEqual([
      { phase: 'superseded', failure: 'channel_off' },
    ]);
    expect(await callsOfMeta()).toBe(calls);
  });
});

describe('deleting a contact', () => {
  /** A contact with one of everything. */
  async function furnished() {
    const customer = aCustomer();
    const said = [`planted words ${randomUUID()}`, `more words ${randomUUID()}`];
    const { contactId, conversation } = await written(customer, ...said);
    const { replyId, turnId } = await seedReply(api.database, conversation, {
      parts: [`planted answer ${randomUUID()}`],
    });
    await api.database.query(
      `INSERT INTO receipts (id, workspace_id, turn_id, reply_id, question, passages, model, timings)
       VALUES ($1, $2, $3, $4, $5, '[]', 'extractive', '{}')`,
      [newId(), shop.workspaceId, turnId, replyId, said[0]],
    );
    const notifier = sender();
    for (const job of (await notifier.claim(64)).jobs) await notifier.execute(job);
    const [attempt] = await api.database.query<{ id: string; provider_message_id: string }>(
      'SELECT a.id, a.provider_message_id FROM attempts a JOIN sends s ON s.id = a.send_id WHERE s.conversation_id = $1',
      [conversation.conversationId],
    );
    if (!attempt) throw new Error('It was not sent.');
    const delivered = bodyOf(shop, { statuses: [status(attempt.provider_message_id, attempt.id, 'delivered')] });
    await deliver(shop, delivered);
    // What nobody could understand, but it names them.
    await api.database.query(
      `INSERT INTO messages (id, workspace_id, channel_id, direction, author, type, provider_message_id, sent_at, place, received_at, raw)
       VALUES ($1, $2, $3, 'inbound', 'contact', 'unparsed', $4, now(), 0, now(), $5)`,
      [
        newId(),
        shop.workspaceId,
        shop.channelId,
        randomBytes(32).toString('hex'),
        JSON.stringify({ from: customer.waId }),
      ],
    );
    await ingested();
    const { conversationId } = conversation;
    await api.database.transaction(async (sql) => {
      addMail(sql, {
        workspaceId: shop.workspaceId,
        kind: 'handoff',
        about: { conversationId },
        dedupeKey: `handoff:${turnId}`,
      });
    });
    const inbound = (await messages(shop)).filter((row) => row.conversation_id === conversationId);
    return { customer, said, contactId, conversation, attempt, delivered, inbound };
  }

  it('removes it everywhere, counts what went, and says what ages out until when', async () => {
    const other = await written(aCustomer(), 'of somebody else');
    const { customer, said, contactId, conversation, attempt, inbound } = await furnished();
    const planted = [customer.waId, customer.userId, customer.name, ...said, attempt.id, attempt.provider_message_id];
    const ids = inbound.map(({ provider_message_id: id }) => id);
    expect(await findInTables([...planted, ...ids, contactId, conversation.conversationId])).toEqual(
      expect.arrayContaining([...planted, ...ids]),
    );
    const before = Date.now();
    const { status: code, body } = await remove(contactId);
    expect(code).toBe(200);
    expect(body['deleted']).toEqual({
      contacts: 1,
      identities: 2,
      conversations: 1,
      messages: 3,
      turns: 1,
      replies: 1,
      receipts: 1,
      sends: 1,
      attempts: 1,
      statuses: 1,
      mails: 1,
    });
    const remains = body['remains'] as Record<string, string>;
    const daysUntil = (name: string): number => Math.round((Date.parse(remains[name] ?? '') - before) / 86_400_000);
    expect(['rawBodiesUntil', 'eventsUntil', 'deadLettersUntil', 'marksUntil'].map(daysUntil)).toEqual([7, 3, 7, 8]);
    expect(remains['backups']).toMatch(/Backups/);
    // Events keep ids; nothing else does.
    expect(await findInTables([...planted, ...ids])).toEqual([]);
    expect(await tablesWith([contactId, conversation.conversationId])).toEqual(['outbox']);
    expect((await api.call('GET', `/contacts/${contactId}`, { key: shop.key })).status).toBe(404);
    expect((await remove(contactId)).status).toBe(404);
    expect((await api.call('GET', `/contacts/${other.contactId}`, { key: shop.key })).status).toBe(200);
    expect((await messages(shop)).map(({ text: words }) => words)).toEqual(['of somebody else']);
    expect(api.logs.text()).not.toContain(customer.waId);
  });

  it('exports all of it before', async () => {
    const { customer, said, contactId, attempt } = await furnished();
    const shown = await api.call('GET', `/contacts/${contactId}`, { key: shop.key });
    expect(shown.body['identities']).toEqual([
      { kind: 'wa_id', value: customer.waId },
      { kind: 'bsuid', value: customer.userId },
    ]);
    const { status: code, body, headers } = await api.call('GET', `/contacts/${contactId}/export`, { key: shop.key });
    expect([code, headers.get('content-disposition')]).toEqual([200, 'attachment; filename="contact.json"']);
    const sizes = Object.entries(body).flatMap(([name, rows]) => (Array.isArray(rows) ? [[name, rows.length]] : []));
    expect(Object.fromEntries(sizes)).toEqual({
      contacts: 1,
      identities: 2,
      conversations: 1,
      messages: 3,
      turns: 1,
      replies: 1,
      receipts: 1,
      sends: 1,
      attempts: 1,
      statuses: 1,
      notices: 0,
      tokens: 0,
      mails: 1,
      usageEntries: 1,
    });
    const exported = JSON.stringify(body);
    for (const value of [customer.waId, customer.userId, customer.name, ...said, attempt.provider_message_id]) {
      expect(exported).toContain(value);
    }
  });

  it('lets no repeat bring anything back: the same bytes, other bytes, edits, statuses', async () => {
    const { customer, contactId, attempt, delivered, inbound, said } = await furnished();
    const { waId: from, userId } = customer;
    const [first] = inbound;
    const original = text(customer, said[0] ?? '', { id: first?.provider_message_id });
    const whole = bodyOf(shop, { messages: [original] }, customer);
    const stored = await repeat(shop, whole);
    expect(await verdictOf(stored)).toBe('repeated');
    await remove(contactId);

    const sameBytes = await repeat(shop, whole);
    const somebody = aCustomer();
    const otherBytes = await repeat(
      shop,
      bodyOf(
        shop,
        { messages: [text(somebody, 'new here'), { ...original, from_user_id: undefined, extra: 1 }] },
        somebody,
      ),
    );
    const unseen = await repeat(
      shop,
      bodyOf(shop, { messages: [text(customer, 'sent before', { timestamp: seconds(5_000) })] }, customer),
    );
    const edit = {
      type: 'edit',
      text: undefined,
      edit: { original_message_id: original.id, message: { type: 'text', text: { body: 'again' } } },
    };
    const edited = await repeat(shop, bodyOf(shop, { messages: [text(customer, '', edit)] }, customer));
    const statuses = [
      await repeat(shop, delivered),
      await repeat(shop, bodyOf(shop, { statuses: [status(attempt.provider_message_id, newId(), 'read')] })),
      await repeat(shop, bodyOf(shop, { statuses: [status(wamid(), attempt.id, 'read')] })),
    ];
    const echo = {
      from: '1',
      to: from,
      to_user_id: userId,
      id: attempt.provider_message_id,
      timestamp: seconds(),
      type: 'text',
      text: { body: 'an echo' },
    };
    const echoed = await repeat(shop, bodyOf(shop, { message_echoes: [echo] }));
    for (const sequence of [sameBytes, unseen, edited, ...statuses, echoed]) {
      expect(await verdictOf(sequence)).toBe('dropped_deleted');
      await eventually(async () => !(await isKept(sequence)), { what: 'the raw body is erased' });
    }
    expect([await verdictOf(otherBytes), await isKept(otherBytes)]).toEqual(['stored', true]);
    expect((await messages(shop)).map(({ text: words }) => words)).toEqual(['new here']);
    expect(await contactsOf(shop)).toMatchObject([{ name: somebody.name }]);
    expect(await api.database.query('SELECT 1 FROM statuses WHERE channel_id = $1', [shop.channelId])).toEqual([]);
  });

  it('takes what the same person writes later for new', async () => {
    const { customer, contactId } = await furnished();
    await remove(contactId);
    // Meta's time is in whole seconds; one in the second of the deletion is new as well.
    const { contactId: again } = await written(customer, 'hello again');
    expect(again).not.toBe(contactId);
    expect((await messages(shop)).map(({ text: words }) => words)).toEqual(['hello again']);
    expect((await remove(again)).body['deleted']).toMatchObject({ messages: 1 });
  });

  it('removes what stayed with another contact when an address turned out to be the same person’s', async () => {
    const customer = aCustomer();
    const byNumber = { ...customer, userId: undefined as unknown as string };
    const byUserId = { ...customer, waId: undefined as unknown as string };
    await deliver(shop, bodyOf(shop, { messages: [text(byNumber, 'by number')] }, byNumber));
    await ingested();
    await deliver(shop, bodyOf(shop, { messages: [text(byUserId, 'by user id')] }, byUserId));
    await ingested();
    expect(await contactsOf(shop)).toHaveLength(2);
    await deliver(shop, bodyOf(shop, { messages: [text(customer, 'by both')] }, customer));
    await ingested();
    const [oldest] = await contactsOf(shop);
    const { body } = await remove(oldest?.id ?? '');
    expect(body['deleted']).toMatchObject({ contacts: 2, conversations: 2, messages: 3 });
    expect(await findInTables([customer.waId, customer.userId, 'by number', 'by user id'])).toEqual([]);
  });

  it('stops a turn that is being answered', async () => {
    const { contactId } = await written(aCustomer(), 'a question');
    await api.database.query('UPDATE conversations SET due_at = now() WHERE channel_id = $1', [shop.channelId]);
    const claims = await claimTurns(api.database, 50);
    const turn = (await readTurns(api.database, claims)).find((one) => one.contactId === contactId);
    if (!turn) throw new Error('Nothing is due.');
    expect((await remove(contactId)).status).toBe(200);
    expect(await renewLease(api.database, turn)).toBe('stop');
    const reply = { kind: 'answer', author: 'ai', text: 'too late' } as const;
    expect(await commitTurn(api.database, turn, { outcome: 'replied', reply }, null)).toBe('stop');
    expect(await findInTables(['too late'])).toEqual([]);
  });

  it('waits for a call under way, calls off the others, and forgets the answer of the call', async () => {
    const { contactId, conversation } = await written(aCustomer(), 'hello');
    await seedReply(api.database, conversation, { parts: ['first part', 'second part'] });
    await api.sandbox.faults({ kinds: ['text'], latencyMs: 1_500 });
    const notifier = sender();
    const [job] = (await notifier.claim(1)).jobs;
    if (!job) throw new Error('Nothing is due.');
    let isCalled = false;
    const calling = notifier.execute(job).finally(() => (isCalled = true));
    const { body } = await remove(contactId);
    expect(isCalled).toBe(true);
    await calling;
    expect(body['deleted']).toMatchObject({ sends: 2, attempts: 1 });
    expect((await api.sandbox.calls(shop)).map((call) => call.body)).toEqual(['first part']);
    expect((await notifier.claim(64)).jobs).toEqual([]);
    expect(await findInTables([job.send.attemptId])).toEqual([]);
  });

  /** What ingest is handed, without the consumer in between. */
  const deliveryOf = (content: string) => ({
    subject: webhookSubject(shop.workspaceId, shop.keyId),
    data: Buffer.from(content),
    messageId: null,
    headers: {},
    streamSequence: 1,
    deliveryCount: 1,
    publishedAt: new Date(),
  });
  const storing = () => new StoreWebhooks(api.database, logger, api.secretBox.fingerprints(DELETION_MARKS_PURPOSE));
  const somebodyWaits = () =>
    eventually(
      async () =>
        (
          await api.database.query(
            `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          )
        ).length > 0,
      { what: 'ingest waits' },
    );

  it('is seen by ingest that had looked for marks before, and then found the contact to be new', async () => {
    const [customer, newcomer] = [aCustomer(), aCustomer()];
    const old = text(customer, 'old', { timestamp: seconds(60_000) });
    await storing().execute([deliveryOf(bodyOf(shop, { messages: [old] }, customer))]);
    const [contact] = await contactsOf(shop);
    const content = deliveryOf(bodyOf(shop, { messages: [old, text(newcomer, 'new here')] }, newcomer));
    let late: Promise<unknown> | undefined;
    await api.database.transaction(async (sql) => {
      // Whoever is new is added under this lock: ingest stands still behind it, having found no marks.
      const address = `${shop.workspaceId} bsuid ${newcomer.userId}`;
      await sql.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [address]);
      late = expect(storing().execute([content])).rejects.toMatchObject({
        kind: 'transient',
        code: 'contact_deleted_meanwhile',
      });
      await somebodyWaits();
      expect((await remove(contact?.id ?? '')).status).toBe(200);
    });
    await late;
    expect(await contactsOf(shop)).toEqual([]);
    await storing().execute([content]);
    expect((await messages(shop)).map(({ text: words }) => words)).toEqual(['new here']);
  });

  it('is seen by ingest that begins a conversation with them in the same moment', async () => {
    const { phoneNumberId } = api.aConnection();
    const { appId, wabaId, accessToken } = api.aConnection({ phoneNumberId: shop.phoneNumberId });
    const known = { appId, wabaId, accessToken, appSecret: shop.appSecret, displayPhoneNumber: '+1 202 555 0101' };
    await api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...known, verifiedName: 'Bakery' });
    const other = await aShop(shop, { phoneNumberId, appId, wabaId, accessToken });
    const customer = aCustomer();
    await storing().execute([deliveryOf(bodyOf(shop, { messages: [text(customer, 'old')] }, customer))]);
    const [contact] = await contactsOf(shop);
    const content = deliveryOf(
      bodyOf(other, { messages: [text(customer, 'to the other number', { timestamp: seconds(60_000) })] }, customer),
    );
    let late: Promise<unknown> | undefined;
    await api.database.transaction(async (sql) => {
      await sql.query('SELECT id FROM channels WHERE id = $1 FOR UPDATE', [other.channelId]);
      late = expect(storing().execute([content])).rejects.toMatchObject({
        kind: 'transient',
        code: 'contact_deleted_meanwhile',
      });
      await somebodyWaits();
      expect((await remove(contact?.id ?? '')).status).toBe(200);
    });
    await late;
    await storing().execute([content]);
    expect([await messages(shop), await messages(other), await contactsOf(shop)]).toEqual([[], [], []]);
  });

  it('comes wholly before or wholly after what ingest stores in the same moment', async () => {
    const store = storing();
    for (let round = 0; round < 25; round += 1) {
      const customer = aCustomer();
      const old = text(customer, `old ${String(round)}`, { timestamp: seconds(60_000) });
      const unseen = text(customer, `unseen ${String(round)}`, { timestamp: seconds(50_000) });
      await store.execute([deliveryOf(bodyOf(shop, { messages: [old] }, customer))]);
      const [contact] = await contactsOf(shop);
      const again = async (message: object): Promise<void> => {
        for (let tries = 0; tries < 20; tries += 1) {
          const done = await store.execute([deliveryOf(bodyOf(shop, { messages: [message] }, customer))]).then(
            () => true,
            (error: { kind?: string }) => {
              // As the consumer does: it is handed out again.
              if (error.kind !== 'transient') throw error;
              return false;
            },
          );
          if (done) return;
        }
        throw new Error('It could not be stored.');
      };
      const [answer] = await Promise.all([remove(contact?.id ?? ''), again(old), again(unseen), again(old)]);
      expect(answer.status).toBe(200);
      expect(await messages(shop)).toEqual([]);
      expect(await contactsOf(shop)).toEqual([]);
    }
  }, 60_000);

  it('keeps only keyed hashes, found again after a rotation, and 8 days long', async () => {
    const { contactId, customer } = await furnished();
    await remove(contactId);
    const marks = () =>
      api.database.query<{ mac: Buffer; key_id: string }>(
        'SELECT mac, key_id FROM deletion_marks WHERE workspace_id = $1',
        [shop.workspaceId],
      );
    // Two addresses, two messages, what could not be understood, an attempt and its message.
    expect(await marks()).toHaveLength(7);
    const fingerprints = api.secretBox.fingerprints(DELETION_MARKS_PURPOSE);
    const mac = fingerprints.of([shop.workspaceId, 'address', 'bsuid', customer.userId]).mac;
    expect((await marks()).some((mark) => mark.mac.equals(mac))).toBe(true);
    const elsewhere = new SecretBox([{ id: 'k1', key: randomBytes(32) }]).fingerprints(DELETION_MARKS_PURPOSE);
    expect(
      (await marks()).some((mark) =>
        mark.mac.equals(elsewhere.of([shop.workspaceId, 'address', 'bsuid', customer.userId]).mac),
      ),
    ).toBe(false);
    const age = (interval: string) =>
      api.database.query('UPDATE deletion_marks SET deleted_at = now() - $2::interval WHERE workspace_id = $1', [
        shop.workspaceId,
        interval,
      ]);
    await age('7 days 23 hours');
    await trimDeletionMarks(api.database);
    expect(await marks()).toHaveLength(7);
    await age('8 days 1 minute');
    await trimDeletionMarks(api.database);
    expect(await marks()).toEqual([]);
  });
});

/** Those of the values that stand in any row of any table, as text or hex. */
async function findInTables(values: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  for (const { rows } of await allRows()) for (const value of values) if (rows.includes(value)) found.add(value);
  return [...found];
}
async function tablesWith(values: readonly string[]): Promise<string[]> {
  return (await allRows()).filter(({ rows }) => values.some((value) => rows.includes(value))).map(({ table }) => table);
}
/** Every column of every row, as a dump has them. */
async function allRows(): Promise<{ table: string; rows: string }[]> {
  const tables = await api.database.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
  );
  return Promise.all(
    tables.map(async ({ name }) => {
      const [row] = await api.database.query<{ rows: string | null }>(
        `SELECT string_agg(t::text, E'\n') AS rows FROM ${name} t`,
      );
      return { table: name, rows: row?.rows ?? '' };
    }),
  );
}
