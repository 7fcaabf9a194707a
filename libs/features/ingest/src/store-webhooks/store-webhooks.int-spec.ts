import { createHash, randomBytes } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { createLogger } from '@answerline/logging';
import { type Delivery } from '@answerline/messaging';
import { Database, DELETION_MARKS_PURPOSE, migrateDatabase, newId } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import {
  createTestDatabase,
  eventually,
  seedChannel,
  type SeededChannel,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StoreWebhooks } from './store-webhooks.ts';

let testDatabase: TestDatabase;
let database: Database;
let storeWebhooks: StoreWebhooks;
let channel: SeededChannel;
let sequence = 0;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'ingest-spec' });
  const fingerprints = new SecretBox([{ id: 'k1', key: randomBytes(32) }]).fingerprints(DELETION_MARKS_PURPOSE);
  storeWebhooks = new StoreWebhooks(database, createLogger({ app: 'spec', level: 'silent' }), fingerprints);
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  channel = await seedChannel(database);
});

const nowSeconds = (): number => Math.floor(Date.now() / 1000);
let ids = 0;
const wamid = (): string => `wamid.${String(++ids)}`;

const text = (from: string, body: string, extra: object = {}) => ({
  from,
  id: wamid(),
  timestamp: String(nowSeconds()),
  type: 'text',
  text: { body },
  ...extra,
});
const body = (messages: object[], extra: object = {}, phoneNumberId = channel.phoneNumberId) => ({
  object: 'whatsapp_business_account',
  entry: [
    {
      id: '1',
      changes: [
        {
          field: 'messages',
          value: {
            messaging_product: 'whatsapp',
            metadata: { display_phone_number: '1', phone_number_id: phoneNumberId },
            messages,
            ...extra,
          },
        },
      ],
    },
  ],
});

function delivery(content: unknown): Delivery {
  const data = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content));
  return {
    subject: webhookSubject(channel.workspaceId, channel.keyId),
    data,
    messageId: null,
    headers: {},
    streamSequence: ++sequence,
    deliveryCount: 1,
    publishedAt: new Date(),
  };
}
const store = (...contents: unknown[]) => storeWebhooks.execute(contents.map(delivery));

const messages = () =>
  database.query(
    `SELECT m.*, i.value AS reply_to FROM messages m
     JOIN conversations c ON c.id = m.conversation_id JOIN contact_identities i ON i.id = c.reply_to_identity_id
     WHERE m.channel_id = $1 ORDER BY m.id`,
    [channel.channelId],
  );
const conversations = () =>
  database.query('SELECT * FROM conversations WHERE channel_id = $1 ORDER BY id', [channel.channelId]);
const identities = () =>
  database.query('SELECT * FROM contact_identities WHERE workspace_id = $1 ORDER BY id', [channel.workspaceId]);
const events = () =>
  database.query<{ subject: string; payload: { type: string; data: object } }>(
    'SELECT * FROM outbox WHERE workspace_id = $1 ORDER BY id',
    [channel.workspaceId],
  );
const verdicts = async () =>
  (await database.query('SELECT verdict FROM webhook_log WHERE webhook_key_id = $1 ORDER BY id', [channel.keyId])).map(
    (row) => row['verdict'] as string,
  );

