import { TURN_LEASE_MS } from '@answerline/conversation-rules';
import { Database, migrateDatabase, type Sql, type Statement } from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedMessages,
  type SeededChannel,
  type SeededConversation,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { claimTurns, giveBack, renewLease } from './claim-turns.ts';
import { commitTurn } from './commit-turn.ts';
import { readTurns, type Turn, type TurnClaim } from './read-turn.ts';

let testDatabase: TestDatabase;
let database: Database;
let channel: SeededChannel;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'claim-spec', poolSize: 8 });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query('DELETE FROM contacts');
  channel = await seedChannel(database);
});

async function seedDue(...texts: string[]): Promise<SeededConversation> {
  const conversation = await seedConversation(database, channel);
  await seedMessages(database, conversation, texts.length > 0 ? texts : ['hello']);
  return conversation;
}
/** Conversations that were answered and wait for nothing, as most do. */
const seedAnswered = (where: SeededChannel) =>
  database.query(
    `WITH people AS (
       INSERT INTO contacts (id, workspace_id) SELECT gen_random_uuid(), $1 FROM generate_series(1, 8000) RETURNING id
     )
     INSERT INTO conversations (id, workspace_id, channel_id, contact_id, inbound_seq, answered_seq)
     SELECT gen_random_uuid(), $1, $2, id, 1, 1 FROM people`,
    [where.workspaceId, where.channelId],
  );
async function claimOne(): Promise<Turn> {
  const [turn] = await readTurns(database, await claimTurns(database, 1));
  if (!turn) throw new Error('Nothing is due.');
  return turn;
}
const rowOf = async ({ conversationId }: Pick<SeededConversation, 'conversationId'>) =>
  (await database.query('SELECT * FROM conversations WHERE id = $1', [conversationId]))[0];
const letLapse = () => database.query(`UPDATE conversations SET lease_until = now() - interval '1 ms'`);

describe('claiming turns', () => {
  it('workers that claim at the same time never share a conversation', async () => {
    for (let n = 0; n < 40; n += 1) await seedDue();
    const rounds = await Promise.all(Array.from({ length: 6 }, () => claimTurns(database, 10)));
    rounds.push(await claimTurns(database, 40));
    const claimed = rounds.flat().map(({ conversationId }) => conversationId);
    expect(claimed).toHaveLength(40);
    expect(new Set(claimed).size).toBe(40);
  });

  it('takes the longest due first, and nothing that is not due', async () => {
    const [late, later, notDue] = [await seedDue(), await seedDue(), await seedDue()];
    const setDue = (conversation: SeededConversation, inS: number) =>
      database.query(`UPDATE conversations SET due_at = now() + $2 * interval '1 s' WHERE id = $1`, [
        conversation.conversationId,
        inS,
      ]);
    await Promise.all([setDue(late, -1), setDue(later, -2), setDue(notDue, 1)]);
    const claimed = [...(await claimTurns(database, 1)), ...(await claimTurns(database, 5))];
    expect(claimed.map(({ conversationId }) => conversationId)).toEqual([later.conversationId, late.conversationId]);
  });

  it('a lease keeps others away until it lapses; then the next worker has a higher fence', async () => {
    const conversation = await seedDue();
    const first = await claimOne();
    expect(await claimTurns(database, 1)).toEqual([]);
    const leaseMs = Number((await rowOf(conversation))?.['lease_until']) - Date.now();
    expect(leaseMs).toBeGreaterThan(TURN_LEASE_MS - 10_000);
    expect(leaseMs).toBeLessThanOrEqual(TURN_LEASE_MS + 100);
    await letLapse();
    const second = await claimOne();
    expect(second.fence).toBe(first.fence + 1);
    expect(await rowOf(conversation)).toMatchObject({ claims: 2 });

    // The first one is slow, not dead: nothing that it does has an effect any more.
    expect(await renewLease(database, first)).toBe('stop');
    await giveBack(database, first, 60_000);
    expect(await commitTurn(database, first, { outcome: 'nothing_to_answer', reply: null }, null)).toBe('stop');
    expect(await renewLease(database, second)).toBe('keep');
    expect(await commitTurn(database, second, { outcome: 'nothing_to_answer', reply: null }, null)).toBe('committed');
  });

  it('a slow worker may commit after its lease lapsed, as long as nobody else has claimed', async () => {
    await seedDue();
    const turn = await claimOne();
    await letLapse();
    expect(await commitTurn(database, turn, { outcome: 'nothing_to_answer', reply: null }, null)).toBe('committed');
  });

  it('a renewal extends the lease and says what has changed', async () => {
    const conversation = await seedDue();
    const turn = await claimOne();
    await database.query(`UPDATE conversations SET lease_until = now() + interval '1 s'`);
    expect(await renewLease(database, turn)).toBe('keep');
    expect(Number((await rowOf(conversation))?.['lease_until']) - Date.now()).toBeGreaterThan(10_000);

    await seedMessages(database, conversation, ['and another thing']);
    expect(await renewLease(database, turn)).toBe('again');
    await database.query(`UPDATE conversations SET first_unanswered_at = now() - interval '20 s'`);
    expect(await renewLease(database, turn)).toBe('keep');
    await database.query('UPDATE conversations SET epoch = epoch + 1');
    expect(await renewLease(database, turn)).toBe('stop');
    await database.query('DELETE FROM contacts');
    expect(await renewLease(database, turn)).toBe('stop');
  });

  it('what is given back can be taken at once, or later, but never earlier than it was due', async () => {
    const conversation = await seedDue();
    await giveBack(database, await claimOne(), 0);
    await giveBack(database, await claimOne(), 60_000);
    expect(await claimTurns(database, 1)).toEqual([]);
    const dueInMs = Number((await rowOf(conversation))?.['due_at']) - Date.now();
    expect(dueInMs).toBeGreaterThan(55_000);
  });

  it('a claim whose row is gone or was taken by another reads nothing', async () => {
    const conversation = await seedDue();
    const [claim] = await claimTurns(database, 1);
    await letLapse();
    const [next] = await claimTurns(database, 1);
    const read = await readTurns(
      database,
      [claim, next].filter((each) => each !== undefined),
    );
    expect(read.map(({ fence }) => fence)).toEqual([next?.fence]);
    await database.query('DELETE FROM contacts WHERE id = $1', [conversation.contactId]);
    expect(await readTurns(database, next ? [next] : [])).toEqual([]);
  });
});

