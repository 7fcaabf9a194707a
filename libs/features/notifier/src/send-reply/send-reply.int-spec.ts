import { createLogger } from '@answerline/logging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { applySendFacts, changeOwnership, Database, migrateDatabase, newId } from '@answerline/persistence';
import {
  createTestDatabase,
  freePort,
  seedChannel,
  seedConversation,
  seedReply,
  startTestSandbox,
  type SeededChannel,
  type SeededConversation,
  type SeededReply,
  type TestDatabase,
  type TestSandbox,
} from '@answerline/testing';
import { GraphClient } from '@answerline/whatsapp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { settleSends } from '../settle-sends/settle-sends.ts';
import { OutcomeStore } from './outcome-store.ts';
import { SendReply, type SendJob } from './send-reply.ts';
import { storeOutcomes } from './store-outcomes.ts';

let testDatabase: TestDatabase;
let database: Database;
let sandbox: TestSandbox;
let channel: SeededChannel;
let conversation: SeededConversation;
const logger = createLogger({ app: 'spec', level: 'silent' });

beforeAll(async () => {
  [testDatabase, sandbox] = await Promise.all([createTestDatabase(migrateDatabase), startTestSandbox()]);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'send-spec' });
});
afterAll(async () => {
  await closeOperatorConnections();
  await Promise.all([database.close(), sandbox.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query(`UPDATE sends SET phase = 'failed' WHERE phase IN ('pending', 'retry', 'sending', 'unknown')`);
  await sandbox.faults({});
  channel = await seedChannel(database);
  await sandbox.connect(database, channel);
  conversation = await seedConversation(database, channel);
});

const graph = (options: { baseUrl?: string; timeoutMs?: number } = {}) =>
  new GraphClient({ baseUrl: sandbox.url, version: 'v26.0', ...options });
const sender = (options: { graph?: GraphClient; now?: () => number } = {}) =>
  new SendReply({ database, secrets: sandbox.secrets, logger, graph: graph(), ...options });

/** One round of a worker: claims what is due and calls. Returns how many it called. */
async function round(worker = sender()): Promise<number> {
  const { jobs } = await worker.claim(64);
  await Promise.all(jobs.map((job) => worker.execute(job)));
  return jobs.length;
}
async function onlyJob(worker = sender()): Promise<SendJob> {
  const { jobs } = await worker.claim(1);
  const [job] = jobs;
  if (!job) throw new Error('Nothing is due.');
  return job;
}

interface SendRow extends Record<string, unknown> {
  phase: string;
  failure: string | null;
  delivery: string | null;
  waits_s: number | null;
  attempts: string[];
}
const sendsOf = ({ sendIds }: SeededReply): Promise<SendRow[]> =>
  database.query<SendRow>(
    `SELECT s.phase, s.failure, s.delivery, round(extract(epoch FROM s.due_at - clock_timestamp()))::int AS waits_s,
            coalesce((SELECT array_agg(a.phase ORDER BY a.number) FROM attempts a WHERE a.send_id = s.id), '{}') AS attempts
     FROM sends s WHERE s.id = ANY($1::uuid[]) ORDER BY s.position`,
    [sendIds],
  );
const used = async (): Promise<number> =>
  (await database.query<{ used: number }>('SELECT used FROM usage WHERE workspace_id = $1', [channel.workspaceId]))[0]
    ?.used ?? 0;
const entries = async (reply: SeededReply): Promise<number[]> =>
  (
    await database.query<{ sign: number }>('SELECT sign FROM usage_entries WHERE turn_id = $1 ORDER BY id', [
      reply.turnId,
    ])
  ).map(({ sign }) => sign);
const events = async (reply: SeededReply): Promise<string[]> =>
  (
    await database.query<{ event_id: string }>(
      `SELECT event_id FROM outbox WHERE event_id IN ('reply_accepted:' || $1, 'reply_failed:' || $1)`,
      [reply.replyId],
    )
  ).map(({ event_id: id }) => id.split(':')[0] ?? '');
/** Time passes for what waits and for calls under way. */
const makeDue = () => database.query(`UPDATE sends SET due_at = now() WHERE phase = 'retry' AND due_at IS NOT NULL`);
const age = (seconds: number) =>
  database.query(
    `UPDATE attempts SET started_at = started_at - $1 * interval '1 second'
     WHERE send_id IN (SELECT id FROM sends WHERE phase IN ('sending', 'unknown'))`,
    [seconds],
  );
const calls = async () => (await sandbox.calls(channel)).map(({ body }) => body);
const tell = (sendId: string, attemptId: string, status: 'sent' | 'delivered' | 'read' | 'failed') =>
  database.transaction((sql) =>
    applySendFacts(sql, [{ sendId, fact: { type: 'status', attemptId, status, code: 'undeliverable' } }]),
  );
const silence = () =>
  database.transaction((sql) =>
    changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null }),
  );