describe('storing messages', () => {
  it('numbers messages in the order they come and makes the conversation due', async () => {
    const result = await store(body([text('15550001', 'one'), text('15550001', 'two')]));
    expect(await messages()).toMatchObject([
      { number: 1, text: 'one', author: 'contact', direction: 'inbound', type: 'text', reply_to: '15550001' },
      { number: 2, text: 'two' },
    ]);
    const [conversation] = await conversations();
    expect(conversation).toMatchObject({ inbound_seq: 2, answered_seq: 0, owner: 'ai' });
    expect(conversation?.['due_at']).toBeInstanceOf(Date);
    expect(result.turnsDueInMs).toEqual([1500]);
  });

  it('stores a message once, whatever repeats it: same body, other body, same batch', async () => {
    const message = text('15550001', 'once');
    await store(body([message]), body([message, text('15550002', 'other')]));
    await store(body([message]));
    expect(await messages()).toHaveLength(2);
    expect((await conversations()).map((row) => row['inbound_seq'])).toEqual([1, 1]);
    expect((await events()).filter(({ payload }) => payload.type === 'message_received')).toHaveLength(2);
    expect(await verdicts()).toEqual(['stored', 'stored', 'repeated']);
  });

  it('leaves a message to the other process that is storing it in this moment, and finds it there afterwards', async () => {
    const message = text('15550001', 'once');
    const isInserted = Promise.withResolvers<void>();
    const isWaitedFor = Promise.withResolvers<void>();
    const other = database.transaction(async (sql) => {
      await sql.query(
        `INSERT INTO messages (id, workspace_id, channel_id, direction, author, type, provider_message_id, sent_at, place, received_at, raw)
         VALUES ($1, $2, $3, 'inbound', 'contact', 'text', $4, now(), 0, now(), '{}')`,
        [newId(), channel.workspaceId, channel.channelId, message.id],
      );
      isInserted.resolve();
      await isWaitedFor.promise;
    });
    await isInserted.promise;
    const stored = store(body([message]));
    const refused = expect(stored).rejects.toMatchObject({ kind: 'transient', code: 'message_inserted_meanwhile' });
    const waiting = `SELECT FROM pg_stat_activity WHERE application_name = 'ingest-spec' AND wait_event = 'transactionid'`;
    await eventually(async () => (await database.query(waiting)).length > 0, { what: 'one waits for the other' });
    isWaitedFor.resolve();
    await other;
    await refused;
    expect(await conversations()).toEqual([]);
    expect(await verdicts()).toEqual([]);
    await store(body([message]));
    expect(await conversations()).toMatchObject([{ inbound_seq: 0 }]);
    expect(await verdicts()).toEqual(['repeated']);
  });

  it('keeps the raw JSON as it came, odd characters and unknown fields included', async () => {
    const message = text('15550001', 'a\u0000b', { brand_new: { deep: ['ü', '\ud800'] } });
    await store(body([message]));
    const [row] = await messages();
    expect(row?.['raw']).toEqual(message);
    expect(row?.['text']).toBe('ab');
  });

  it('stores what it does not know and does not number it', async () => {
    await store(
      body([
        { from: '15550001', id: wamid(), timestamp: 1, type: 'hologram', hologram: {} },
        { from: '15550001', timestamp: String(nowSeconds()), text: { body: 'no type, no id' } },
        {
          from: '15550001',
          id: wamid(),
          timestamp: String(nowSeconds()),
          type: 'reaction',
          reaction: { message_id: 'x' },
        },
        { from: '15550001', id: wamid(), timestamp: String(nowSeconds()), type: 'sticker', sticker: { id: '1' } },
      ]),
    );
    expect((await messages()).map((row) => [row['type'], row['number'], row['history_reason']])).toEqual([
      ['hologram', null, 'not_answerable'],
      ['unknown', null, 'not_answerable'],
      ['reaction', null, 'not_answerable'],
      ['sticker', null, 'not_answerable'],
    ]);
    expect(await conversations()).toMatchObject([{ inbound_seq: 0, due_at: null }]);
  });

  it('stores a file by what Meta says of it, and reads its caption as the question', async () => {
    const image = { id: 'm1', mime_type: 'image/jpeg', sha256: 'x', caption: 'How much is this?' };
    const audio = { id: 'm2', mime_type: 'audio/ogg; codecs=opus', voice: true };
    const sent = { from: '15550001', timestamp: String(nowSeconds()) };
    await store(
      body([
        { ...sent, id: wamid(), type: 'image', image },
        { ...sent, id: wamid(), type: 'audio', audio },
      ]),
    );
    expect(await messages()).toMatchObject([
      { number: 1, type: 'image', text: 'How much is this?', media_state: 'not_fetched', raw: { image } },
      { number: 2, type: 'audio', text: null, media_state: 'not_fetched', raw: { audio } },
    ]);
  });

  it('says that a conversation began, once', async () => {
    await store(body([text('15550001', 'one'), text('15550001', 'two')]));
    await store(body([text('15550001', 'three')]));
    expect((await events()).map(({ payload }) => payload.type)).toEqual([
      'conversation_started',
      'message_received',
      'message_received',
      'message_received',
    ]);
  });

  it('shows a message that is older than 24 hours and does not answer it', async () => {
    await store(body([text('15550001', 'six days late', { timestamp: String(nowSeconds() - 6 * 86_400) })]));
    expect(await messages()).toMatchObject([{ number: null, history_reason: 'too_old' }]);
    expect(await conversations()).toMatchObject([{ inbound_seq: 0, due_at: null }]);
  });

  it('routes by phone number id among the numbers of the key, and drops what is for nobody with a verdict', async () => {
    const other = await seedChannel(database);
    await store(body([text('15550001', 'not yours')], {}, other.phoneNumberId));
    expect(await messages()).toHaveLength(0);
    expect(await database.query('SELECT 1 FROM messages WHERE channel_id = $1', [other.channelId])).toHaveLength(0);
    expect(await verdicts()).toEqual(['unknown_number']);
  });

  it('takes apart several entries, an empty entry and a value with only errors', async () => {
    const first = body([text('15550001', 'a')]);
    const second = body([text('15550002', 'b')]);
    await store({ ...first, entry: [...first.entry, { id: '2' }, { id: '3', changes: [] }, ...second.entry] });
    await store(body([], { errors: [{ code: 131000 }] }));
    expect(await messages()).toHaveLength(2);
    expect(await verdicts()).toEqual(['stored', 'ignored']);
  });

  it('stores 1,000 updates of one body', async () => {
    await store(
      body(Array.from({ length: 1000 }, (_, place) => text(`1555${String(place % 7)}`, `m${String(place)}`))),
    );
    expect(await messages()).toHaveLength(1000);
    expect((await conversations()).map((row) => row['inbound_seq']).sort()).toEqual([
      142, 143, 143, 143, 143, 143, 143,
    ]);
  });

  it('stores the good items of a body when one cannot be stored, and keeps that one unparsed', async () => {
    const bad = text('15550001', 'too long an id', { id: `wamid.${'x'.repeat(20_000)}${Math.random().toString()}` });
    bad.id = Array.from({ length: 20_000 }, () => Math.random().toString(36)[2]).join('');
    await store(body([text('15550001', 'good'), bad, text('15550002', 'good too')]));
    const rows = await database.query('SELECT type, conversation_id FROM messages WHERE channel_id = $1 ORDER BY id', [
      channel.channelId,
    ]);
    expect(rows.map((row) => row['type'])).toEqual(['text', 'unparsed', 'text']);
    expect(await verdicts()).toEqual(['unparsed']);
  });

  it('stores a message that nests deeper than JSON can be written, without what is that deep, and those beside it', async () => {
    const deep = text('15550001', 'deep', { brand_new: 'here', known: { kept: [1] } });
    const content = body([text('15550001', 'good'), deep, text('15550002', 'good too')]);
    const nested = `${'['.repeat(60_000)}${']'.repeat(60_000)}`;
    await store(JSON.stringify(content).replace('"here"', nested));
    const rows = await messages();
    expect(rows.map((row) => [row['text'], row['number']])).toEqual([
      ['good', 1],
      ['deep', 2],
      ['good too', 1],
    ]);
    expect(rows[1]?.['raw']).toMatchObject({ id: deep.id, known: { kept: [1] } });
    expect(await verdicts()).toEqual(['stored']);
  });

  it('keeps of the pricing of a status what Postgres can keep, and lets the status take effect', async () => {
    const status = { id: wamid(), status: 'sent', timestamp: '1790000000', recipient_id: '15550001' };
    const priced = JSON.stringify({ ...status, pricing: { category: 'a\u0000b', type: 'regular', brand_new: 'here' } });
    const nested = `${'['.repeat(60_000)}${']'.repeat(60_000)}`;
    const content = JSON.stringify(body([], { messages: undefined, statuses: ['status'] }));
    await store(content.replace('"status"', priced.replace('"here"', nested)));
    expect(
      await database.query('SELECT status, pricing FROM statuses WHERE channel_id = $1', [channel.channelId]),
    ).toMatchObject([{ status: 'sent', pricing: { category: 'ab', type: 'regular' } }]);
    expect(await verdicts()).toEqual(['stored']);
  });

  it('keeps nothing of a delivery of our own but the verdict, whatever it holds', async () => {
    await store({ ...body([text('15550001', 'not a message')]), object: 'answerline_self_test' });
    expect([await verdicts(), await messages(), await events()]).toEqual([['self_test'], [], []]);
  });

  it('notes the first event of a channel, once for the key that it has', async () => {
    const heard = async () => {
      const [row] = await database.query<{ heard_key_id: string | null; heard_at: Date | null }>(
        'SELECT heard_key_id, heard_at FROM channels WHERE id = $1',
        [channel.channelId],
      );
      return row;
    };
    await database.query('UPDATE channels SET heard_key_id = NULL, heard_at = NULL WHERE id = $1', [channel.channelId]);
    await store({ ...body([]), object: 'answerline_self_test' });
    await store(body([text('15550001', 'to another number')], {}, '999'));
    expect(await heard()).toEqual({ heard_key_id: null, heard_at: null });
    await store(body([], { statuses: [{ id: wamid(), status: 'sent', timestamp: '1790000000' }] }));
    const first = await heard();
    expect(first).toEqual({ heard_key_id: channel.keyId, heard_at: expect.any(Date) });
    await store(body([text('15550001', 'Hi')]));
    expect(await heard()).toEqual(first);
  });

  it('refuses a body that is no JSON with a code', async () => {
    await expect(store('{"entry": [')).rejects.toMatchObject({ code: 'webhook_not_json', kind: 'invalid_input' });
  });
});

