import { existsSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type JournalEntry } from '@answerline/sandbox';
import { eventually, tempDir } from '@answerline/testing';
import { afterAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { call } from './chaos/http.ts';
import { openShops } from './chaos/shops.ts';
import { startCluster, type Cluster } from './cluster.ts';

/** People who each write once; their replies are the sends between whose claim and call the notifier is halted. */
const SENDERS = 150;
/** Longer than a call may start after its claim (5 s), and longer than a call takes to be given up for lost (20 s). */
const NOTIFIER_HALTED_MS = 30_000;
/** Longer than the proof of silence takes (90 s) with the sweeps around it. */
const INGEST_HALTED_MS = 120_000;
/** What had left the notifier before it was halted has reached Graph by then. */
const ARRIVED_MS = 300;
/** What Graph takes is told later than ingest is halted. */
const statusDelaysMs = { sent: 4_000, delivered: 4_500, read: 5_000 };

let cluster: Cluster | undefined;
let database: pg.Client | undefined;
let passed = false;

afterAll(async () => {
  await database?.end().catch(() => undefined);
  await cluster?.stop();
  if (passed || !cluster || !existsSync(cluster.dir)) return;
  const kept = join(tmpdir(), `answerline-halted-${String(Date.now())}`);
  renameSync(cluster.dir, kept);
  process.stderr.write(`halted: logs, journal and data are kept in ${kept}\n`);
}, 60_000);

it('a notifier that is halted for 30 s between claim and call, and an ingest that is halted for 120 s after a call was cut: each reply is accepted once', async () => {
  const at = (cluster = await startCluster({ dir: join(await tempDir(), 'cluster') }));
  database = new pg.Client({ connectionString: at.databaseUrl });
  await database.connect();
  const query = async <Row>(text: string, values: unknown[] = []): Promise<Row[]> =>
    ((await database?.query(text, values))?.rows ?? []) as Row[];
  const control = (method: 'PUT' | 'POST', path: string, body: unknown): Promise<unknown> =>
    call(method, `${at.sandboxUrl}/sandbox${path}`, { body });
  const calls = (): JournalEntry[] =>
    readFileSync(at.journalFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as JournalEntry)
      .filter(({ kind }) => kind === 'text');
  const countSends = async (phases: readonly string[]): Promise<number> =>
    (await query<{ count: number }>('SELECT count(*)::int AS count FROM sends WHERE phase = ANY($1)', [phases]))[0]
      ?.count ?? 0;

  // Replies pile up behind a notifier that does nothing.
  const [shop] = await openShops(at, 1, { quietMs: 100, quietMaxMs: 1_000 });
  await control('PUT', '/limits', { pairRate: false });
  await control('PUT', '/delivery', { statusDelaysMs });
  at.halt('notifier');
  await control('POST', '/messages', {
    messages: Array.from({ length: SENDERS }, (_, n) => ({
      phoneNumberId: shop?.phoneNumberId,
      waId: `1202556${String(n).padStart(4, '0')}`,
      text: 'Do you have anything?',
    })),
  });
  await eventually(async () => (await countSends(['pending'])) === SENDERS, {
    what: 'all replies wait to be sent',
    timeoutMs: 30_000,
  });

  // The first call is cut after Graph took it, and what Graph says of it waits before a halted ingest.
  await control('PUT', '/faults', { kinds: ['text'], cutAfterAccept: 1, forNextCalls: 1 });
  at.resume('notifier');
  await eventually(() => calls().length > 0, { what: 'the first call is made', timeoutMs: 20_000 });
  at.halt('ingest');
  const ingestHaltedAt = performance.now();
  const cutAttempt = calls()[0]?.callbackData;

  const claimedNotCalled = await haltBetweenClaimAndCall(at, async () => {
    // On a busy machine the sandbox may still have to read it: what it is asked now, it answers after that.
    await call('GET', `${at.sandboxUrl}/sandbox/journal?limit=1`);
    await call('GET', `${at.sandboxUrl}/sandbox/journal?limit=1`);
    const called = new Set(calls().map(({ callbackData }) => callbackData));
    const calling = await query<{ id: string }>(`SELECT id FROM attempts WHERE phase = 'calling'`);
    return calling.map(({ id }) => id).filter((id) => !called.has(id));
  });
  await delay(NOTIFIER_HALTED_MS);
  at.resume('notifier');
  // Its sweep may find them before the worker that claimed them does: they are unknown for a moment then.
  const given = async (): Promise<string[]> =>
    (await query<{ phase: string }>('SELECT phase FROM attempts WHERE id = ANY($1)', [claimedNotCalled])).map(
      ({ phase }) => phase,
    );
  await eventually(async () => (await given()).every((phase) => phase === 'not_sent'), {
    what: 'what was claimed and not called is given back',
    timeoutMs: 40_000,
  });
  await eventually(async () => (await countSends(['pending', 'retry', 'sending'])) === 0, {
    what: 'the notifier has gone on',
    timeoutMs: 40_000,
  });

  // Silence proves nothing while what Meta says has not been read.
  await delay(Math.max(0, ingestHaltedAt + INGEST_HALTED_MS - performance.now()));
  const cut = `SELECT s.phase, (SELECT count(*)::int FROM attempts a WHERE a.send_id = s.id) AS attempts
                 FROM sends s WHERE s.id = (SELECT send_id FROM attempts WHERE id = $1)`;
  expect(await query(cut, [cutAttempt])).toEqual([{ phase: 'unknown', attempts: 1 }]);
  at.resume('ingest');
  await eventually(async () => (await countSends(['accepted'])) === SENDERS, {
    what: 'all replies are accepted',
    timeoutMs: 60_000,
  });
  expect(await query(cut, [cutAttempt])).toEqual([{ phase: 'accepted', attempts: 1 }]);

  const recipients = calls().map(({ to }) => to);
  expect(recipients).toHaveLength(SENDERS);
  expect(new Set(recipients).size).toBe(SENDERS);
  expect(await query('SELECT sum(used)::int AS used FROM usage')).toEqual([{ used: SENDERS }]);
  passed = true;
}, 240_000);

/** Halts the notifier again and again until it stands between a claim and its call; returns the attempts that it had begun. */
async function haltBetweenClaimAndCall(at: Cluster, find: () => Promise<string[]>): Promise<string[]> {
  for (let tries = 0; tries < SENDERS; tries += 1) {
    at.halt('notifier');
    await delay(ARRIVED_MS);
    const found = await find();
    if (found.length > 0) return found;
    at.resume('notifier');
    // A claim takes a few milliseconds of each 50: no two tries look at the same place.
    await delay(5 + ((tries * 7) % 40));
  }
  throw new Error('The notifier was never caught between a claim and its call.');
}
