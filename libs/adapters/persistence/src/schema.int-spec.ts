import { createTestDatabase, seedChannel, seedConversation, seedReply, type TestDatabase } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createDataSource, Database, migrateDatabase } from './database.ts';
import { newId } from './ids.ts';

const schemaOf = async (database: Database): Promise<unknown[]> =>
  database.query(
    `SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
     WHERE table_schema = 'public' AND table_name <> 'migrations' ORDER BY 1, 2`,
  );

describe('migrations', () => {
  it('bring an empty database up, change nothing the second time, two at once included, and go down again', async () => {
    // An anonymous migration, so that this database was really migrated here and not copied from a template.
    const empty = await createTestDatabase();
    const dataSource = createDataSource({ url: empty.url, applicationName: 'schema-spec', poolSize: 2 });
    try {
      await Promise.all([migrateDatabase(empty.url), migrateDatabase(empty.url)]);
      const database = await Database.connect({ url: empty.url, applicationName: 'schema-spec' });
      const schema = await schemaOf(database);
      const ran = await database.query('SELECT name FROM migrations');
      expect(schema.length).toBeGreaterThan(200);
      await migrateDatabase(empty.url);
      expect(await schemaOf(database)).toEqual(schema);
      expect(await database.query('SELECT name FROM migrations')).toEqual(ran);

      await dataSource.initialize();
      for (const _ of ran) await dataSource.undoLastMigration();
      expect(await schemaOf(database)).toEqual([]);
      await migrateDatabase(empty.url);
      expect(await schemaOf(database)).toEqual(schema);
      await database.close();
    } finally {
      await dataSource.destroy().catch(() => undefined);
      await empty.drop();
    }
  });
});

describe('the schema', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(migrateDatabase);
    database = await Database.connect({ url: testDatabase.url, applicationName: 'schema-spec' });
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  it('is what the entities say', async () => {
    const { upQueries } = await database.dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
  });

  it('has a workspace on every table of a tenant', async () => {
    const rows = await database.query<{ table_name: string }>(
      `SELECT table_name FROM information_schema.tables t
       WHERE table_schema = 'public' AND NOT EXISTS (SELECT 1 FROM information_schema.columns c
         WHERE c.table_schema = 'public' AND c.table_name = t.table_name AND c.column_name = 'workspace_id')
       ORDER BY 1`,
    );
    expect(rows.map((row) => row.table_name)).toEqual([
      'gateway_heartbeats',
      'ingest_progress',
      'mail_setup',
      'migrations',
      'workspaces',
    ]);
  });

  it('points at parents within the workspace only: every foreign key between tenant tables carries it', async () => {
    const rows = await database.query<{ name: string }>(
      `SELECT c.conname AS name FROM pg_constraint c
       WHERE c.contype = 'f' AND c.confrelid <> 'workspaces'::regclass
         AND NOT EXISTS (SELECT 1 FROM pg_attribute a
           WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname = 'workspace_id')`,
    );
    expect(rows).toEqual([]);
  });

  it('has no foreign key from usage entries to contact or conversation: they outlive both', async () => {
    const conversation = await seedConversation(database, await seedChannel(database));
    const { turnId } = await seedReply(database, conversation);
    await database.query('DELETE FROM contacts WHERE id = $1', [conversation.contactId]);
    expect(await database.query('SELECT 1 FROM conversations WHERE id = $1', [conversation.conversationId])).toEqual(
      [],
    );
    for (const table of ['turns', 'replies', 'sends']) {
      expect(
        await database.query(`SELECT 1 FROM ${table} WHERE workspace_id = $1`, [conversation.workspaceId]),
      ).toEqual([]);
    }
    expect(await database.query('SELECT sign FROM usage_entries WHERE turn_id = $1', [turnId])).toEqual([{ sign: 1 }]);
  });

  it('refuses a row that points into another workspace', async () => {
    const [mine, theirs] = [await seedChannel(database), await seedChannel(database)];
    const theirConversation = await seedConversation(database, theirs);
    const refused = { code: '23503' };
    await expect(
      database.query(
        `INSERT INTO channels (id, workspace_id, chatbot_id, type, state) VALUES ($1, $2, $3, 'whatsapp', 'live')`,
        [newId(), mine.workspaceId, theirs.chatbotId],
      ),
    ).rejects.toMatchObject(refused);
    await expect(
      database.query(`INSERT INTO conversations (id, workspace_id, channel_id, contact_id) VALUES ($1, $2, $3, $4)`, [
        newId(),
        mine.workspaceId,
        mine.channelId,
        theirConversation.contactId,
      ]),
    ).rejects.toMatchObject(refused);
    await expect(
      database.query(
        `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
         VALUES ($1, $2, $3, 1, 1, 'replied', 1)`,
        [newId(), mine.workspaceId, theirConversation.conversationId],
      ),
    ).rejects.toMatchObject(refused);
    await expect(
      database.query('UPDATE conversations SET workspace_id = $1 WHERE id = $2', [
        mine.workspaceId,
        theirConversation.conversationId,
      ]),
    ).rejects.toMatchObject(refused);
  });

  it('keeps one conversation a contact and channel, one number a message, one reply a turn', async () => {
    const channel = await seedChannel(database);
    const conversation = await seedConversation(database, channel);
    const { turnId } = await seedReply(database, conversation);
    const unique = { code: '23505' };
    await expect(
      database.query(`INSERT INTO conversations (id, workspace_id, channel_id, contact_id) VALUES ($1, $2, $3, $4)`, [
        newId(),
        channel.workspaceId,
        channel.channelId,
        conversation.contactId,
      ]),
    ).rejects.toMatchObject(unique);
    await expect(
      database.query(
        `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text)
         VALUES ($1, $2, $3, $4, $5, 'ai', 'answer', '')`,
        [newId(), channel.workspaceId, channel.channelId, conversation.conversationId, turnId],
      ),
    ).rejects.toMatchObject(unique);
  });
});

