import { createTestDatabase, seedChannel, type TestDatabase } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Client, Pool } from 'pg';
import { Database, migrateDatabase } from './database.ts';
import { PooledConnection } from './pooled-connection.ts';
import { type Sql, type Transaction } from './sql.ts';

let testDatabase: TestDatabase;
let other: Database;
/** Of one connection, so that whatever a failure leaves behind meets the next query. */
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  other = await Database.connect({ url: testDatabase.url, applicationName: 'transaction-spec-other', poolSize: 2 });
  await other.query('CREATE TABLE notes (id int PRIMARY KEY, text text)');
});
afterAll(async () => {
  await other.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await other.query('TRUNCATE notes');
  database = await Database.connect({ url: testDatabase.url, applicationName: 'transaction-spec', poolSize: 1 });
});
afterEach(() => database.close());

const note = { name: 'note', text: 'INSERT INTO notes (id, text) VALUES ($1, $2)' };
const failing = 'SELECT 1 / 0 AS nothing';
const divisionByZero = { code: '22012' };
const unavailable = { kind: 'transient', code: 'database_unavailable' };
const ids = async () => (await other.query<{ id: number }>('SELECT id FROM notes ORDER BY id')).map(({ id }) => id);
const backendOf = async (sql: Sql): Promise<number> =>
  (await sql.query<{ pid: number }>('SELECT pg_backend_pid() AS pid'))[0]?.pid ?? 0;
const kill = (pid: number) => other.query('SELECT pg_terminate_backend($1, 5000)', [pid]);

/** How often the driver was asked while `work` ran. */
async function roundTrips(work: () => Promise<unknown>): Promise<number> {
  const prototype = Client.prototype as unknown as { query: (this: Client, ...args: unknown[]) => unknown };
  const { query } = prototype;
  let count = 0;
  prototype.query = function (...args) {
    count += 1;
    return query.apply(this, args);
  };
  try {
    await work();
  } finally {
    prototype.query = query;
  }
  return count;
}

describe('round trips', () => {
  it('are one for what is given together, BEGIN with the first and COMMIT with what nobody waits for', async () => {
    const count = await roundTrips(() =>
      database.transaction(async (sql) => {
        sql.write(note, [1, 'one']);
        const [found, also] = await Promise.all([
          sql.query('SELECT id FROM notes'),
          sql.query('SELECT id + 1 AS id FROM notes'),
        ]);
        expect([found, also]).toEqual([[{ id: 1 }], [{ id: 2 }]]);
        sql.write(note, [2, 'two']);
        sql.write(note, [3, 'three']);
      }),
    );
    expect(count).toBe(2);
    expect(await ids()).toEqual([1, 2, 3]);
  });

  it('are none for a transaction without statements, and one for a query', async () => {
    expect(await roundTrips(() => database.transaction(async () => 'nothing'))).toBe(0);
    expect(await roundTrips(() => database.query('SELECT $1::int AS one', [1]))).toBe(1);
  });
});

