import { createHash, randomBytes } from 'node:crypto';
import {
  Database,
  DELETION_MARKS_PURPOSE,
  addDeletionMarks,
  messageMark,
  migrateDatabase,
} from '@answerline/persistence';
import { generateToken, SecretBox } from '@answerline/secrets';
import { createTestDatabase, eventually, seedChannel, type TestDatabase } from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { WebhookKeys } from '../receive-webhook/webhook-keys.ts';
import { RotateKeys, SEALED_COLUMNS } from './rotate-keys.ts';

const key = (id: string) => ({ id, key: randomBytes(32) });
const [k1, k2] = [key('k1'), key('k2')];
const before = new SecretBox([k1]);
/** What every process has by the time of the rotation. */
const rotated = new SecretBox([k2, k1]);
const after = new SecretBox([k2]);

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await connect();
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});
beforeEach(() => database.query('TRUNCATE workspaces CASCADE'));

const connect = (applicationName = 'rotate-spec') =>
  Database.connect({ url: testDatabase.url, applicationName, poolSize: 4 });

interface Channel {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly channelId: string;
  readonly plain: Readonly<Record<string, string>>;
  readonly keyHash: string;
}

/** A channel as it is connected, sealed with the first key. */
async function aChannel(box = before): Promise<Channel> {
  const { workspaceId, keyId, channelId } = await seedChannel(database);
  const plain = {
    key_ciphertext: generateToken(32),
    verify_token_ciphertext: generateToken(32),
    app_secret_ciphertext: randomBytes(16).toString('hex'),
    access_token_ciphertext: `EAA${randomBytes(20).toString('hex')}`,
  };
  const seal = (column: keyof typeof plain, table: string, rowId: string) =>
    box.seal(plain[column], { workspaceId, table, rowId, column });
  const hash = createHash('sha256').update(plain.key_ciphertext).digest();
  await database.query(
    `UPDATE webhook_keys SET key_hash = $2, key_ciphertext = $3, verify_token_ciphertext = $4, app_secret_ciphertext = $5
     WHERE id = $1`,
    [
      keyId,
      hash,
      seal('key_ciphertext', 'webhook_keys', keyId),
      seal('verify_token_ciphertext', 'webhook_keys', keyId),
      seal('app_secret_ciphertext', 'webhook_keys', keyId),
    ],
  );
  await database.query('UPDATE channels SET access_token_ciphertext = $2 WHERE id = $1', [
    channelId,
    seal('access_token_ciphertext', 'channels', channelId),
  ]);
  return { workspaceId, keyId, channelId, plain, keyHash: hash.toString('hex') };
}
async function someChannels(count: number): Promise<Channel[]> {
  const channels: Channel[] = [];
  for (let n = 0; n < count; n += 1) channels.push(await aChannel());
  return channels;
}

/** What a process reads that has this ring. */
async function opened({ workspaceId, keyId, channelId }: Channel, box: SecretBox): Promise<Record<string, string>> {
  const [row = {}] = await database.query<Record<string, string>>(
    `SELECT k.key_ciphertext, k.verify_token_ciphertext, k.app_secret_ciphertext, c.access_token_ciphertext
     FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id WHERE c.id = $1`,
    [channelId],
  );
  return Object.fromEntries(
    Object.entries(row).map(([column, ciphertext]) => {
      const isOfChannel = column === 'access_token_ciphertext';
      const place = {
        workspaceId,
        table: isOfChannel ? 'channels' : 'webhook_keys',
        rowId: isOfChannel ? channelId : keyId,
        column,
      };
      return [column, box.open(ciphertext, place)];
    }),
  );
}