describe('edits and revokes', () => {
  const edit = (from: string, original: string, newText: string) => ({
    from,
    id: wamid(),
    timestamp: String(nowSeconds()),
    type: 'edit',
    edit: { original_message_id: original, message: { type: 'text', text: { body: newText } } },
  });
  const revoke = (from: string, original: string) => ({
    from,
    id: wamid(),
    timestamp: String(nowSeconds()),
    type: 'revoke',
    revoke: { original_message_id: original },
  });

  it('an edit of a message not yet answered changes its text and raises inbound_seq', async () => {
    const message = text('15550001', 'befor');
    await store(body([message]));
    await store(body([edit('15550001', message.id, 'before')]));
    expect((await messages())[0]).toMatchObject({ text: 'before', number: 1 });
    expect((await messages())[0]?.['edited_at']).toBeInstanceOf(Date);
    expect(await conversations()).toMatchObject([{ inbound_seq: 2 }]);
  });

  it('an edit of an answered message is only shown', async () => {
    const message = text('15550001', 'old');
    await store(body([message]));
    await database.query('UPDATE conversations SET answered_seq = 1, due_at = NULL WHERE channel_id = $1', [
      channel.channelId,
    ]);
    await store(body([edit('15550001', message.id, 'new')]));
    expect((await messages())[0]).toMatchObject({ text: 'new' });
    expect(await conversations()).toMatchObject([{ inbound_seq: 1, due_at: null }]);
  });

  it('an edit or revoke that comes before its original waits for it, in one batch or in two', async () => {
    const first = text('15550001', 'firts');
    const second = text('15550001', 'gone');
    await store(body([edit('15550001', first.id, 'first')]), body([revoke('15550001', second.id)]));
    await store(body([first]), body([second]));
    const rows = (await messages()).filter((row) => row['type'] === 'text');
    expect(rows).toMatchObject([{ text: 'first', revoked_at: null }, { text: 'gone' }]);
    expect(rows[1]?.['revoked_at']).toBeInstanceOf(Date);

    const third = text('15550001', 'thrid');
    await store(body([edit('15550001', third.id, 'third'), third]));
    expect((await messages()).at(-1)).toMatchObject({ text: 'third' });
  });

  it('nobody can edit or revoke what somebody else wrote', async () => {
    const message = text('15550001', 'mine');
    await store(body([message]));
    await store(body([edit('15550009', message.id, 'hijacked'), revoke('15550009', message.id)]));
    expect((await messages())[0]).toMatchObject({ text: 'mine', edited_at: null, revoked_at: null });
  });
});

