import { afterAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase } from './test-postgres.ts';

async function tablesOf(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ tablename: string }>(
      `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename`,
    );
    return rows.map((row) => row.tablename);
  } finally {
    await client.end();
  }
}

async function run(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

describe('createTestDatabase', () => {
  const drops: (() => Promise<void>)[] = [];
  afterAll(() => Promise.all(drops.map((drop) => drop())));

  it('makes databases that do not see each other', async () => {
    const [first, second] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    drops.push(first.drop, second.drop);
    await run(first.url, 'CREATE TABLE breads (id int)');
    expect(await tablesOf(first.url)).toEqual(['breads']);
    expect(await tablesOf(second.url)).toEqual([]);
  });

  it('runs a named migration once, however many databases are made at the same time', async () => {
    let runs = 0;
    async function migrateBakery(url: string): Promise<void> {
      runs += 1;
      await run(url, 'CREATE TABLE cakes (id int)');
    }
    const databases = await Promise.all([1, 2, 3].map(() => createTestDatabase(migrateBakery)));
    drops.push(...databases.map(({ drop }) => drop));
    expect(await Promise.all(databases.map(({ url }) => tablesOf(url)))).toEqual([['cakes'], ['cakes'], ['cakes']]);
    expect(runs).toBe(1);
  });

  it('starts over after a migration that failed', async () => {
    let broken = true;
    async function migrateOnSecondTry(url: string): Promise<void> {
      await run(url, 'CREATE TABLE rolls (id int)');
      if (broken) throw new Error('no flour');
    }
    await expect(createTestDatabase(migrateOnSecondTry)).rejects.toThrow('no flour');
    broken = false;
    const database = await createTestDatabase(migrateOnSecondTry);
    drops.push(database.drop);
    expect(await tablesOf(database.url)).toEqual(['rolls']);
  });

  it('runs an anonymous migration for each database', async () => {
    const database = await createTestDatabase((url) => run(url, 'CREATE TABLE pies (id int)'));
    drops.push(database.drop);
    expect(await tablesOf(database.url)).toEqual(['pies']);
  });
});
