import { randomBytes } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { createLogger } from '@answerline/logging';
import { Database, DELETION_MARKS_PURPOSE, migrateDatabase } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { createTestDatabase, seedChannel, type SeededChannel, type TestDatabase } from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { StoreWebhooks } from './store-webhooks.ts';

const CONTACT = '12025550101';
const HOUR = 3_600;

let testDatabase: TestDatabase;
let database: Database;
let storeWebhooks: StoreWebhooks;
let channel: SeededChannel;
let sequence = 0;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'holder-spec' });
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

/** One body with these changes, in this order. */
async function store(...changes: { field: string; value: object }[]) {
  const content = { object: 'whatsapp_business_account', entry: [{ id: '1', changes }] };
  return storeWebhooks.execute([
    {
      subject: webhookSubject(channel.workspaceId, channel.keyId),
      data: Buffer.from(JSON.stringify(content)),
      messageId: null,
      headers: {},
      streamSequence: ++sequence,
      deliveryCount: 1,
      publishedAt: new Date(),
    },
  ]);
}
let ids = 0;
const secondsAgo = (seconds: number): string => String(Math.floor(Date.now() / 1000) - seconds);
const about = (value: object) => ({ metadata: { phone_number_id: channel.phoneNumberId }, ...value });
const written = (content: object | string, ago = 0) => ({
  from: CONTACT,
  id: `wamid.${String(++ids)}`,
  timestamp: secondsAgo(ago),
  ...(typeof content === 'string' ? { type: 'text', text: { body: content } } : content),
});
const messages = (...contents: (object | string)[]) => ({
  field: 'messages',
  value: about({ messages: contents.map((content) => written(content)) }),
});
const echo = (more: object = {}, ago = 0) => {
  const { from: to, ...message } = written('I will call you.', ago);
  return { field: 'smb_message_echoes', value: about({ message_echoes: [{ ...message, to, ...more }] }) };
};
const standby = (content: object | string, ago = 0) => ({
  field: 'standby',
  value: about({ standby: { messages: [written(content, ago)] } }),
});
const handover = (control: object, ago = 0) => ({
  field: 'messaging_handovers',
  value: {
    recipient: { phone_number_id: channel.phoneNumberId },
    sender: { phone_number: CONTACT },
    timestamp: secondsAgo(ago),
    control_passed: { metadata: String(++ids), ...control },
  },
});
const conversation = async () =>
  (await database.query('SELECT * FROM conversations WHERE channel_id = $1', [channel.channelId]))[0];
const stored = async () =>
  (
    await database.query<{ number: number | null; history_reason: string | null }>(
      'SELECT number, history_reason FROM messages WHERE channel_id = $1 ORDER BY id',
      [channel.channelId],
    )
  ).map(({ number, history_reason: reason }) => number ?? reason);
const turns = () =>
  database.query(
    `SELECT t.first_number, t.last_number, t.outcome FROM turns t JOIN conversations c ON c.id = t.conversation_id
     WHERE c.channel_id = $1 ORDER BY t.first_number`,
    [channel.channelId],
  );

describe('the word that ends the AI’s part', () => {
  it('closes what came before it, also in the same body, and what comes after the other word is answered', async () => {
    const { turnsDueInMs } = await store(messages('one', 'two', 'stop', 'three', 'start', 'four'));
    expect(await stored()).toEqual([1, 2, 'opted_out', 'opted_out', 'opted_out', 3]);
    expect(await turns()).toEqual([{ first_number: 1, last_number: 2, outcome: 'opted_out' }]);
    expect(await conversation()).toMatchObject({ owner: 'ai', epoch: 2, answered_seq: 2, opted_out_at: null });
    expect(turnsDueInMs).toHaveLength(1);
  });

  it('leaves nothing due', async () => {
    const { turnsDueInMs } = await store(messages('one', 'Baja.'));
    expect(turnsDueInMs).toEqual([]);
    expect(await conversation()).toMatchObject({ due_at: null, opted_out_at: expect.any(Date) });
  });

  it('may be tapped, and is noted whoever holds the conversation', async () => {
    await store(echo());
    const button = {
      type: 'interactive',
      interactive: { type: 'button_reply', button_reply: { id: 'x', title: 'STOP' } },
    };
    await store(messages(button));
    expect(await conversation()).toMatchObject({ owner: 'human', opted_out_at: expect.any(Date) });
    await store(messages('alta'));
    expect(await conversation()).toMatchObject({ owner: 'human', opted_out_at: null });
  });

  it.each([
    ['a caption', { type: 'image', image: { id: '1', caption: 'stop' } }],
    ['something in a group', { type: 'text', text: { body: 'stop' }, group_id: 'g' }],
    ['a reaction', { type: 'reaction', reaction: { message_id: 'wamid.0', emoji: 'stop' } }],
  ])('is not %s', async (_what, content) => {
    await store(messages(content));
    expect(await conversation()).toMatchObject({ opted_out_at: null, epoch: 1 });
  });

  it('that begins it again is an ordinary message to who never ended it', async () => {
    await store(messages('start'));
    expect(await stored()).toEqual([1]);
    expect(await conversation()).toMatchObject({ epoch: 1 });
  });
});