describe('what is claimed', () => {
  it('the sends of a conversation go out one after the other, in the order of turns and parts', async () => {
    const first = await seedReply(database, conversation, { parts: ['one', 'two'] });
    const second = await seedReply(database, conversation, { parts: ['three'] });
    expect([await round(), await round(), await round(), await round()]).toEqual([1, 1, 1, 0]);
    expect(await calls()).toEqual(['one', 'two', 'three']);
    for (const row of [...(await sendsOf(first)), ...(await sendsOf(second))]) {
      expect(row).toMatchObject({ phase: 'accepted', attempts: ['accepted'] });
    }
    expect(await events(first)).toEqual(['reply_accepted']);
  });

  it('what stands behind a call under way or a call without an answer waits', async () => {
    const first = await seedReply(database, conversation, { parts: ['one'] });
    await seedReply(database, conversation, { parts: ['two'] });
    const job = await onlyJob();
    expect(await round()).toBe(0);
    await sandbox.faults({ cutAfterAccept: 1 });
    await sender().execute(job);
    expect(await sendsOf(first)).toMatchObject([{ phase: 'unknown' }]);
    expect(await round()).toBe(0);
    await sandbox.faults({});
    await tell(job.send.id, job.send.attemptId, 'sent');
    expect(await round()).toBe(1);
    expect(await calls()).toEqual(['one', 'two']);
  });

  it('workers that claim at the same time never share a send', async () => {
    const conversations = await Promise.all(Array.from({ length: 30 }, () => seedConversation(database, channel)));
    await Promise.all(conversations.map((each) => seedReply(database, each)));
    await database.query('UPDATE channels SET messages_per_second = 1000 WHERE id = $1', [channel.channelId]);
    const rounds = await Promise.all(Array.from({ length: 5 }, () => sender().claim(10)));
    rounds.push(await sender().claim(64));
    const claimed = rounds.flatMap(({ jobs }) => jobs.map(({ send }) => send.id));
    expect(new Set(claimed).size).toBe(claimed.length);
    expect(claimed).toHaveLength(30);
  });

  it('under a newer epoch what the AI said is thrown away, what a human or the system said is sent', async () => {
    const ai = await seedReply(database, conversation, { parts: ['ai'] });
    const human = await seedReply(database, conversation, { parts: ['human'], author: 'human', kind: 'human' });
    const system = await seedReply(database, conversation, {
      parts: ['system'],
      author: 'system',
      kind: 'handoff_confirmation',
    });
    await database.query('UPDATE conversations SET epoch = epoch + 1 WHERE id = $1', [conversation.conversationId]);
    while ((await round()) > 0);
    expect(await sendsOf(ai)).toMatchObject([{ phase: 'superseded', attempts: [] }]);
    expect([...(await sendsOf(human)), ...(await sendsOf(system))]).toMatchObject([
      { phase: 'accepted' },
      { phase: 'accepted' },
    ]);
    expect(await calls()).toEqual(['human', 'system']);
    expect([await used(), await entries(ai)]).toEqual([0, [1, -1]]);
  });

  it.each([
    ['the AI is off', 'UPDATE chatbots SET ai_enabled = false WHERE workspace_id = $1', 'superseded', null],
    ['the channel is off', 'UPDATE channels SET answers = false WHERE workspace_id = $1', 'superseded', 'channel_off'],
    [
      'the window is closed',
      `UPDATE conversations SET window_until = now() - interval '1 s' WHERE workspace_id = $1`,
      'failed',
      'window_closed',
    ],
  ])('nothing is called when %s, and the debit goes back', async (_, change, phase, failure) => {
    const reply = await seedReply(database, conversation, { parts: ['one', 'two'] });
    await database.query(change, [channel.workspaceId]);
    for (let rounds = 0; rounds < 3; rounds += 1) expect(await round()).toBe(0);
    const rows = await sendsOf(reply);
    expect(rows[0]).toMatchObject({ phase, failure });
    expect(rows[1]?.phase).toBe(phase);
    expect([await used(), await entries(reply), await calls()]).toEqual([0, [1, -1], []]);
  });

  it('a take-over that is under way is not overtaken: its conversation is passed over, and then thrown away', async () => {
    const reply = await seedReply(database, conversation);
    const bystander = await seedConversation(database, channel);
    await seedReply(database, bystander, { parts: ['to somebody else'] });
    await database.transaction(async (sql) => {
      await changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null });
      expect(await round()).toBe(1);
    });
    expect(await round()).toBe(0);
    expect(await calls()).toEqual(['to somebody else']);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'superseded' }]);
  });

  it('a part that failed for good takes the later parts with it, and what was accepted stays debited', async () => {
    const reply = await seedReply(database, conversation, { parts: ['one', 'two', 'three'] });
    const behind = await seedReply(database, conversation, { parts: ['next turn'] });
    await round();
    await sandbox.faults({ errorCode: 131026, forNextCalls: 1 });
    await round();
    while ((await round()) > 0);
    expect(await sendsOf(reply)).toMatchObject([
      { phase: 'accepted' },
      { phase: 'failed', failure: 'recipient_unreachable', attempts: ['refused'] },
      { phase: 'failed', failure: 'earlier_part_failed', attempts: [] },
    ]);
    expect(await sendsOf(behind)).toMatchObject([{ phase: 'accepted' }]);
    expect([await used(), await entries(reply), await events(reply)]).toEqual([2, [1], ['reply_failed']]);
  });
});