describe('a statement that fails', () => {
  const cases: [string, (sql: Transaction) => Promise<unknown>][] = [
    ['first', (sql) => Promise.all([sql.query(failing), sql.query(note, [1, 'a']), sql.query(note, [2, 'b'])])],
    ['in the middle', (sql) => Promise.all([sql.query(note, [1, 'a']), sql.query(failing), sql.query(note, [2, 'b'])])],
    ['last', (sql) => Promise.all([sql.query(note, [1, 'a']), sql.query(note, [2, 'b']), sql.query(failing)])],
    [
      'with the commit',
      async (sql) => {
        await sql.query(note, [1, 'a']);
        sql.write(failing);
        sql.write(note, [2, 'b']);
      },
    ],
    [
      'before a query that would not',
      async (sql) => {
        sql.write(note, [1, 'a']);
        sql.write(failing);
        await sql.query(note, [2, 'b']);
      },
    ],
    [
      'and is passed over',
      async (sql) => {
        await sql.query(note, [1, 'a']);
        await sql.query(failing).catch(() => 'never mind');
        sql.write(note, [2, 'b']);
      },
    ],
    [
      'and is passed over, with more after it',
      async (sql) => {
        await sql.query(failing).catch(() => 'never mind');
        await sql.query(note, [1, 'a']);
      },
    ],
    [
      'while nobody looks',
      async (sql) => {
        void sql.query(note, [1, 'a']);
        void sql.query(failing);
        await Promise.resolve();
      },
    ],
  ];
  it.each(cases)('%s: its error comes out, nothing is stored, and the connection is as before', async (_, work) => {
    const pid = await backendOf(database);
    await expect(database.transaction(work)).rejects.toMatchObject(divisionByZero);
    expect(await ids()).toEqual([]);
    // What was prepared and what was passed over are both known as what they are.
    for (const id of [1, 2]) await database.transaction((sql) => sql.query(note, [id, 'again']));
    expect(await ids()).toEqual([1, 2]);
    expect(await backendOf(database)).toBe(pid);
  });

  it('on a unique value, prepared, in a transaction and alone', async () => {
    const pid = await backendOf(database);
    await database.query(note, [1, 'there']);
    for (let time = 0; time < 2; time += 1) {
      const twice = database.transaction(async (sql) => {
        sql.write(note, [2, 'new']);
        sql.write(note, [1, 'there']);
      });
      await expect(twice).rejects.toMatchObject({ code: '23505', constraint: 'notes_pkey' });
      await expect(database.query(note, [1, 'there'])).rejects.toMatchObject({ code: '23505' });
    }
    await database.query(note, [3, 'new']);
    expect(await ids()).toEqual([1, 3]);
    expect(await backendOf(database)).toBe(pid);
  });

  it('by not being SQL, under a name', async () => {
    const nonsense = { name: 'nonsense', text: 'SELECT FROM FROM' };
    for (let time = 0; time < 2; time += 1) {
      await expect(database.query(nonsense)).rejects.toMatchObject({ code: '42601' });
      const inTransaction = database.transaction((sql) =>
        Promise.all([sql.query(nonsense), sql.query(note, [1, 'a'])]),
      );
      await expect(inTransaction).rejects.toMatchObject({ code: '42601' });
    }
    expect(await ids()).toEqual([]);
  });

  it('because the driver cannot send it: the connection is not used again', async () => {
    const pid = await backendOf(database);
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    const transaction = database.transaction((sql) =>
      Promise.all([sql.query(note, [1, 'a']), sql.query(note, [2, circular]), sql.query(note, [3, 'c'])]),
    );
    await expect(transaction).rejects.toThrow('circular');
    expect(await ids()).toEqual([]);
    await database.query(note, [4, 'd']);
    expect(await ids()).toEqual([4]);
    expect(await backendOf(database)).not.toBe(pid);
  });

  it('as BEGIN: nothing behind it runs', async () => {
    const pool = new Pool({ connectionString: testDatabase.url, max: 1 });
    const connection = new PooledConnection(await pool.connect());
    const run = connection.run([
      { text: 'BEGIN ISOLATION LEVEL NONE' },
      { text: `INSERT INTO notes VALUES (1, 'kept')` },
    ]);
    await expect(run).rejects.toMatchObject({ code: '42601' });
    expect(await ids()).toEqual([]);
    connection.release();
    await pool.end();
  });
});

describe('a transaction that is given up', () => {
  it('takes nothing that is asked of it afterwards', async () => {
    const own = new TypeError('ours');
    const isOver = Promise.withResolvers<void>();
    let late: Promise<unknown> = Promise.resolve();
    const transaction = database.transaction(async (sql) => {
      late = isOver.promise.then(() => sql.query(note, [2, 'late']));
      await sql.query(note, [1, 'a']);
      sql.write(note, [3, 'never sent']);
      throw own;
    });
    await expect(transaction).rejects.toBe(own);
    isOver.resolve();
    await expect(late).rejects.toThrow('The transaction is over');
    expect(await database.query('SELECT id FROM notes')).toEqual([]);
  });

  it('while a statement is under way waits for that one', async () => {
    const own = new TypeError('ours');
    const transaction = database.transaction(async (sql) => {
      void sql.query(`INSERT INTO notes SELECT 1, pg_sleep(0.05)::text`);
      await Promise.resolve();
      await Promise.resolve();
      throw own;
    });
    await expect(transaction).rejects.toBe(own);
    expect(await ids()).toEqual([]);
    expect(await database.isUp()).toBe(true);
  });

  it('after other work has gone by in between', async () => {
    const transaction = database.transaction(async (sql) => {
      await sql.query(note, [1, 'a']);
      expect(await ids()).toEqual([]);
      sql.write(note, [2, 'b']);
      await other.isUp();
      await Promise.reject(new RangeError('elsewhere'));
    });
    await expect(transaction).rejects.toBeInstanceOf(RangeError);
    expect(await ids()).toEqual([]);
  });
});

