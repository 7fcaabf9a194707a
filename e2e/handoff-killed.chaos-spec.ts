import { existsSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JournalEntry } from '@answerline/sandbox';
import { eventually, tempDir } from '@answerline/testing';
import { afterAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { call } from './chaos/http.ts';
import { openShops } from './chaos/shops.ts';
import { startCluster, type Cluster } from './cluster.ts';

const CONTACTS = 12;
const CONFIRMATION = 'Connecting you to a human agent…';
/** A call whose process was killed before Meta took it is made again after the proof of silence, 90 s, and the sweeps around it. */
const SETTLED_WITHIN_MS = 180_000;

let cluster: Cluster | undefined;
let database: pg.Client | undefined;
let blocker: pg.Client | undefined;
let passed = false;

afterAll(async () => {
  await Promise.all([database, blocker].map(async (client) => client?.end().catch(() => undefined)));
  await cluster?.stop();
  if (passed || !cluster || !existsSync(cluster.dir)) return;
  const kept = join(tmpdir(), `answerline-handoff-killed-${String(Date.now())}`);
  renameSync(cluster.dir, kept);
  process.stderr.write(`handoff: logs, journal and data are kept in ${kept}\n`);
}, 60_000);

it('kill -9 in the middle of a handoff leaves one confirmation, one mail and a silent AI', async () => {
  const at = (cluster = await startCluster({ dir: join(await tempDir(), 'cluster') }));
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: at.databaseUrl });
    await client.connect();
    return client;
  };
  database = await connect();
  blocker = await connect();
  const query = async <Row>(text: string): Promise<Row[]> => ((await database?.query(text))?.rows ?? []) as Row[];
  const count = async (from: string): Promise<number> =>
    (await query<{ n: number }>(`SELECT count(*)::int AS n FROM ${from}`))[0]?.n ?? 0;
  const bubbles = (): JournalEntry[] =>
    readFileSync(at.journalFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as JournalEntry)
      .filter(({ kind }) => kind === 'text');
  const control = (method: 'PUT' | 'POST', path: string, body: unknown): Promise<unknown> =>
    call(method, `${at.sandboxUrl}/sandbox${path}`, { body });

  const [shop] = await openShops(at, 1, { quietMs: 100, quietMaxMs: 1_000 });
  await control('PUT', '/limits', { pairRate: false });
  const contacts = Array.from({ length: CONTACTS }, (_, n) => `1202556${String(n).padStart(4, '0')}`);
  const write = (waIds: readonly string[], text: string): Promise<unknown> =>
    control('POST', '/messages', {
      messages: waIds.map((waId) => ({ phoneNumberId: shop?.phoneNumberId, waId, text })),
    });

  // rag dies while it stores handoffs: the last of what they write waits for a lock of ours.
  await blocker.query('BEGIN');
  await blocker.query('LOCK TABLE mails IN ACCESS EXCLUSIVE MODE');
  const [first, second] = [contacts.slice(0, CONTACTS / 2), contacts.slice(CONTACTS / 2)];
  await write(first, 'human please');
  await eventually(async () => (await count(`pg_locks WHERE NOT granted`)) > 0, {
    what: 'a handoff is in the middle of its transaction',
    timeoutMs: 20_000,
  });
  await at.kill('rag');
  await blocker.query('ROLLBACK');
  await at.restart('rag');
  await eventually(() => bubbles().length >= first.length, { what: 'all are confirmed', timeoutMs: 60_000 });

  // notifier dies while it calls Meta with confirmations.
  await control('PUT', '/faults', { kinds: ['text'], latencyMs: 4_000 });
  await write(second, 'speak to an agent');
  await eventually(async () => (await count(`attempts WHERE phase = 'calling'`)) > 0, {
    what: 'a confirmation is on its way',
    timeoutMs: 20_000,
  });
  await at.kill('notifier');
  await control('PUT', '/faults', {});
  await at.restart('notifier');
  await eventually(async () => (await count(`sends WHERE phase <> 'accepted'`)) === 0, {
    what: 'all are settled',
    timeoutMs: SETTLED_WITHIN_MS,
  });

  // The AI is silent, and says nothing more of it.
  await write(contacts, 'hello? human please');
  await eventually(async () => (await count(`messages WHERE history_reason = 'human_held'`)) === CONTACTS, {
    what: 'it is stored',
    timeoutMs: 20_000,
  });
  await write(['12025569999'], 'Do you have anything?');
  await eventually(() => bubbles().some(({ to }) => to === '+12025569999'), {
    what: 'somebody else is answered',
    timeoutMs: 20_000,
  });
  const said = bubbles().filter(({ to }) => to !== '+12025569999');
  expect(said.map(({ to }) => to).toSorted()).toEqual(contacts.map((waId) => `+${waId}`));
  expect(new Set(said.map(({ body }) => body))).toEqual(new Set([CONFIRMATION]));
  expect(await count(`mails WHERE kind = 'handoff'`)).toBe(CONTACTS);
  expect(await count(`turns WHERE outcome = 'handed_off'`)).toBe(CONTACTS);
  expect(
    await count(`conversations WHERE owner = 'human' AND epoch = 2 AND muted_until > now() + interval '23 hours'`),
  ).toBe(CONTACTS);
  passed = true;
}, 400_000);