describe('what is on the wire', () => {
  it('a number goes to `to` with +, a user id to `recipient`, and only the first part quotes', async () => {
    const byUserId = await seedConversation(database, channel, { kind: 'bsuid', address: 'US.13491208655302741918' });
    await seedReply(database, conversation, { parts: ['one', 'two'], quoteMessageId: 'wamid.quoted' });
    await seedReply(database, byUserId, { parts: ['three'] });
    while ((await round()) > 0);
    const journal = await sandbox.calls(channel);
    const seen = new Map(journal.map((call) => [call.body, call]));
    expect(seen.get('one')).toMatchObject({ to: `+${conversation.address}`, contextMessageId: 'wamid.quoted' });
    expect(seen.get('two')).not.toHaveProperty('contextMessageId');
    expect(seen.get('three')).toMatchObject({ recipient: 'US.13491208655302741918' });
    expect(seen.get('three')).not.toHaveProperty('to');
    const attempts = await database.query<{ id: string; provider_message_id: string }>(
      'SELECT id, provider_message_id FROM attempts WHERE channel_id = $1',
      [channel.channelId],
    );
    expect(new Map(journal.map((call) => [call.callbackData, call.wamid]))).toEqual(
      new Map(attempts.map((attempt) => [attempt.id, attempt.provider_message_id])),
    );
  });

  it('an address that WhatsApp cannot send to fails at once', async () => {
    const odd = await seedConversation(database, channel, { address: 'not a number' });
    const reply = await seedReply(database, odd);
    await round();
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'failed', failure: 'recipient_invalid' }]);
    expect([await used(), await entries(reply), await calls()]).toEqual([0, [1, -1], []]);
  });
});