describe('a connection that is cut', () => {
  it('with several statements under way fails them all, and the commit', async () => {
    const results: unknown[] = [];
    const transaction = database.transaction(async (sql) => {
      const pid = await backendOf(sql);
      const asleep = [sql.query(note, [1, 'a']), sql.query('SELECT pg_sleep(20)'), sql.query(note, [2, 'b'])];
      await kill(pid);
      results.push(...(await Promise.allSettled(asleep)).map(({ status }) => status));
      sql.write(note, [3, 'c']);
    });
    await expect(transaction).rejects.toMatchObject(unavailable);
    expect(results).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await ids()).toEqual([]);
    expect(await database.isUp()).toBe(true);
  });

  it('before the commit is database_unavailable, and nothing is stored', async () => {
    const transaction = database.transaction(async (sql) => {
      const pid = await backendOf(sql);
      sql.write(note, [1, 'a']);
      await kill(pid);
    });
    await expect(transaction).rejects.toMatchObject(unavailable);
    expect(await ids()).toEqual([]);
    await database.query(note, [2, 'b']);
    expect(await ids()).toEqual([2]);
  });

  it('by the limit for idle transactions, between two statements', async () => {
    const transaction = database.transaction(async (sql) => {
      await sql.query(`SET LOCAL idle_in_transaction_session_timeout = 20`);
      const pid = await backendOf(sql);
      const isThere = () => other.query('SELECT FROM pg_stat_activity WHERE pid = $1', [pid]);
      while ((await isThere()).length > 0);
      await sql.query(note, [1, 'a']);
    });
    await expect(transaction).rejects.toMatchObject(unavailable);
    expect(await ids()).toEqual([]);
    expect(await database.isUp()).toBe(true);
  });
});

it('a statement that is cancelled is database_conflict, and what stood behind it did not run', async () => {
  const transaction = database.transaction(async (sql) => {
    const pid = await backendOf(sql);
    const asleep = Promise.all([sql.query('SELECT pg_sleep(20)'), sql.query(note, [1, 'a'])]);
    asleep.catch(() => undefined);
    const isAsleep = () =>
      other.query(`SELECT FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%'`, [pid]);
    while ((await isAsleep()).length === 0);
    await other.query('SELECT pg_cancel_backend($1)', [pid]);
    await asleep;
  });
  await expect(transaction).rejects.toMatchObject({ kind: 'transient', code: 'database_conflict' });
  expect(await ids()).toEqual([]);
});

it('a named statement is planned once, one without a name for its values', async () => {
  const named = { name: 'count-notes', text: 'SELECT count(*)::int AS n FROM notes WHERE id = ANY($1::int[])' };
  for (let time = 0; time < 3; time += 1) await database.query(named, [[1]]);
  const plans = 'SELECT generic_plans::int, custom_plans::int FROM pg_prepared_statements WHERE name = $1';
  expect(await database.query(plans, [named.name])).toEqual([{ generic_plans: 3, custom_plans: 0 }]);
  const mode = `SELECT current_setting('plan_cache_mode') AS mode`;
  expect(await database.query(`${mode} WHERE $1`, [true])).toEqual([{ mode: 'auto' }]);
  await expect(database.query(`${mode} WHERE 1 / $1::int = 1`, [0])).rejects.toMatchObject(divisionByZero);
  expect(await database.query(mode)).toEqual([{ mode: 'force_generic_plan' }]);
});

it('a plan that was made for a small table is made anew 10 s later', async () => {
  await other.query('CREATE TABLE growing (id int PRIMARY KEY) WITH (autovacuum_enabled = off)');
  await other.query('INSERT INTO growing VALUES (0)');
  await other.query('VACUUM ANALYZE growing');
  const pool = new Pool({
    connectionString: testDatabase.url,
    max: 1,
    options: '-c plan_cache_mode=force_generic_plan',
  });
  let now = 0;
  const connection = new PooledConnection(await pool.connect(), () => now);
  const find = { name: 'find', text: 'SELECT id FROM growing WHERE id = ANY($1::int[])', values: [[1]] };
  const plan = async () => {
    await connection.run([find]);
    const [explained] = await connection.run([{ text: `EXPLAIN EXECUTE find('{1}')` }]);
    return JSON.stringify(explained?.rows);
  };
  expect(await plan()).toContain('Seq Scan');
  await other.query('INSERT INTO growing SELECT generate_series(1, 20000)');
  now = 9_999;
  expect(await plan()).toContain('Seq Scan');
  now = 10_000;
  expect(await plan()).not.toContain('Seq Scan');
  connection.release();
  await pool.end();
});

it('rows come as the driver reads them', async () => {
  const { workspaceId } = await seedChannel(other);
  const rows = await database.transaction(async (sql) => {
    const [empty, nothing, some] = await Promise.all([
      sql.query(''),
      sql.query(`UPDATE workspaces SET name = name WHERE id = $1`, [workspaceId]),
      sql.query(
        `SELECT id, 1.5::float8 AS number, NULL AS none, '{"a":[1]}'::json AS json, ARRAY['x'] AS list
                 FROM workspaces WHERE id = $1`,
        [workspaceId],
      ),
    ]);
    return { empty, nothing, some };
  });
  expect(rows).toEqual({
    empty: [],
    nothing: [],
    some: [{ id: workspaceId, number: 1.5, none: null, json: { a: [1] }, list: ['x'] }],
  });
});