describe('workspaces that share a process', () => {
  /** Conversations that are due, the first of them `agoS` seconds ago and the others after it. */
  async function seedWaiting(where: SeededChannel, count: number, agoS: number): Promise<void> {
    await database.query(
      `WITH people AS (
         INSERT INTO contacts (id, workspace_id) SELECT gen_random_uuid(), $1 FROM generate_series(1, $3::int) RETURNING id
       )
       INSERT INTO conversations (id, workspace_id, channel_id, contact_id, inbound_seq, due_at, first_unanswered_at, window_until)
       SELECT gen_random_uuid(), $1, $2, id, 1, now() - $4 * interval '1 s' + row_number() OVER () * interval '1 ms', now(),
              now() + interval '24 hours' FROM people`,
      [where.workspaceId, where.channelId, count, agoS],
    );
  }
  const counted = (claims: readonly TurnClaim[]): Map<string, number> =>
    new Map([...Map.groupBy(claims, ({ workspaceId }) => workspaceId)].map(([id, all]) => [id, all.length]));
  const shares = (claims: readonly TurnClaim[], ...workspaces: SeededChannel[]): number[] =>
    workspaces.map(({ workspaceId }) => counted(claims).get(workspaceId) ?? 0);
  /** What was claimed is answered. */
  const finish = (claims: readonly TurnClaim[]) =>
    database.query('UPDATE conversations SET due_at = NULL, lease_until = NULL, answered_seq = 1 WHERE id = ANY($1)', [
      claims.map(({ conversationId }) => conversationId),
    ]);

  let busy: SeededChannel;
  let calm: SeededChannel;
  beforeEach(async () => {
    busy = channel;
    calm = await seedChannel(database);
  });

  it('one with five hundred due turns leaves half of the places to another that is due later', async () => {
    await seedWaiting(busy, 500, 60);
    await seedWaiting(calm, 3, 1);
    const claims = await claimTurns(database, 8);
    expect(shares(claims, busy, calm)).toEqual([5, 3]);
    expect(new Set(claims.map(({ conversationId }) => conversationId)).size).toBe(8);
  });

  it('one that is alone gets all places, and the others theirs as soon as one is free', async () => {
    await seedWaiting(busy, 500, 60);
    const alone = await claimTurns(database, 8);
    expect(shares(alone, busy)).toEqual([8]);
    await seedWaiting(calm, 3, 1);
    const [ended, ...held] = alone;
    await finish(ended ? [ended] : []);
    expect(shares(await claimTurns(database, 1, counted(held)), busy, calm)).toEqual([0, 1]);
  });

  it('one that holds half is passed over while another has one due, and gets what that one leaves', async () => {
    await seedWaiting(busy, 20, 60);
    await seedWaiting(calm, 1, 1);
    const claims = await claimTurns(database, 4, new Map([[busy.workspaceId, 4]]));
    expect(shares(claims, busy, calm)).toEqual([3, 1]);
    expect(shares(await claimTurns(database, 1, new Map([[busy.workspaceId, 7]])), busy, calm)).toEqual([1, 0]);
  });

  it('a process with one place serves them in turn of what is due', async () => {
    await seedWaiting(busy, 2, 60);
    expect(shares(await claimTurns(database, 1), busy)).toEqual([1]);
  });

  it('the customers of one wait no round longer because five hundred of another wait before them', async () => {
    await seedWaiting(busy, 500, 3_600);
    const waited: number[] = [];
    let answeredOfBusy = 0;
    // All places end together: for those who come the worst there is.
    for (let round = 0; round < 20; round += 1) {
      await seedWaiting(calm, 2, 1);
      const claims = await claimTurns(database, 8);
      const [ofBusy = 0, ofCalm = 0] = shares(claims, busy, calm);
      waited.push(2 - ofCalm);
      answeredOfBusy += ofBusy;
      await finish(claims);
    }
    expect(waited).toEqual(waited.map(() => 0));
    expect(answeredOfBusy).toBe(20 * 6);
  });

  it('looks for the others along the index of what is due', async () => {
    await seedWaiting(busy, 500, 60);
    await seedWaiting(calm, 1, 1);
    await seedAnswered(busy);
    await database.query('ANALYZE conversations');
    let asked: { statement: Statement; values: readonly unknown[] } | undefined;
    await claimTurns(
      {
        query: async (given, values = []) => {
          asked = { statement: typeof given === 'string' ? { text: given } : given, values };
          return [];
        },
      },
      4,
      new Map([[busy.workspaceId, 4]]),
    );
    const [row] = await database.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${asked?.statement.text ?? ''}`,
      asked?.values,
    );
    const nodes = row?.['QUERY PLAN'].flatMap(({ Plan }) => nodesOf(Plan)) ?? [];
    const scans = nodes.filter((node) => node['Relation Name'] === 'conversations' && /Scan/.test(node['Node Type']));
    expect(scans.map((node) => node['Node Type'])).not.toContain('Seq Scan');
    expect(scans.map((node) => node['Index Name'])).toContain('conversations_due_idx');
    expect(scans.map((node) => node['Index Name'])).not.toContain('conversations_recent_idx');
  });
});

describe('2,000 conversations wait while one is due', () => {
  it('the one is claimed at once, by the index of what is due', async () => {
    const due = await seedDue('now, please');
    await database.query(
      `WITH people AS (
         INSERT INTO contacts (id, workspace_id) SELECT gen_random_uuid(), $1 FROM generate_series(1, 2000) RETURNING id
       )
       INSERT INTO conversations (id, workspace_id, channel_id, contact_id, inbound_seq, due_at, first_unanswered_at, window_until)
       SELECT gen_random_uuid(), $1, $2, id, 1, now() + interval '6 s', now(), now() + interval '24 hours' FROM people`,
      [channel.workspaceId, channel.channelId],
    );
    await seedAnswered(channel);
    await database.query('ANALYZE conversations');

    let statement: Statement | undefined;
    let values: readonly unknown[] = [];
    const recorder: Sql = {
      query: async (given, parameters = []) => {
        statement = typeof given === 'string' ? { text: given } : given;
        values = parameters;
        return [];
      },
    };
    await claimTurns(recorder, 8);
    const [row] = await database.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${statement?.text ?? ''}`,
      values,
    );
    const nodes = row?.['QUERY PLAN'].flatMap(({ Plan }) => nodesOf(Plan)) ?? [];
    const scans = nodes.filter((node) => node['Relation Name'] === 'conversations' && /Scan/.test(node['Node Type']));
    expect(scans.map((node) => node['Node Type'])).not.toContain('Seq Scan');
    const byDue = nodes.find((node) => node['Index Name'] === 'conversations_due_idx');
    expect(byDue).toMatchObject({ 'Actual Rows': 1 });
    // EXPLAIN ANALYZE has claimed it.
    await letLapse();
    const claimed = await claimTurns(database, 8);
    expect(claimed.map(({ conversationId }) => conversationId)).toEqual([due.conversationId]);
  });
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly Plans?: readonly PlanNode[];
}
const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];