describe('what becomes of a call', () => {
  it('a token that Meta refuses holds the number: its other sends wait, other numbers go on, a reconnect lets them go', async () => {
    const [reply, waiting] = [
      await seedReply(database, conversation),
      await seedReply(database, await seedConversation(database, channel)),
    ];
    await sandbox.faults({ expiredToken: true, forNextCalls: 1 });
    await sender().execute(await onlyJob());
    const other = await seedChannel(database);
    await sandbox.connect(database, other);
    await seedReply(database, await seedConversation(database, other));
    expect(await round()).toBe(1);
    expect(await round()).toBe(0);
    const [held] = await database.query('SELECT state, send_hold_code FROM channels WHERE id = $1', [
      channel.channelId,
    ]);
    expect(held).toEqual({ state: 'broken', send_hold_code: 'token_expired' });
    const rows = [...(await sendsOf(reply)), ...(await sendsOf(waiting))];
    expect(rows.map(({ phase }) => phase).sort()).toEqual(['pending', 'retry']);
    expect([await used(), await calls()]).toEqual([2, []]);

    await sandbox.connect(database, channel);
    await database.query(`UPDATE channels SET send_hold_code = NULL, state = 'live' WHERE id = $1`, [
      channel.channelId,
    ]);
    await database.transaction((sql) =>
      applySendFacts(
        sql,
        [...reply.sendIds, ...waiting.sendIds].map((sendId) => ({
          sendId,
          fact: { type: 'reconnected', now: Date.now() },
        })),
      ),
    );
    expect(await round()).toBe(2);
    expect(await calls()).toHaveLength(2);
  });

  it('a refusal of credentials that were replaced meanwhile holds nothing: the send goes out with the new ones', async () => {
    const reply = await seedReply(database, conversation);
    const job = await onlyJob();
    // Connected again between the claim and the call: Meta knows only the new token.
    await sandbox.connect(database, channel);
    await sender().execute(job);
    const [state] = await database.query('SELECT state, send_hold_code FROM channels WHERE id = $1', [
      channel.channelId,
    ]);
    expect(state).toEqual({ state: 'live', send_hold_code: null });
    expect(await round()).toBe(1);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', attempts: ['refused', 'accepted'] }]);
  });

  it('a token that we cannot read is no call: it is tried again', async () => {
    const reply = await seedReply(database, conversation);
    await database.query(`UPDATE channels SET access_token_ciphertext = 'v1.k1.AAAA' WHERE id = $1`, [
      channel.channelId,
    ]);
    await round();
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', failure: 'secret_unreadable', waits_s: 1 }]);
  });

  it('a 5xx with a Graph error is a refusal: 1 s, 2 s, 4 s, then accepted', async () => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ graphErrorStatus: 503, forNextCalls: 3 });
    for (const wait of [1, 2, 4]) {
      expect(await round()).toBe(1);
      expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', failure: 'graph_unavailable' }]);
      // Up to a quarter is added.
      const waitsS = (await sendsOf(reply))[0]?.waits_s;
      expect(waitsS).toBeGreaterThanOrEqual(wait);
      expect(waitsS).toBeLessThanOrEqual(wait * 1.25);
      expect(await round()).toBe(0);
      await makeDue();
    }
    await round();
    expect(await sendsOf(reply)).toMatchObject([
      { phase: 'accepted', failure: null, attempts: ['refused', 'refused', 'refused', 'accepted'] },
    ]);
  });

  it('trouble that lasts longer is waited for longer, and codes that hide a lasting one are tried four times', async () => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ errorCode: 80007, forNextCalls: 1 });
    await round();
    expect((await sendsOf(reply))[0]?.waits_s).toBeGreaterThanOrEqual(29);
    await silence();

    const other = await seedReply(database, await seedConversation(database, channel));
    await sandbox.faults({ errorCode: 131000 });
    for (let tries = 0; tries < 6; tries += 1) {
      await round();
      await makeDue();
    }
    expect(await sendsOf(other)).toMatchObject([
      { phase: 'failed', failure: 'whatsapp_unknown_error', attempts: Array(4).fill('refused') },
    ]);
  });

  it('retries end after 10 minutes, and the debit goes back', async () => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ graphErrorStatus: 503 });
    await round();
    await database.query(`UPDATE sends SET retrying_since = now() - interval '599 s' WHERE id = ANY($1::uuid[])`, [
      reply.sendIds,
    ]);
    await makeDue();
    await round();
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'failed', failure: 'graph_unavailable' }]);
    expect([await used(), await entries(reply), await events(reply)]).toEqual([0, [1, -1], ['reply_failed']]);
  });

  it('writing too fast to one person holds up this person only: 1, 4, 16 s', async () => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ errorCode: 131056, forNextCalls: 3 });
    for (const wait of [1, 4, 16]) {
      await round();
      expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', failure: 'pair_rate_limited', waits_s: wait }]);
      if (wait < 16) await makeDue();
    }
    await seedReply(database, await seedConversation(database, channel), { parts: ['somebody else'] });
    expect(await round()).toBe(1);
    await makeDue();
    await round();
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted' }]);
    expect(await calls()).toEqual(['somebody else', 'An answer.']);
  });

  it.each([
    ['a 5xx without a Graph error', { graphErrorStatus: 502, graphErrorBody: false }, 0],
    ['a connection cut before Graph took it', { cutBeforeAccept: 1 }, 0],
    ['a connection cut after Graph took it', { cutAfterAccept: 1 }, 1],
    ['an answer that comes too late', { latencyMs: 900 }, 1],
  ])('%s is not known to have failed: no second call', async (_, faults, accepted) => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ ...faults, forNextCalls: 1 });
    await round(sender({ graph: graph({ timeoutMs: 600 }) }));
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'unknown', attempts: ['unknown'], waits_s: null }]);
    expect([await round(), await round()]).toEqual([0, 0]);
    await settleSends(database);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'unknown' }]);
    expect([await used(), (await calls()).length]).toEqual([1, accepted]);
  });

  it('a call without an answer is settled by the status that names its attempt', async () => {
    const reply = await seedReply(database, conversation);
    await sandbox.faults({ cutAfterAccept: 1, forNextCalls: 1 });
    const job = await onlyJob();
    await sender().execute(job);
    const [call] = await sandbox.calls(channel);
    expect(call?.callbackData).toBe(job.send.attemptId);
    await tell(job.send.id, job.send.attemptId, 'delivered');
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', delivery: 'delivered', attempts: ['accepted'] }]);
    expect([await round(), await calls(), await used()]).toEqual([0, ['An answer.'], 1]);
  });

  it('a refused connection never left us', async () => {
    const reply = await seedReply(database, conversation);
    const baseUrl = `http://127.0.0.1:${String(await freePort())}`;
    await round(sender({ graph: graph({ baseUrl }) }));
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', waits_s: 1, attempts: ['not_sent'] }]);
    await makeDue();
    await round();
    expect(await calls()).toEqual(['An answer.']);
  });

  it('a status may come before the answer of its call', async () => {
    const reply = await seedReply(database, conversation);
    const job = await onlyJob();
    await tell(job.send.id, job.send.attemptId, 'read');
    await sender().execute(job);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', delivery: 'read', attempts: ['accepted'] }]);
    expect(await events(reply)).toEqual(['reply_accepted']);
  });

  it('a status that named only the message waits until the answer tells whose it is', async () => {
    const reply = await seedReply(database, conversation);
    const { send } = await onlyJob();
    for (const status of ['delivered', 'sent']) {
      await database.query(
        `INSERT INTO statuses (id, workspace_id, channel_id, provider_message_id, dedupe_key, status, at, received_at)
         VALUES ($1, $2, $3, 'wamid.early', $4, $4, now(), now())`,
        [newId(), channel.workspaceId, channel.channelId, status],
      );
    }
    await storeOutcomes(database, [
      { send, outcome: { outcome: 'accepted', providerMessageId: 'wamid.early', recipientWaId: undefined } },
    ]);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', delivery: 'delivered' }]);
    const matched = await database.query('SELECT send_id, attempt_id FROM statuses WHERE channel_id = $1', [
      channel.channelId,
    ]);
    expect(matched).toEqual([
      { send_id: send.id, attempt_id: send.attemptId },
      { send_id: send.id, attempt_id: send.attemptId },
    ]);
  });

  it('an accepted send that fails later by status stays accepted and debited, and its failure is shown', async () => {
    const reply = await seedReply(database, conversation);
    const job = await onlyJob();
    await sender().execute(job);
    await tell(job.send.id, job.send.attemptId, 'failed');
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', failure: 'undeliverable' }]);
    expect([await used(), await entries(reply)]).toEqual([1, [1]]);
  });
});

