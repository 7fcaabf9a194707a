import { createTestDatabase, seedChannel, seedConversation, type TestDatabase } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Database, migrateDatabase } from './database.ts';

let testDatabase: TestDatabase;
let database: Database;
let other: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  const { url } = testDatabase;
  database = await Database.connect({ url, applicationName: 'database-spec', poolSize: 3 });
  other = await Database.connect({ url, applicationName: 'database-spec-other', poolSize: 2 });
});
afterAll(async () => {
  await Promise.all([database.close(), other.close()]);
  await testDatabase.drop();
});

const backendOf = async (sql: Pick<Database, 'query'>): Promise<number> =>
  (await sql.query<{ pid: number }>('SELECT pg_backend_pid() AS pid'))[0]?.pid ?? 0;
const kill = (pid: number) => other.query('SELECT pg_terminate_backend($1, 5000)', [pid]);

describe('a connection that dies', () => {
  const unavailable = { kind: 'transient', code: 'database_unavailable' };

  it('in a transaction is database_unavailable, nothing of it is stored, and the pool recovers', async () => {
    const { workspaceId } = await seedChannel(database);
    const transaction = database.transaction(async (sql) => {
      await sql.query(`UPDATE workspaces SET name = 'half' WHERE id = $1`, [workspaceId]);
      await kill(await backendOf(sql));
      await sql.query('SELECT 1');
    });
    await expect(transaction).rejects.toMatchObject(unavailable);
    expect(await database.query('SELECT name FROM workspaces WHERE id = $1', [workspaceId])).toEqual([
      { name: 'Seeded' },
    ]);
    // Every connection of the pool works, the replaced one too.
    expect(await Promise.all([1, 2, 3].map(() => database.isUp()))).toEqual([true, true, true]);
  });

  it('between two statements is noticed at the next one', async () => {
    const killed = Promise.withResolvers<void>();
    const transaction = database.transaction(async (sql) => {
      await kill(await backendOf(sql));
      killed.resolve();
      await sql.query('SELECT 1');
    });
    await killed.promise;
    await expect(transaction).rejects.toMatchObject(unavailable);
    expect(await database.isUp()).toBe(true);
  });

  it('in the pool costs nobody a query', async () => {
    const pids = await Promise.all([1, 2, 3].map(() => database.transaction((sql) => backendOf(sql))));
    for (const pid of new Set(pids)) await kill(pid);
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => database.query('SELECT 1 AS one')));
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject(unavailable);
    }
    expect(await database.isUp()).toBe(true);
  });

  it('during a statement is database_unavailable', async () => {
    const started = Promise.withResolvers<number>();
    const transaction = database.transaction(async (sql) => {
      started.resolve(await backendOf(sql));
      await sql.query('SELECT pg_sleep(20)');
    });
    const ended = expect(transaction).rejects.toMatchObject(unavailable);
    await kill(await started.promise);
    await ended;
    expect(await database.isUp()).toBe(true);
  });
});

describe('transactions that meet', () => {
  it('a deadlock is database_conflict for one of them, and the other one commits', async () => {
    const channel = await seedChannel(database);
    const [one, two] = [await seedConversation(database, channel), await seedConversation(database, channel)];
    const oneIsLocked = Promise.withResolvers<void>();
    const twoIsLocked = Promise.withResolvers<void>();
    const touch = `UPDATE conversations SET claims = claims + 1 WHERE id = $1`;
    const results = await Promise.allSettled([
      database.transaction(async (sql) => {
        await sql.query(touch, [one.conversationId]);
        oneIsLocked.resolve();
        await twoIsLocked.promise;
        await sql.query(touch, [two.conversationId]);
      }),
      database.transaction(async (sql) => {
        await sql.query(touch, [two.conversationId]);
        twoIsLocked.resolve();
        await oneIsLocked.promise;
        await sql.query(touch, [one.conversationId]);
      }),
    ]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = results.find((result) => result.status === 'rejected');
    expect(refused?.reason).toMatchObject({ kind: 'transient', code: 'database_conflict' });
    const rows = await database.query('SELECT claims FROM conversations WHERE channel_id = $1', [channel.channelId]);
    expect(rows).toEqual([{ claims: 1 }, { claims: 1 }]);
  });

  it('what the work throws comes out as it is, and everything is rolled back', async () => {
    const { workspaceId } = await seedChannel(database);
    const own = new Error('connection to nowhere was closed on purpose');
    const transaction = database.transaction(async (sql) => {
      await sql.query(`UPDATE workspaces SET name = 'half' WHERE id = $1`, [workspaceId]);
      throw new TypeError('ours', { cause: own });
    });
    await expect(transaction).rejects.toBeInstanceOf(TypeError);
    expect(await database.query('SELECT name FROM workspaces WHERE id = $1', [workspaceId])).toEqual([
      { name: 'Seeded' },
    ]);
  });

  it('a broken rule of the schema is no reason to try again', async () => {
    await expect(database.query('INSERT INTO nothing_like_it VALUES (1)')).rejects.toMatchObject({ code: '42P01' });
    await expect(
      database.query(`INSERT INTO workspaces (id, name) VALUES (gen_random_uuid(), 'x')`),
    ).rejects.toMatchObject({ code: '23502' });
  });
});

it('a Postgres that is not there is database_unavailable, at the start and for migrations', async () => {
  const url = 'postgres://nobody:nothing@127.0.0.1:9/none';
  const unavailable = { kind: 'transient', code: 'database_unavailable' };
  await expect(Database.connect({ url, applicationName: 'spec' })).rejects.toMatchObject(unavailable);
  await expect(migrateDatabase(url)).rejects.toMatchObject(unavailable);
});
