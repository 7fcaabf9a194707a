import { eventSubject, type EventType } from '@answerline/contracts';
import {
  decideSend,
  givesBackDebit,
  isSettled,
  type AttemptState,
  type SendFact,
  type SendPhase,
  type SendState,
} from '@answerline/conversation-rules';
import { type Sql } from './database.ts';
import { newId } from './ids.ts';
import { addToOutbox, type OutboxEvent } from './outbox.ts';
import { ms, timestamp } from './sql-time.ts';

/** A send and what it belongs to. */
export interface StoredSend {
  readonly id: string;
  readonly workspaceId: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly replyId: string;
  /** Sends of its conversation wait behind it. */
  readonly hasFollowers: boolean;
  readonly state: SendState;
  /** Attempts of which Meta's message id is known. */
  readonly namedAttempts: ReadonlySet<string>;
}

export interface SendFactEntry {
  readonly sendId: string;
  readonly fact: SendFact;
  /** Meta's id of the message that an attempt became, once known. */
  readonly providerMessageId?: string | undefined;
}

/** A send before and after. */
export interface SendChange {
  readonly send: StoredSend;
  readonly before: SendPhase;
  readonly call: boolean;
}

interface SendRow {
  id: string;
  workspace_id: string;
  channel_id: string;
  conversation_id: string;
  reply_id: string;
  has_followers: boolean;
  author: SendState['author'];
  epoch: number;
  phase: SendPhase;
  due_at: number | null;
  delivery: SendState['delivery'];
  failure: string | null;
  pair_refusals: number;
  retrying_since: number | null;
  attempts: { id: string; phase: AttemptState['phase']; startedAt: number; isNamed: boolean }[];
}

/** Reads sends with their attempts, oldest first, and locks the sends. The caller holds the conversations' locks. */
export async function lockSends(sql: Sql, ids: readonly string[]): Promise<Map<string, StoredSend>> {
  const rows = await sql.query<SendRow>(
    {
      name: 'lock-sends',
      text: `SELECT s.id, s.workspace_id, s.channel_id, s.conversation_id, s.reply_id, s.author, s.epoch, s.phase,
                    ${ms('s.due_at')} AS due_at, s.delivery, s.failure, s.pair_refusals, ${ms('s.retrying_since')} AS retrying_since,
                    EXISTS (SELECT 1 FROM sends f WHERE f.conversation_id = s.conversation_id AND f.position > s.position
                              AND f.phase IN ('pending', 'retry')) AS has_followers,
                    coalesce((SELECT json_agg(json_build_object('id', a.id, 'phase', a.phase, 'startedAt', ${ms('a.started_at')},
                                                                'isNamed', a.provider_message_id IS NOT NULL)
                                              ORDER BY a.number)
                              FROM attempts a WHERE a.send_id = s.id), '[]') AS attempts
             FROM (SELECT * FROM sends WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE) s`,
    },
    [[...new Set(ids)]],
  );
  return new Map(
    rows.map((row) => [
      row.id,
      {
        id: row.id,
        workspaceId: row.workspace_id,
        channelId: row.channel_id,
        conversationId: row.conversation_id,
        replyId: row.reply_id,
        hasFollowers: row.has_followers,
        state: {
          author: row.author,
          epoch: row.epoch,
          phase: row.phase,
          dueAt: row.due_at,
          attempts: row.attempts.map(({ id, phase, startedAt }) => ({ id, phase, startedAt })),
          delivery: row.delivery,
          failure: row.failure,
          pairRefusals: row.pair_refusals,
          retryingSince: row.retrying_since,
        },
        namedAttempts: new Set(row.attempts.filter(({ isNamed }) => isNamed).map(({ id }) => id)),
      },
    ]),
  );
}

/**
 * Lets the rules apply facts to sends and writes what they say: phases, attempts, the debit of a reply that never left,
 * and the events of replies that ended. The caller holds the locks of their conversations. Facts about sends that do not
 * exist are left out.
 */