describe('a worker that dies or halts', () => {
  it('killed after Graph took the call: noticed after 20 s, settled by the status, never called again', async () => {
    const reply = await seedReply(database, conversation);
    const { send } = await onlyJob();
    const accessToken = sandbox.secrets.open(send.accessTokenCiphertext, {
      workspaceId: send.workspaceId,
      table: 'channels',
      rowId: send.channelId,
      column: 'access_token_ciphertext',
    });
    const { phoneNumberId, attemptId: callbackData, body: text } = send;
    await graph().sendText({ phoneNumberId, accessToken, to: `+${conversation.address}`, text, callbackData });
    await settleSends(database);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'sending' }]);
    await age(21);
    await settleSends(database);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'unknown', attempts: ['unknown'] }]);
    expect(await round()).toBe(0);
    await tell(send.id, send.attemptId, 'sent');
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted' }]);
    expect([await round(), await calls(), await used()]).toEqual([0, ['An answer.'], 1]);
  });

  it('halted for more than 5 s between claim and call: not called, tried again, one accepted call', async () => {
    const reply = await seedReply(database, conversation);
    let now = 0;
    const halted = sender({ now: () => now });
    const job = await onlyJob(halted);
    now = 5_000;
    await halted.execute(job);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', failure: 'claim_too_old', attempts: ['not_sent'] }]);
    await makeDue();
    expect(await round()).toBe(1);
    expect(await calls()).toEqual(['An answer.']);
  });

  it('halted for 30 s: the sweep no longer knows, but its own worker does when it wakes', async () => {
    const reply = await seedReply(database, conversation);
    let now = 0;
    const halted = sender({ now: () => now });
    const job = await onlyJob(halted);
    await age(30);
    await settleSends(database);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'unknown' }]);
    now = 30_000;
    await halted.execute(job);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'retry', attempts: ['not_sent'] }]);
    await makeDue();
    await round();
    expect([await calls(), await used()]).toEqual([['An answer.'], 1]);
  });

  it('an answer that comes after the sweep counts like a status', async () => {
    const reply = await seedReply(database, conversation);
    const job = await onlyJob();
    await age(21);
    await settleSends(database);
    await sender().execute(job);
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', attempts: ['accepted'] }]);
  });

  it('a late failure of the first attempt does not undo the second', async () => {
    const reply = await seedReply(database, conversation);
    const first = await onlyJob();
    await storeOutcomes(database, [
      { send: first.send, outcome: { outcome: 'not_sent', reason: 'connection_refused' } },
    ]);
    await makeDue();
    await round();
    await tell(first.send.id, first.send.attemptId, 'failed');
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', failure: null }]);
  });
});

