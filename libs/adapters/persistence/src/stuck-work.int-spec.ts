import { createTestDatabase, seedChannel, type SeededChannel, type TestDatabase } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Database, migrateDatabase } from './database.ts';
import { newId } from './ids.ts';
import { findStuckWork } from './stuck-work.ts';

const olderThanMs = 5 * 60_000;

describe('findStuckWork', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  let channel: SeededChannel;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(migrateDatabase);
    database = await Database.connect({ url: testDatabase.url, applicationName: 'stuck-work-spec' });
    channel = await seedChannel(database);
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  const found = async () =>
    (await findStuckWork(database, { olderThanMs })).map(({ kind, id, state }) => ({ kind, id, state }));

  async function conversation(claims: number, dueMinutesAgo: number | null): Promise<string> {
    const [contactId, id] = [newId(), newId()];
    await database.query(`INSERT INTO contacts (id, workspace_id) VALUES ($1, $2)`, [contactId, channel.workspaceId]);
    await database.query(
      `INSERT INTO conversations (id, workspace_id, channel_id, contact_id, claims, due_at)
       VALUES ($1, $2, $3, $4, $5, now() - $6::int * interval '1 minute')`,
      [id, channel.workspaceId, channel.channelId, contactId, claims, dueMinutesAgo],
    );
    return id;
  }

  async function send(conversationId: string, position: number, phase: string, minutesAgo: number): Promise<void> {
    const replyId = newId();
    const { workspaceId, channelId } = channel;
    await database.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text)
       VALUES ($1, $2, $3, $4, 'ai', 'answer', 'planted text')`,
      [replyId, workspaceId, channelId, conversationId],
    );
    await database.query(
      `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, created_at)
       VALUES ($1, $2, $3, $4, $5, 1, $6, 'ai', 1, 'planted text', $7, now() - $8::int * interval '1 minute')`,
      [newId(), workspaceId, channelId, conversationId, replyId, position, phase, minutesAgo],
    );
  }

  it('finds what does not move on, oldest first, and leaves out what does', async () => {
    const moving = await conversation(1, 1);
    await conversation(0, null);
    await send(moving, 1, 'accepted', 60);
    await send(moving, 2, 'unknown', 1);
    expect(await found()).toEqual([]);

    const claimedAgain = await conversation(3, 1);
    const dueForLong = await conversation(0, 9);
    await send(moving, 3, 'unknown', 30);
    await database.query(
      `INSERT INTO outbox (workspace_id, event_id, subject, payload, created_at)
       SELECT $1, 'event ' || n, 'events.planted', '{}', now() - interval '1 hour' FROM generate_series(1, 2) n`,
      [channel.workspaceId],
    );
    expect(await found()).toEqual([
      { kind: 'outbox', id: null, state: '2 events wait' },
      { kind: 'send', id: moving, state: 'unknown' },
      { kind: 'turn', id: dueForLong, state: 'never claimed' },
      { kind: 'turn', id: claimedAgain, state: 'claimed 3 times' },
    ]);
    await database.query(`UPDATE channels SET send_hold_code = 'token_expired' WHERE id = $1`, [channel.channelId]);
    expect(await found()).toContainEqual({ kind: 'channel', id: channel.channelId, state: 'token_expired' });

    await database.query(
      `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, state, tries, due_at, error_code)
       VALUES ($1, $2, $3, 'lancedb', 1, 'building', 3, now() + interval '1 minute', 'embedder_unavailable')`,
      [newId(), channel.workspaceId, channel.chatbotId],
    );
    expect(await found()).toContainEqual({
      kind: 'index',
      id: channel.chatbotId,
      state: 'building, embedder_unavailable',
    });

    const mail = async (state: string, code: string | null): Promise<string> => {
      const id = newId();
      await database.query(
        `INSERT INTO mails (id, workspace_id, kind, about, dedupe_key, state, due_at, error_code)
         VALUES ($1, $2, 'handoff', '{}', $1::uuid::text, $3, CASE $3 WHEN 'pending' THEN now() - interval '1 hour' END, $4)`,
        [id, channel.workspaceId, state, code],
      );
      return id;
    };
    const waiting = await mail('pending', 'mail_not_configured');
    const failed = await mail('failed', 'no_recipient');
    await mail('failed', 'conversation_deleted');
    await mail('sent', null);
    expect((await found()).filter(({ kind }) => kind === 'mail')).toEqual([
      { kind: 'mail', id: waiting, state: 'handoff pending, mail_not_configured' },
      { kind: 'mail', id: failed, state: 'handoff failed, no_recipient' },
    ]);
  });
});
