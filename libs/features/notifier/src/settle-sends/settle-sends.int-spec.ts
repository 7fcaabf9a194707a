import { applySendFacts, changeOwnership, Database, migrateDatabase, newId } from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedReply,
  type SeededChannel,
  type SeededConversation,
  type SeededReply,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { settleSends } from './settle-sends.ts';

let testDatabase: TestDatabase;
let database: Database;
let channel: SeededChannel;
let conversation: SeededConversation;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'settle-spec' });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query(`UPDATE sends SET phase = 'failed' WHERE phase IN ('pending', 'retry', 'sending', 'unknown')`);
  await database.query('TRUNCATE gateway_heartbeats, ingest_progress');
  channel = await seedChannel(database);
  conversation = await seedConversation(database, channel);
});

/** A call that began so many seconds ago, one for each number. */
async function seedCalls(
  agoS: readonly number[],
  phase: 'sending' | 'unknown' = 'unknown',
  where = conversation,
): Promise<SeededReply & { attemptIds: string[] }> {
  const reply = await seedReply(database, where);
  const attemptIds = agoS.map(() => newId());
  await database.query(
    `INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at)
     SELECT a.id, $1, $2, $3, a.number, CASE WHEN a.number < $4 THEN 'not_sent' ELSE $5 END, now() - a.ago * interval '1 s'
     FROM unnest($6::uuid[], $7::float8[]) WITH ORDINALITY AS a(id, ago, number)`,
    [
      where.workspaceId,
      where.channelId,
      reply.sendIds[0],
      agoS.length,
      phase === 'sending' ? 'calling' : 'unknown',
      attemptIds,
      agoS,
    ],
  );
  await database.query(`UPDATE sends SET phase = $2, due_at = NULL WHERE id = $1`, [reply.sendIds[0], phase]);
  return { ...reply, attemptIds };
}

/** Heartbeats each 5 s in a time that began and ended so many seconds ago. */
const seedBeats = (fromS: number, toS: number) =>
  database.query(
    `INSERT INTO gateway_heartbeats (at) SELECT now() - s * interval '1 s' FROM generate_series($1::int, $2::int, -5) AS s`,
    [fromS, toS],
  );
const seedProgress = (agoS: number) =>
  database.query(`INSERT INTO ingest_progress (caught_up_at) VALUES (now() - $1 * interval '1 s')`, [agoS]);
const seedRefusal = (keyId: string, agoS: number) =>
  database.query(`UPDATE webhook_keys SET last_refused_at = now() - $2 * interval '1 s' WHERE id = $1`, [keyId, agoS]);

async function stateOf({ sendIds, turnId }: SeededReply) {
  const [send] = await database.query<{ phase: string; failure: string | null; attempts: string[]; is_due: boolean }>(
    `SELECT phase, failure, due_at <= now() AS is_due,
            (SELECT array_agg(a.phase ORDER BY a.number) FROM attempts a WHERE a.send_id = s.id) AS attempts
     FROM sends s WHERE id = $1`,
    [sendIds[0]],
  );
  const debits = await database.query<{ sign: number }>(
    'SELECT sign FROM usage_entries WHERE turn_id = $1 ORDER BY id',
    [turnId],
  );
  return { ...send, debits: debits.map(({ sign }) => sign) };
}

const retried = { phase: 'retry', failure: 'no_answer', is_due: true, attempts: ['not_sent'], debits: [1] };
const kept = { phase: 'unknown', attempts: ['unknown'], debits: [1] };