describe('outcomes of many calls', () => {
  it('that end together are stored together, each caller hears of its own', async () => {
    const others = await Promise.all([1, 2, 3].map(() => seedConversation(database, channel)));
    for (const one of [conversation, ...others]) await seedReply(database, one);
    const { jobs } = await sender().claim(64);
    const store = new OutcomeStore(database);
    const changes = await Promise.all(
      jobs.map(({ send }) =>
        store.store({ send, outcome: { outcome: 'accepted', providerMessageId: `wamid.${newId()}` } }),
      ),
    );
    expect(changes.map((own) => own.map(({ send }) => send.id))).toEqual(jobs.map(({ send }) => [send.id]));
    // The first one finds nobody to wait for; the rest goes with one transaction, so its rows have one xmin.
    const [row] = await database.query<{ transactions: number }>(
      'SELECT count(DISTINCT xmin::text)::int AS transactions FROM sends WHERE id = ANY($1::uuid[])',
      [jobs.map(({ send }) => send.id)],
    );
    expect([jobs.length, row?.transactions]).toEqual([4, 2]);
  });

  it('one that cannot be stored does not take the others along', async () => {
    const other = await seedConversation(database, channel);
    for (const one of [conversation, other]) await seedReply(database, one);
    const { jobs } = await sender().claim(64);
    const store = new OutcomeStore(database);
    const accepted = { outcome: 'accepted' as const, providerMessageId: `wamid.${newId()}` };
    const first = store.store({ send: jobs[0]!.send, outcome: accepted });
    const sound = store.store({ send: jobs[1]!.send, outcome: accepted });
    // Postgres text takes no NUL.
    const unsound = store.store({ send: jobs[1]!.send, outcome: { ...accepted, providerMessageId: '\u0000' } });
    await expect(Promise.allSettled([first, sound, unsound])).resolves.toMatchObject([
      { status: 'fulfilled' },
      { status: 'fulfilled', value: [{ send: { id: jobs[1]!.send.id } }] },
      { status: 'rejected' },
    ]);
  });
});