describe('rotating the encryption keys', () => {
  it('knows every column that holds a ciphertext', async () => {
    const columns = await database.query<{ table_name: string; column_name: string }>(
      `SELECT table_name, column_name FROM information_schema.columns
       WHERE table_schema = 'public' AND column_name LIKE '%ciphertext%' ORDER BY 1, 2`,
    );
    const known = Object.entries(SEALED_COLUMNS).flatMap(([table, names]) => names.map((name) => `${table}.${name}`));
    expect(columns.map((row) => `${row.table_name}.${row.column_name}`)).toEqual(known.toSorted());
  });

  it('seals everything anew while processes read, and everything opens when the old key is gone', async () => {
    const channels = await someChannels(40);
    const keys = new WebhookKeys(database, rotated);
    let isOver = false;
    let reads = 0;
    const reader = (async () => {
      while (!isOver) {
        for (const channel of channels) {
          expect(await opened(channel, rotated)).toEqual(channel.plain);
          const record = await keys.lookup(channel.keyHash);
          expect(record?.unreadable).toBeUndefined();
          expect(record?.appSecret?.export().toString()).toBe(channel.plain['app_secret_ciphertext']);
          reads += 1;
        }
        keys.forgetOld();
      }
    })();
    await eventually(() => reads > 0, { what: 'somebody reads' });
    const result = await new RotateKeys(database, rotated).execute(7);
    isOver = true;
    await reader;
    expect(result).toEqual({ keyId: 'k2', resealed: 160, left: 0, marks: [] });
    for (const channel of channels) expect(await opened(channel, after)).toEqual(channel.plain);
    await expect(opened(channels[0] ?? (await aChannel()), before)).rejects.toMatchObject({
      code: 'secret_unreadable',
    });
    expect(await new RotateKeys(database, rotated).execute()).toMatchObject({ resealed: 0, left: 0 });
    // As a dump has it: every column of every row.
    const tables = await database.query<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'`,
    );
    for (const { name } of tables) {
      const [row] = await database.query<{ rows: string | null }>(
        `SELECT string_agg(t::text, ' ') AS rows FROM ${name} t`,
      );
      const planted = channels.flatMap(({ plain }) => Object.values(plain));
      const spelled = planted.flatMap((secret) => [
        secret,
        Buffer.from(secret).toString('hex'),
        Buffer.from(secret).toString('base64'),
      ]);
      expect(spelled.filter((secret) => row?.rows?.includes(secret))).toEqual([]);
    }
  });

  it('goes on where it was ended, and may run twice at once', async () => {
    const channels = await someChannels(30);
    const doomed = await connect('rotate-doomed');
    const last = channels.at(-1)?.channelId;
    await database.transaction(async (sql) => {
      await sql.query('SELECT id FROM channels WHERE id = $1 FOR UPDATE', [last]);
      const ended = expect(new RotateKeys(doomed, rotated).execute(5)).rejects.toMatchObject({ kind: 'transient' });
      const kill = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'rotate-doomed' AND wait_event_type = 'Lock'`;
      await eventually(async () => (await database.query(kill)).length > 0, { what: 'it is ended half-way' });
      await ended;
    });
    await doomed.close();
    const [done] = await database.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM channels WHERE starts_with(access_token_ciphertext, 'v1.k2.')`,
    );
    expect(done?.count).toBe(29);
    const runs = await Promise.all([1, 2].map(() => new RotateKeys(database, rotated).execute(5)));
    const total = runs.reduce((sum, { resealed }) => sum + resealed, 0);
    expect(total).toBe(1);
    expect(runs.every(({ left }) => left === 0)).toBe(true);
    for (const channel of channels) expect(await opened(channel, after)).toEqual(channel.plain);
  });

  it('leaves what somebody wrote meanwhile as it is', async () => {
    const channel = await aChannel();
    const place = {
      workspaceId: channel.workspaceId,
      table: 'channels',
      rowId: channel.channelId,
      column: 'access_token_ciphertext',
    };
    // Between the read and the write of the rotation stands a lock.
    const isWaiting = `SELECT FROM pg_stat_activity WHERE application_name = 'rotate-spec' AND wait_event_type = 'Lock'`;
    let run: Promise<unknown> | undefined;
    await database.transaction(async (sql) => {
      await sql.query('SELECT id FROM channels WHERE id = $1 FOR UPDATE', [channel.channelId]);
      run = new RotateKeys(database, rotated).execute();
      await eventually(async () => (await database.query(isWaiting)).length > 0, { what: 'the rotation waits' });
      await sql.query('UPDATE channels SET access_token_ciphertext = $2 WHERE id = $1', [
        channel.channelId,
        rotated.seal('newer', place),
      ]);
    });
    await run;
    expect((await opened(channel, after))['access_token_ciphertext']).toBe('newer');
  });

  it('says what does not open, and until when marks need the old key', async () => {
    const lost = await aChannel(new SecretBox([key('k0')]));
    const fine = await aChannel();
    const deletedAt = Date.UTC(2026, 10, 20);
    await database.transaction(async (sql) =>
      addDeletionMarks(sql, before.fingerprints(DELETION_MARKS_PURPOSE), {
        workspaceId: fine.workspaceId,
        deletedAt,
        marks: [messageMark('a'), messageMark('b'), messageMark('a')],
      }),
    );
    const result = await new RotateKeys(database, rotated).execute();
    expect(result).toEqual({
      keyId: 'k2',
      resealed: 4,
      left: 4,
      marks: [{ keyId: 'k1', count: 2, neededUntil: new Date(Date.UTC(2026, 10, 28)) }],
    });
    expect(await opened(fine, after)).toEqual(fine.plain);
    await expect(opened(lost, rotated)).rejects.toMatchObject({ code: 'secret_unreadable' });
  });
});