describe('forWorkspace', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase(migrateDatabase);
    database = await Database.connect({ url: testDatabase.url, applicationName: 'schema-spec' });
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  it('finds, lists, changes and deletes only its own rows', async () => {
    const [mine, theirs] = [await seedChannel(database), await seedChannel(database)];
    const rows = database.forWorkspace(mine.workspaceId).chatbots;
    expect(await rows.find({ id: mine.chatbotId })).toMatchObject({ id: mine.chatbotId });
    expect(await rows.find({ id: theirs.chatbotId })).toBeNull();
    expect((await rows.page({}, { limit: 10 })).items.map(({ id }) => id)).toEqual([mine.chatbotId]);
    expect(await rows.update(theirs.chatbotId, { name: 'taken over' })).toBeNull();
    expect(await rows.delete(theirs.chatbotId)).toBe(false);
    const untouched = await database.forWorkspace(theirs.workspaceId).chatbots.find({ id: theirs.chatbotId });
    expect(untouched?.name).toBe('Seeded');
  });

  it('stays in its workspace when a caller names another one', async () => {
    const [mine, theirs] = [await seedChannel(database), await seedChannel(database)];
    const rows = database.forWorkspace(mine.workspaceId).chatbots;
    expect(await rows.find({ id: theirs.chatbotId, workspaceId: theirs.workspaceId })).toBeNull();
    expect((await rows.page({ workspaceId: theirs.workspaceId }, { limit: 10 })).items).toHaveLength(1);
    const stored = await rows.insert({ name: 'Second', workspaceId: theirs.workspaceId } as { name: string });
    expect(stored.workspaceId).toBe(mine.workspaceId);
    expect(await rows.update(stored.id, { name: 'Third', workspaceId: theirs.workspaceId })).toMatchObject({
      name: 'Third',
      workspaceId: mine.workspaceId,
    });
  });

  it('pages newest first, each row once', async () => {
    const { workspaceId } = await seedChannel(database);
    const rows = database.forWorkspace(workspaceId).chatbots;
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c', 'd']) ids.unshift((await rows.insert({ name })).id);
    const first = await rows.page({}, { limit: 2 });
    expect(first.items.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const second = await rows.page({}, { limit: 2, cursor: first.nextCursor ?? undefined });
    expect(second.items.map(({ id }) => id)).toEqual(ids.slice(2));
  });
});