export async function applySendFacts(sql: Sql, entries: readonly SendFactEntry[]): Promise<SendChange[]> {
  if (entries.length === 0) return [];
  const stored = await lockSends(
    sql,
    entries.map(({ sendId }) => sendId),
  );
  const before = new Map([...stored].map(([id, send]) => [id, send.state]));
  const calls = new Set<string>();
  const providerIds = new Map<string, string>();
  for (const { sendId, fact, providerMessageId } of entries) {
    const send = stored.get(sendId);
    if (!send) continue;
    const decision = decideSend(send.state, fact);
    stored.set(sendId, { ...send, state: decision.state });
    if (decision.call) calls.add(sendId);
    const attemptId = 'attemptId' in fact ? fact.attemptId : null;
    const isNews = attemptId !== null && !send.namedAttempts.has(attemptId);
    if (isNews && providerMessageId !== undefined) providerIds.set(attemptId, providerMessageId);
  }
  const changed = [...stored.values()].filter((send) => send.state !== before.get(send.id));
  await storeSends(sql, changed, before, providerIds);
  // An attempt that turns out not to have been sent may end the doubt about a send that was over already.
  const ended = changed.filter(
    ({ id, state }) =>
      isSettled(state.phase) && (before.get(id)?.phase !== state.phase || before.get(id)?.attempts !== state.attempts),
  );
  await settleReplies(sql, [...new Set(ended.map(({ replyId }) => replyId))]);
  return changed.map((send) => ({
    send,
    before: before.get(send.id)?.phase ?? send.state.phase,
    call: calls.has(send.id),
  }));
}

/** Sends and their attempts in one statement. */
async function storeSends(
  sql: Sql,
  sends: readonly StoredSend[],
  before: ReadonlyMap<string, SendState>,
  providerIds: ReadonlyMap<string, string>,
): Promise<void> {
  if (sends.length === 0) return;
  const attempts = sends.flatMap((send) =>
    send.state.attempts
      .map((attempt, place) => ({ send, attempt, number: place + 1 }))
      .filter(({ attempt, number }) => {
        const was = before.get(send.id)?.attempts[number - 1];
        return was?.phase !== attempt.phase || providerIds.has(attempt.id);
      }),
  );
  const of = <Value>(pick: (send: StoredSend) => Value): Value[] => sends.map(pick);
  const ofAttempts = <Value>(pick: (row: (typeof attempts)[number]) => Value): Value[] => attempts.map(pick);
  await sql.query(
    {
      name: 'store-sends',
      text: `WITH stored AS (
               UPDATE sends AS s
               SET phase = v.phase, due_at = ${timestamp('v.due_at')}, delivery = v.delivery, failure = v.failure,
                   pair_refusals = v.pair_refusals, retrying_since = ${timestamp('v.retrying_since')}
               FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::text[], $5::text[], $6::int[], $7::float8[])
                 AS v(id, phase, due_at, delivery, failure, pair_refusals, retrying_since)
               WHERE s.id = v.id
             )
             INSERT INTO attempts AS a (id, workspace_id, channel_id, send_id, number, phase, started_at, ended_at, provider_message_id, code)
             SELECT v.id, v.workspace_id, v.channel_id, v.send_id, v.number, v.phase, ${timestamp('v.started_at')},
                    CASE WHEN v.phase = 'calling' THEN NULL ELSE clock_timestamp() END, v.provider_message_id, v.code
             FROM unnest($8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::int[], $13::text[], $14::float8[], $15::text[], $16::text[])
               AS v(id, workspace_id, channel_id, send_id, number, phase, started_at, provider_message_id, code)
             ON CONFLICT (id) DO UPDATE
             SET phase = excluded.phase, ended_at = excluded.ended_at, code = excluded.code,
                 provider_message_id = coalesce(a.provider_message_id, excluded.provider_message_id)`,
    },
    [
      of(({ id }) => id),
      of(({ state }) => state.phase),
      of(({ state }) => state.dueAt),
      of(({ state }) => state.delivery),
      of(({ state }) => state.failure),
      of(({ state }) => state.pairRefusals),
      of(({ state }) => state.retryingSince),
      ofAttempts(({ attempt }) => attempt.id),
      ofAttempts(({ send }) => send.workspaceId),
      ofAttempts(({ send }) => send.channelId),
      ofAttempts(({ send }) => send.id),
      ofAttempts(({ number }) => number),
      ofAttempts(({ attempt }) => attempt.phase),
      ofAttempts(({ attempt }) => attempt.startedAt),
      ofAttempts(({ attempt }) => providerIds.get(attempt.id) ?? null),
      ofAttempts(({ send, attempt }) =>
        attempt.phase === 'calling' || attempt.phase === 'accepted' ? null : send.state.failure,
      ),
    ],
  );
}