describe('a call without an answer is tried again only when Meta has demonstrably not said a word', () => {
  interface Case {
    readonly when: string;
    readonly becomes: object;
    readonly agoS?: number;
    readonly beats?: readonly (readonly [fromS: number, toS: number])[];
    readonly progressS?: number | null;
    readonly refusedS?: number;
    readonly refusedElsewhereS?: number;
  }
  const cases: readonly Case[] = [
    { when: '95 s of accepted and stored webhooks', becomes: retried },
    { when: 'the call is 80 s old', agoS: 80, becomes: kept },
    { when: 'no gateway has ever run', beats: [], becomes: kept },
    { when: 'gateways have stopped 20 s ago', beats: [[300, 20]], becomes: kept },
    { when: 'gateways have started 80 s ago', beats: [[80, 0]], becomes: kept },
    {
      when: 'gateways were away for 20 s, a minute ago',
      beats: [
        [300, 80],
        [60, 0],
      ],
      becomes: kept,
    },
    {
      when: 'gateways were away before the last 95 s',
      beats: [
        [300, 150],
        [95, 0],
      ],
      agoS: 200,
      becomes: retried,
    },
    {
      when: 'two heartbeats were missed',
      beats: [
        [300, 60],
        [46, 0],
      ],
      becomes: retried,
    },
    { when: 'a delivery of this key was refused 30 s ago', refusedS: 30, becomes: kept },
    { when: 'a delivery of this key was refused 95 s ago', refusedS: 95, agoS: 120, becomes: retried },
    { when: 'a delivery of another key was refused', refusedElsewhereS: 1, becomes: retried },
    { when: 'ingest has never caught up', progressS: null, becomes: kept },
    { when: 'ingest is 30 s behind', progressS: 30, becomes: kept },
    { when: 'ingest has stored the 90 s, and little since', progressS: 4, becomes: retried },
  ];
  it.each(cases)('$when', async (given) => {
    const { agoS = 95, beats = [[300, 0]], progressS = 0, refusedS, refusedElsewhereS, becomes } = given;
    const reply = await seedCalls([agoS]);
    for (const [fromS, toS] of beats) await seedBeats(fromS, toS);
    if (progressS !== null) await seedProgress(progressS);
    if (refusedS !== undefined) await seedRefusal(channel.keyId, refusedS);
    if (refusedElsewhereS !== undefined) await seedRefusal((await seedChannel(database)).keyId, refusedElsewhereS);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject(becomes);
  });

  it('three such calls are enough: it fails, and the debit goes back, as none was taken', async () => {
    const reply = await seedCalls([300, 200, 95]);
    await seedBeats(400, 0);
    await seedProgress(0);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject({ phase: 'failed', failure: 'no_answer', debits: [1, -1] });
  });

  it('when its window closes first it fails, and stays debited, as it may have been taken', async () => {
    const reply = await seedCalls([30]);
    await database.query(`UPDATE conversations SET window_until = now() WHERE id = $1`, [conversation.conversationId]);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject({ phase: 'failed', failure: 'window_closed', debits: [1] });
    const [sendId = ''] = reply.sendIds;
    const attemptId = reply.attemptIds[0] ?? '';
    await database.transaction((sql) =>
      applySendFacts(sql, [{ sendId, fact: { type: 'status', attemptId, status: 'delivered' } }]),
    );
    expect(await stateOf(reply)).toMatchObject({ phase: 'accepted', debits: [1] });
  });

  it('superseded by a take-over it still takes statuses, and is never sent again', async () => {
    const reply = await seedCalls([95]);
    await database.transaction((sql) =>
      changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null }),
    );
    await seedBeats(300, 0);
    await seedProgress(0);
    expect((await settleSends(database)).changes).toEqual([]);
    expect(await stateOf(reply)).toMatchObject({ phase: 'superseded', debits: [1] });
  });

  it('those that wait never stand before the others', async () => {
    await seedRefusal(channel.keyId, 1);
    for (let n = 0; n < 210; n += 1) await seedCalls([95], 'unknown', conversation);
    const other = await seedConversation(database, await seedChannel(database));
    const reply = await seedCalls([95], 'unknown', other);
    await seedBeats(300, 0);
    await seedProgress(0);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject(retried);
  });
});

describe('a call whose worker is gone', () => {
  it.each([
    [19, 'sending', 'calling'],
    [21, 'unknown', 'unknown'],
  ])('began %d s ago: %s', async (agoS, phase, attempt) => {
    const reply = await seedCalls([agoS], 'sending');
    await seedBeats(300, 0);
    await seedProgress(0);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject({ phase, attempts: [attempt], debits: [1] });
  });

  it('is unknown first, however old it is: its proof counts from the next round', async () => {
    const reply = await seedCalls([600], 'sending');
    await seedBeats(700, 0);
    await seedProgress(0);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject(kept);
    await settleSends(database);
    expect(await stateOf(reply)).toMatchObject(retried);
  });
});

it('what waits behind a closed window fails and is given back', async () => {
  const reply = await seedReply(database, conversation, { parts: ['one', 'two'] });
  await database.query(`UPDATE conversations SET window_until = now() WHERE id = $1`, [conversation.conversationId]);
  const { changes } = await settleSends(database);
  expect(changes.map(({ send }) => send.state.failure)).toEqual(['window_closed', 'window_closed']);
  expect(await stateOf({ ...reply })).toMatchObject({ phase: 'failed', debits: [1, -1] });
});

it('two sweeps at once do each thing once', async () => {
  const reply = await seedCalls([300, 200, 95]);
  await seedBeats(400, 0);
  await seedProgress(0);
  const rounds = await Promise.all([settleSends(database), settleSends(database), settleSends(database)]);
  expect(rounds.flatMap(({ changes }) => changes)).toHaveLength(1);
  expect(await stateOf(reply)).toMatchObject({ phase: 'failed', debits: [1, -1] });
});
