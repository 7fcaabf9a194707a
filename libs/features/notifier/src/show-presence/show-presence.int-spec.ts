import { createLogger } from '@answerline/logging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedMessages,
  seedReply,
  startTestSandbox,
  type SeededChannel,
  type SeededConversation,
  type SeededMessage,
  type TestDatabase,
  type TestSandbox,
} from '@answerline/testing';
import { GraphClient } from '@answerline/whatsapp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ShowPresence } from './show-presence.ts';

let testDatabase: TestDatabase;
let database: Database;
let sandbox: TestSandbox;
let channel: SeededChannel;
let conversation: SeededConversation;
let showPresence: ShowPresence;
const DAY_MS = 24 * 60 * 60 * 1000;

beforeAll(async () => {
  [testDatabase, sandbox] = await Promise.all([createTestDatabase(migrateDatabase), startTestSandbox()]);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'presence-spec' });
  const graph = new GraphClient({ baseUrl: sandbox.url, version: 'v26.0' });
  showPresence = new ShowPresence(database, graph, sandbox.secrets, createLogger({ app: 'spec', level: 'silent' }));
});
afterAll(async () => {
  await closeOperatorConnections();
  await Promise.all([database.close(), sandbox.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  await sandbox.faults({});
  channel = await seedChannel(database);
  await sandbox.connect(database, channel);
  conversation = await seedConversation(database, channel);
});

/** Messages that Meta knows of too; gives our ids. */
async function receive(messages: readonly (SeededMessage | string)[], from = conversation): Promise<string[]> {
  const rows = await seedMessages(database, from, messages);
  for (const { providerMessageId } of rows) {
    const { phoneNumberId, address: waId } = from;
    await sandbox.control('POST', '/messages', { phoneNumberId, waId, text: 'x', id: providerMessageId });
  }
  return rows.map(({ id }) => id);
}
/** The calls that were made: which message was marked, and whether "typing…" was shown. */
async function shown(): Promise<{ text: string | null; typing: boolean }[]> {
  const calls = [...(await sandbox.calls(channel, 'read')), ...(await sandbox.calls(channel, 'typing'))];
  const rows = await database.query<{ provider_message_id: string; text: string | null }>(
    'SELECT provider_message_id, text FROM messages WHERE channel_id = $1',
    [channel.channelId],
  );
  const texts = new Map(rows.map((row) => [row.provider_message_id, row.text]));
  return calls
    .sort((a, b) => a.n - b.n)
    .map(({ wamid, kind }) => ({ text: texts.get(wamid) ?? null, typing: kind === 'typing' }));
}

describe('ticks and typing', () => {
  it('come in one call', async () => {
    await showPresence.execute(await receive(['hello']));
    expect(await shown()).toEqual([{ text: 'hello', typing: true }]);
  });

  it('are shown once for several messages of a conversation, at the newest, and for each conversation', async () => {
    const other = await seedConversation(database, channel);
    const ids = await receive([{ text: 'first', sentAgoMs: 2_000 }, { text: 'second', sentAgoMs: 1_000 }, 'third']);
    await showPresence.execute([...ids, ...(await receive(['other'], other))].reverse());
    expect((await shown()).sort((a, b) => String(a.text).localeCompare(String(b.text)))).toEqual([
      { text: 'other', typing: true },
      { text: 'third', typing: true },
    ]);
  });

  it('an older message that is told later gets its ticks, and no typing', async () => {
    const [first = ''] = await receive(['first', 'second']);
    await showPresence.execute([first]);
    expect(await shown()).toEqual([{ text: 'first', typing: false }]);
  });

  it('none are shown while a human holds: they would say that somebody has read it', async () => {
    const ids = await receive(['hello']);
    await database.query(`UPDATE conversations SET owner = 'human' WHERE id = $1`, [conversation.conversationId]);
    await showPresence.execute(ids);
    expect(await shown()).toEqual([]);
  });

  it.each([
    ['a channel that does not answer', 'UPDATE channels SET answers = false WHERE id = $1'],
    ['a channel on hold', `UPDATE channels SET send_hold_code = 'token_expired' WHERE id = $1`],
  ])('none are shown on %s', async (_, change) => {
    const ids = await receive(['hello']);
    await database.query(change, [channel.channelId]);
    await showPresence.execute(ids);
    expect(await shown()).toEqual([]);
  });

  it.each<[string, SeededMessage, boolean]>([
    ['six days late', { sentAgoMs: 6 * DAY_MS, isNumbered: false }, true],
    ['history', { isNumbered: false }, true],
    ['that came 21 s ago', { receivedAgoMs: 21_000 }, true],
    ['of 31 days ago', { sentAgoMs: 31 * DAY_MS, isNumbered: false }, false],
    ['without an id of Meta', { id: 'ab'.repeat(32) }, false],
    ['that is a reaction', { type: 'reaction', isNumbered: false }, false],
  ])('a message %s shows no typing (%#)', async (_, message, hasTicks) => {
    await showPresence.execute(await receive([{ text: 'it', ...message }]));
    expect(await shown()).toEqual(hasTicks ? [{ text: 'it', typing: false }] : []);
  });

  it.each([
    ['answered already', 'UPDATE conversations SET answered_seq = inbound_seq WHERE channel_id = $1'],
    [
      'the AI is off',
      'UPDATE chatbots SET ai_enabled = false WHERE id = (SELECT chatbot_id FROM channels WHERE id = $1)',
    ],
    ['the contact has opted out', 'UPDATE conversations SET opted_out_at = now() WHERE channel_id = $1'],
    [
      'the quota is used up',
      `INSERT INTO usage (workspace_id, month, used, "limit")
       SELECT workspace_id, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), 20000, 20000 FROM channels WHERE id = $1`,
    ],
  ])('no typing, only ticks, when %s', async (_, change) => {
    const ids = await receive(['hello']);
    await database.query(change, [channel.channelId]);
    await showPresence.execute(ids);
    expect(await shown()).toEqual([{ text: 'hello', typing: false }]);
  });

  it('a call that fails changes nothing and throws nothing', async () => {
    const ids = await receive(['hello']);
    await seedReply(database, conversation);
    await sandbox.faults({ expiredToken: true });
    await showPresence.execute(ids);
    await sandbox.faults({ cutBeforeAccept: 1 });
    await showPresence.execute([...ids, 'ab6bd1a3-0000-7000-8000-000000000000']);
    const [row] = await database.query('SELECT state, send_hold_code FROM channels WHERE id = $1', [channel.channelId]);
    expect(row).toEqual({ state: 'live', send_hold_code: null });
  });
});