interface ReplyRow {
  reply_id: string;
  workspace_id: string;
  channel_id: string;
  conversation_id: string;
  turn_id: string | null;
  kind: string;
  phases: { phase: SendPhase; failure: string | null; attempts: AttemptState['phase'][] }[];
}

/** Events and debits of replies of which a send has just ended. */
async function settleReplies(sql: Sql, replyIds: readonly string[]): Promise<void> {
  if (replyIds.length === 0) return;
  const replies = await sql.query<ReplyRow>(
    {
      name: 'settle-replies',
      text: `SELECT r.id AS reply_id, r.workspace_id, r.channel_id, r.conversation_id, r.turn_id, r.kind,
                    (SELECT json_agg(json_build_object('phase', s.phase, 'failure', s.failure, 'attempts',
                              coalesce((SELECT json_agg(a.phase) FROM attempts a WHERE a.send_id = s.id), '[]')))
                     FROM sends s WHERE s.reply_id = r.id) AS phases
             FROM replies r WHERE r.id = ANY($1::uuid[])`,
    },
    [replyIds],
  );
  const over = replies.filter(({ phases }) => phases.every(({ phase }) => isSettled(phase)));
  await addToOutbox(
    sql,
    over.map(replyEvent).filter((event) => event !== undefined),
  );
  const unsent = over.filter(
    ({ turn_id, phases }) =>
      turn_id !== null &&
      givesBackDebit(
        phases.map(({ phase, attempts }) => ({
          phase,
          attempts: attempts.map((attempt) => ({ id: '', phase: attempt, startedAt: 0 })),
        })),
      ),
  );
  if (unsent.length > 0) {
    await giveBackDebits(
      sql,
      unsent.map(({ turn_id }) => turn_id),
    );
  }
}

function replyEvent(reply: ReplyRow): OutboxEvent | undefined {
  const isAccepted = reply.phases.every(({ phase }) => phase === 'accepted');
  const failure = reply.phases.find(({ phase }) => phase === 'failed');
  if (!isAccepted && !failure) return undefined;
  const type: EventType = isAccepted ? 'reply_accepted' : 'reply_failed';
  const id = `${type}:${reply.reply_id}`;
  return {
    id,
    workspaceId: reply.workspace_id,
    subject: eventSubject(type, reply.workspace_id, reply.channel_id, reply.conversation_id),
    payload: {
      id,
      type,
      occurredAt: new Date().toISOString(),
      workspaceId: reply.workspace_id,
      correlationId: reply.turn_id ?? reply.reply_id,
      data: {
        replyId: reply.reply_id,
        conversationId: reply.conversation_id,
        channelId: reply.channel_id,
        kind: reply.kind,
        turnId: reply.turn_id,
        ...(failure ? { failureCode: failure.failure ?? 'failed' } : {}),
      },
    },
  };
}

/** One entry of −1 a turn, once, and only where +1 stands. */
async function giveBackDebits(sql: Sql, turnIds: readonly (string | null)[]): Promise<void> {
  await sql.query(
    `WITH debit AS (
       SELECT workspace_id, month, channel_id, turn_id, gen.id
       FROM usage_entries JOIN unnest($1::uuid[], $2::uuid[]) AS gen(turn_id, id) USING (turn_id)
       WHERE sign = 1
     ), credit AS (
       INSERT INTO usage_entries (id, workspace_id, month, channel_id, turn_id, sign)
       SELECT debit.id, workspace_id, month, channel_id, turn_id, -1 FROM debit
       ON CONFLICT (turn_id, sign) DO NOTHING
       RETURNING workspace_id, month
     )
     UPDATE usage u SET used = used - c.n
     FROM (SELECT workspace_id, month, count(*)::int AS n FROM credit GROUP BY 1, 2) c
     WHERE u.workspace_id = c.workspace_id AND u.month = c.month`,
    [turnIds, turnIds.map(() => newId())],
  );
}