describe('who wrote', () => {
  it('a contact with a user id and no number can be answered', async () => {
    await store(
      body([{ ...text('', 'hi'), from: undefined, from_user_id: 'US.123' }], {
        contacts: [{ profile: { name: 'Customer E', username: 'e' }, user_id: 'US.123' }],
      }),
    );
    expect(await messages()).toMatchObject([{ number: 1, reply_to: 'US.123' }]);
  });

  it.each([
    ['Brazil', '551187654321', '5511987654321'],
    ['Mexico', '5215512345678', '525512345678'],
    ['Argentina', '5491112345678', '541112345678'],
  ])('the two spellings of a number in %s are one contact, and each is replied to as it came', async (_, one, two) => {
    await store(body([text(one, 'first')]));
    await store(body([text(two, 'second')]));
    expect(await conversations()).toHaveLength(1);
    expect((await identities()).map((row) => row['value'])).toEqual([one, two]);
    expect((await messages())[1]).toMatchObject({ reply_to: two, number: 2 });
  });

  it('two contacts that prove to be one: the address moves to the older, both conversations stay', async () => {
    await store(body([text('15550001', 'by number')]));
    await store(body([{ ...text('', 'by id'), from: undefined, from_user_id: 'US.9' }]));
    await store(body([{ ...text('15550001', 'both'), from_user_id: 'US.9' }]));
    expect(await conversations()).toHaveLength(2);
    const rows = await identities();
    expect(new Set(rows.map((row) => row['contact_id'])).size).toBe(1);
    expect((await conversations()).map((row) => row['inbound_seq'])).toEqual([2, 1]);
  });

  it('a changed number takes effect: replies go to the new one', async () => {
    await store(body([text('15550001', 'old number')]));
    await store(
      body([
        {
          from: '15550001',
          id: wamid(),
          timestamp: String(nowSeconds()),
          type: 'system',
          system: { type: 'user_changed_number', wa_id: '15550002', body: 'changed' },
        },
      ]),
    );
    expect((await messages())[0]).toMatchObject({ reply_to: '15550002' });
    await store(body([text('15550002', 'new number')]));
    expect(await conversations()).toHaveLength(1);
  });

  it('a changed user id takes effect, by system message or by its own field', async () => {
    const byId = (id: string, content: string) => ({ ...text('', content), from: undefined, from_user_id: id });
    await store(body([byId('US.1', 'hello')]));
    await store({
      object: 'whatsapp_business_account',
      entry: [
        {
          id: '1',
          changes: [
            {
              field: 'user_id_update',
              value: {
                messaging_product: 'whatsapp',
                metadata: { display_phone_number: '1', phone_number_id: channel.phoneNumberId },
                user_id_update: [{ user_id: { previous: 'US.1', current: 'US.2' }, timestamp: String(nowSeconds()) }],
              },
            },
          ],
        },
      ],
    });
    expect((await messages())[0]).toMatchObject({ reply_to: 'US.2' });
    await store(body([byId('US.2', 'same person')]));
    expect(await conversations()).toHaveLength(1);
  });

  it('many processes that meet the same new contacts make each once', async () => {
    const bodies = Array.from({ length: 40 }, (_, place) =>
      body([text(`1556000${String(place % 5)}`, `m${String(place)}`)]),
    );
    const results = await Promise.allSettled(bodies.map((content) => store(content)));
    // What met another is redone by the runner.
    for (const [place, result] of results.entries()) if (result.status === 'rejected') await store(bodies[place]);
    expect(await identities()).toHaveLength(5);
    expect((await conversations()).map((row) => row['inbound_seq'])).toEqual([8, 8, 8, 8, 8]);
  });
});

describe('statuses', () => {
  it('keeps each once and leaves unknown ones unmatched, without text or number', async () => {
    const status = { id: 'wamid.x', status: 'sent', timestamp: String(nowSeconds()), recipient_id: '15550001' };
    await store(body([], { statuses: [status, { ...status, status: 'delivered' }] }));
    await store(body([], { statuses: [status] }));
    const rows = await database.query('SELECT * FROM statuses WHERE channel_id = $1 ORDER BY id', [channel.channelId]);
    expect(rows).toMatchObject([
      { status: 'sent', send_id: null },
      { status: 'delivered', send_id: null },
    ]);
    expect(await verdicts()).toEqual(['stored', 'repeated']);
  });
});

it('the log of deliveries names each body by its hash', async () => {
  const content = JSON.stringify(body([text('15550001', 'x')]));
  await store(content);
  const [row] = await database.query('SELECT * FROM webhook_log WHERE webhook_key_id = $1', [channel.keyId]);
  expect(row).toMatchObject({
    body_sha256: createHash('sha256').update(content).digest('hex'),
    found: 1,
    stored: 1,
    repeated: 0,
  });
});
