import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { eventually, freePort, startAndAbandon, tempDir } from '@answerline/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import {
  runningPostgresUrl,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from './postgres.ts';

async function query<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  // Postgres ends sessions when it stops; here that is not news.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('startEmbeddedPostgres', () => {
  let dataDir: string;
  const running: EmbeddedPostgres[] = [];
  const start = async (options: Partial<EmbeddedPostgresOptions> = {}) => {
    const postgres = await startEmbeddedPostgres({ dataDir, ...options });
    running.push(postgres);
    return postgres;
  };

  beforeEach(async () => {
    dataDir = join(await tempDir(), 'postgres');
  });
  afterEach(() => Promise.all(running.splice(0).map((postgres) => postgres.stop())));

  it('makes a durable UTF-8 database that only the holder of its password can open', async () => {
    const progress: string[] = [];
    const { url } = await start({ onProgress: (line) => progress.push(line) });
    expect(progress).toContain('Making a new Postgres data folder');
    const [row] = await query(
      url,
      `SELECT current_database() AS name, pg_encoding_to_char(encoding) AS encoding, datlocale AS locale,
              current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit
       FROM pg_database WHERE datname = current_database()`,
    );
    expect(row).toEqual({ name: 'answerline', encoding: 'UTF8', locale: 'C.UTF-8', fsync: 'on', commit: 'on' });
    expect((await stat(join(dataDir, 'password'))).mode & 0o777).toBe(0o600);
    const wrong = new URL(url);
    wrong.password = 'guessed';
    await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
  });

  it('tells another process where it runs, and nothing once it has stopped', async () => {
    expect(runningPostgresUrl(dataDir)).toBeUndefined();
    const postgres = await start();
    expect(runningPostgresUrl(dataDir)).toBe(postgres.url);
    await postgres.stop();
    expect(runningPostgresUrl(dataDir)).toBeUndefined();
  });

  it('keeps the data when it is stopped and started again', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE breads AS SELECT 1 AS id');
    await first.stop();
    expect(await first.exited).toEqual({ code: 0, signal: null });
    const second = await start();
    expect(await query(second.url, 'SELECT id FROM breads')).toEqual([{ id: 1 }]);
  });

  it('keeps the data when Postgres itself is killed', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE breads AS SELECT 1 AS id');
    process.kill(first.pid, 'SIGKILL');
    expect((await first.exited).signal).toBe('SIGKILL');
    const second = await start({ port: Number(new URL(first.url).port) });
    expect(await query(second.url, 'SELECT id FROM breads')).toEqual([{ id: 1 }]);
  });

  it('stops the Postgres of a run that was killed, and takes over its folder and port', async () => {
    const port = await freePort();
    const orphan = await startAndAbandon('startEmbeddedPostgres', { dataDir, port });
    expect(isAlive(orphan.pid)).toBe(true);
    const progress: string[] = [];
    const { url } = await start({ port, onProgress: (line) => progress.push(line) });
    expect(progress).toEqual([`Stopping a Postgres that an earlier run left behind (process ${orphan.pid})`]);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await eventually(() => !isAlive(orphan.pid), { what: 'the orphan is gone' });
  });

  it('finds an orphan by its lock file when the record of it is lost', async () => {
    const orphan = await startAndAbandon('startEmbeddedPostgres', { dataDir });
    await rm(join(dataDir, 'process.json'));
    await start();
    await eventually(() => !isAlive(orphan.pid), { what: 'the orphan is gone' });
  });

  it('ignores a lock file whose process number now belongs to another program', async () => {
    await (await start()).stop();
    const data = join(dataDir, 'data');
    // Of the same user, else Postgres sees by itself that it cannot be a Postgres.
    const other = spawn('sleep', ['60'], process.getuid?.() === 0 ? { uid: (await stat(data)).uid } : {});
    try {
      await writeFile(join(data, 'postmaster.pid'), `${other.pid}\n${data}\n`);
      await start();
      expect(other.signalCode).toBeNull();
    } finally {
      other.kill();
    }
  });

  it('waits for the workers of a killed Postgres to let go of its memory', async () => {
    const first = await start();
    const [worker] = await query<{ pid: number }>(
      first.url,
      `SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`,
    );
    const workerPid = worker?.pid ?? Number.NaN;
    process.kill(workerPid, 'SIGSTOP');
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    const second = start();
    try {
      const log = () => readFile(join(dataDir, 'postgres.log'), 'utf8');
      await eventually(async () => (await log()).includes('shared memory block'), { what: 'a start is refused' });
    } finally {
      process.kill(workerPid, 'SIGCONT');
    }
    expect(await query((await second).url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts over when making the data folder was interrupted', async () => {
    await mkdir(join(dataDir, 'data.new/base'), { recursive: true });
    const { url } = await start();
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('refuses a folder that is in use, and leaves its Postgres alone', async () => {
    const first = await start();
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({
      code: 'data_dir_in_use',
      message: expect.stringContaining(`${dataDir} is in use by process ${process.pid}`),
    });
    expect(await query(first.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('says which port is in use and which setting changes it', async () => {
    const port = await freePort();
    const other = createServer().listen(port, '127.0.0.1').unref();
    await expect(start({ port, portSetting: 'POSTGRES_PORT' })).rejects.toMatchObject({
      code: 'port_unavailable',
      message: `Port ${port}, wanted for Postgres, is in use by another program. Free it or change POSTGRES_PORT.`,
    });
    await new Promise((resolve) => other.close(resolve));
    await start({ port });
  });

  it('refuses data of another Postgres version', async () => {
    await (await start()).stop();
    await writeFile(join(dataDir, 'data/PG_VERSION'), '17\n');
    await expect(start()).rejects.toMatchObject({ code: 'data_dir_version' });
  });

  it('says when the password file is gone', async () => {
    await (await start()).stop();
    await rename(join(dataDir, 'password'), join(dataDir, 'elsewhere'));
    await expect(start()).rejects.toMatchObject({ code: 'postgres_password_missing' });
  });

  it('starts in a folder whose parent is closed to other users', async () => {
    const closed = await tempDir();
    await chmod(closed, 0o700);
    const { url } = await start({ dataDir: join(closed, 'postgres') });
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect((await stat(closed)).mode & 0o777).toBe(0o700);
  });

  it('writes no values into its log', async () => {
    const { url, stop } = await start();
    await query(url, 'CREATE TABLE contacts (phone text PRIMARY KEY)');
    const insert = `INSERT INTO contacts VALUES ('planted-4917')`;
    await query(url, insert);
    await expect(query(url, insert)).rejects.toThrow('duplicate key');
    await expect(query(url, `SELECT 'planted-4917'::int`)).rejects.toThrow('invalid input syntax');
    await stop();
    const log = await readFile(join(dataDir, 'postgres.log'), 'utf8');
    expect(log).toContain('database system is shut down');
    expect(log).not.toContain('planted');
  });
});