describe('an echo', () => {
  it('silences the AI for 24 hours from when it was said, and each one anew', async () => {
    await store(messages('one'));
    await store(echo({}, 2 * HOUR));
    const [{ left } = { left: 0 }] = await database.query<{ left: number }>(
      `SELECT extract(epoch FROM muted_until - now())::int AS left FROM conversations WHERE channel_id = $1`,
      [channel.channelId],
    );
    expect(Math.abs(left - 22 * HOUR)).toBeLessThan(60);
    expect(await turns()).toEqual([{ first_number: 1, last_number: 1, outcome: 'human_held' }]);
    await store(echo(), messages('two'));
    expect(await conversation()).toMatchObject({ owner: 'human', held_by: 'human', epoch: 3 });
    expect(await stored()).toEqual([1, null, null, 'human_held']);
  });

  it('of a contact who never wrote begins a conversation that a human holds', async () => {
    await store(echo());
    expect(await conversation()).toMatchObject({ owner: 'human', reply_to_identity_id: null });
    await store(messages('Yes?'));
    expect(await stored()).toEqual([null, 'human_held']);
  });

  it.each([
    ['that is older than a day', {}, 25 * HOUR],
    ['into a group', { group_id: 'g' }, 0],
  ])('%s changes nothing', async (_what, more, ago) => {
    await store(messages('one'));
    await store(echo(more, ago));
    expect(await conversation()).toMatchObject({ owner: 'ai', epoch: 1 });
  });

  it('that comes twice counts once', async () => {
    const change = echo();
    await store(change);
    await store({ ...change });
    expect(await conversation()).toMatchObject({ epoch: 2 });
  });
});

describe('Meta’s own agent', () => {
  it('takes a conversation by what it hears, and by word', async () => {
    await store(standby('Open?'));
    expect(await conversation()).toMatchObject({ owner: 'human', held_by: 'meta_agent' });
    channel = await seedChannel(database);
    await store(messages('one'), handover({ new_owner_role: 'ai_agent' }));
    expect(await conversation()).toMatchObject({ owner: 'human', held_by: 'meta_agent', due_at: null });
  });

  it.each([
    ['before', (heard: object, given: object) => [heard, given]],
    ['after', (heard: object, given: object) => [given, heard]],
  ])('has given it up though what it heard before comes %s that, in one body', async (_when, order) => {
    await store(messages('one'));
    await store(...(order(standby('two', 20), handover({}, 10)) as { field: string; value: object }[]));
    expect(await conversation()).toMatchObject({ owner: 'ai' });
    await store(messages('three'));
    expect((await stored()).at(-1)).toBe(2);
  });

  it('does not give away what a human holds', async () => {
    await store(standby('Open?'), echo(), handover({}));
    expect(await conversation()).toMatchObject({ owner: 'human', held_by: 'human' });
  });

  it('may take again what a human’s time is over for', async () => {
    await store(echo());
    await database.query(`UPDATE conversations SET muted_until = now() WHERE channel_id = $1`, [channel.channelId]);
    await store(standby('Open?'));
    expect(await conversation()).toMatchObject({ owner: 'human', held_by: 'meta_agent' });
    await store(handover({}));
    expect(await conversation()).toMatchObject({ owner: 'ai', held_by: null });
  });

  it('hears a contact who wants no AI', async () => {
    await store(standby('STOP'));
    expect(await conversation()).toMatchObject({ held_by: 'meta_agent', opted_out_at: expect.any(Date) });
  });
});