describe('debits', () => {
  it('go back once, however often it is told that nothing left', async () => {
    const reply = await seedReply(database, conversation);
    const { send } = await onlyJob();
    const refused = { send, outcome: { outcome: 'refused' as const, failure: neverAgain } };
    await storeOutcomes(database, [refused]);
    await storeOutcomes(database, [refused]);
    await silence();
    await settleSends(database);
    expect([await used(), await entries(reply)]).toEqual([0, [1, -1]]);
  });

  it('stay while a call may have been taken, and go back when its own worker says that it was not', async () => {
    const reply = await seedReply(database, conversation);
    const { send } = await onlyJob();
    await age(21);
    await settleSends(database);
    await silence();
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'superseded', attempts: ['unknown'] }]);
    expect([await used(), await entries(reply)]).toEqual([1, [1]]);
    await storeOutcomes(database, [{ send, outcome: { outcome: 'not_sent', reason: 'claim_too_old' } }]);
    expect([await used(), await entries(reply)]).toEqual([0, [1, -1]]);
  });

  it('stay when a superseded call turns out to have been taken', async () => {
    const reply = await seedReply(database, conversation);
    const { send } = await onlyJob();
    await age(21);
    await settleSends(database);
    await silence();
    await tell(send.id, send.attemptId, 'delivered');
    expect(await sendsOf(reply)).toMatchObject([{ phase: 'accepted', delivery: 'delivered' }]);
    expect([await used(), await entries(reply)]).toEqual([1, [1]]);
  });

  it('of a reply that costs nothing there are none', async () => {
    const reply = await seedReply(database, conversation, { kind: 'fallback' });
    await silence();
    expect([await used(), await entries(reply)]).toEqual([0, []]);
  });
});

const neverAgain = {
  class: 'recipient',
  retry: 'never',
  reason: 'recipient_unreachable',
  code: 131026,
  retryAfterMs: undefined,
} as const;
