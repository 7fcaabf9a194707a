import {
  decideSend,
  givesBackDebit,
  isSettled,
  type AttemptState,
  type SendFact,
  type SendPhase,
  type SendState,
} from '@answerline/conversation-rules';
import { type Sql, type Transaction } from './sql.ts';
import { newId } from './ids.ts';
import { addToOutbox, toOutboxEvent, type OutboxEvent } from './outbox.ts';
import { ms, timestamp } from './sql-time.ts';

/** The reply that a send is a part of. */
export interface StoredReply {
  readonly id: string;
  /** Null when a human wrote it. */
  readonly turnId: string | null;
  readonly kind: string;
  /** Its other sends. */
  readonly otherParts: readonly Part[];
}

/** A send of a reply, as far as the end of the whole reply depends on it. */
interface Part {
  readonly id: string;
  /** 1 for the first. */
  readonly part: number;
  readonly phase: SendPhase;
  readonly failure: string | null;
  readonly attempts: readonly AttemptState[];
}

/** A send and what it belongs to. */
export interface StoredSend {
  readonly id: string;
  readonly workspaceId: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly reply: StoredReply;
  readonly part: number;
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
  turn_id: string | null;
  kind: string;
  part: number;
  other_parts: Part[];
  has_followers: boolean;
  author: SendState['author'];
  epoch: number;
  silenced: boolean;
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
      text: `SELECT s.id, s.workspace_id, s.channel_id, s.conversation_id, s.reply_id, r.turn_id, r.kind, s.part, s.author,
                    s.epoch, s.author = 'ai' AND s.epoch <> c.epoch AS silenced, s.phase, ${ms('s.due_at')} AS due_at, s.delivery,
                    s.failure, s.pair_refusals, ${ms('s.retrying_since')} AS retrying_since,
                    EXISTS (SELECT 1 FROM sends f WHERE f.conversation_id = s.conversation_id AND f.position > s.position
                              AND f.phase IN ('pending', 'retry')) AS has_followers,
                    coalesce((SELECT json_agg(json_build_object('id', a.id, 'phase', a.phase, 'startedAt', ${ms('a.started_at')},
                                                                'isNamed', a.provider_message_id IS NOT NULL)
                                              ORDER BY a.number)
                              FROM attempts a WHERE a.send_id = s.id), '[]') AS attempts,
                    coalesce((SELECT json_agg(json_build_object('id', o.id, 'part', o.part, 'phase', o.phase, 'failure', o.failure, 'attempts',
                                       coalesce((SELECT json_agg(json_build_object('id', a.id, 'phase', a.phase,
                                                                                   'startedAt', ${ms('a.started_at')}))
                                                 FROM attempts a WHERE a.send_id = o.id), '[]')))
                              FROM sends o WHERE o.reply_id = s.reply_id AND o.id <> s.id), '[]') AS other_parts
             FROM (SELECT * FROM sends WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE) s
             JOIN replies r ON r.id = s.reply_id
             JOIN conversations c ON c.id = s.conversation_id`,
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
        reply: { id: row.reply_id, turnId: row.turn_id, kind: row.kind, otherParts: row.other_parts },
        part: row.part,
        hasFollowers: row.has_followers,
        state: {
          author: row.author,
          epoch: row.epoch,
          silenced: row.silenced,
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
 * Lets the rules apply facts to sends, in the order of the entries, and writes what they say: phases, attempts, the debit of
 * a reply that never left, and the events of replies that ended. The caller holds the locks of their conversations. Facts
 * about sends that do not exist are left out.
 *
 * @param locked the sends, if the caller has locked them already; they must be as they are in the table
 */
export async function applySendFacts(
  sql: Transaction,
  entries: readonly SendFactEntry[],
  locked?: ReadonlyMap<string, StoredSend>,
): Promise<SendChange[]> {
  if (entries.length === 0) return [];
  const before =
    locked ??
    (await lockSends(
      sql,
      entries.map(({ sendId }) => sendId),
    ));
  const stored = new Map(before);
  const calls = new Set<string>();
  const providerIds = new Map<string, string>();
  for (const { sendId, fact, providerMessageId } of entries) {
    const send = stored.get(sendId);
    if (!send) continue;
    const decision = decideSend(send.state, fact);
    stored.set(sendId, { ...send, state: decision.state });
    if (decision.call) calls.add(sendId);
    const attemptId = 'attemptId' in fact ? fact.attemptId : null;
    const isNews = attemptId !== null && !send.namedAttempts.has(attemptId) && !providerIds.has(attemptId);
    if (isNews && providerMessageId !== undefined) providerIds.set(attemptId, providerMessageId);
  }
  const stateBefore = (id: string): SendState | undefined => before.get(id)?.state;
  const changed = [...stored.values()].filter((send) => send.state !== stateBefore(send.id));
  storeSends(sql, changed, stateBefore, providerIds);
  // An attempt that turns out not to have been sent may end the doubt about a send that was over already.
  const ended = changed.filter(({ id, state }) => {
    const was = stateBefore(id);
    return isSettled(state.phase) && (was?.phase !== state.phase || was.attempts !== state.attempts);
  });
  settleReplies(sql, ended, stored);
  return changed.map((send) => ({
    send,
    before: stateBefore(send.id)?.phase ?? send.state.phase,
    call: calls.has(send.id),
  }));
}

/** Sends and their attempts in one statement. */
function storeSends(
  sql: Transaction,
  sends: readonly StoredSend[],
  stateBefore: (id: string) => SendState | undefined,
  providerIds: ReadonlyMap<string, string>,
): void {
  if (sends.length === 0) return;
  const attempts = sends.flatMap((send) =>
    send.state.attempts
      .map((attempt, place) => ({ send, attempt, number: place + 1 }))
      .filter(({ attempt, number }) => {
        const was = stateBefore(send.id)?.attempts[number - 1];
        return was?.phase !== attempt.phase || providerIds.has(attempt.id);
      }),
  );
  const of = <Value>(pick: (send: StoredSend) => Value): Value[] => sends.map(pick);
  const ofAttempts = <Value>(pick: (row: (typeof attempts)[number]) => Value): Value[] => attempts.map(pick);
  sql.write(
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

/** A reply of which a send has just ended, with all its sends. */
interface EndedReply {
  readonly send: StoredSend;
  readonly parts: readonly Part[];
}

/** Events and debits of replies of which a send has just ended. */
function settleReplies(sql: Transaction, ended: readonly StoredSend[], stored: ReadonlyMap<string, StoredSend>): void {
  const replies = [...new Map(ended.map((send) => [send.reply.id, send])).values()].map((send) => ({
    send,
    parts: [
      partOf(send),
      ...send.reply.otherParts.map((part) => {
        const other = stored.get(part.id);
        return other ? partOf(other) : part;
      }),
    ].toSorted((a, b) => a.part - b.part),
  }));
  const over = replies.filter(({ parts }) => parts.every(({ phase }) => isSettled(phase)));
  addToOutbox(
    sql,
    over.map(replyEvent).filter((event) => event !== undefined),
  );
  const unsent = over.flatMap(({ send: { reply }, parts }) =>
    reply.turnId !== null && givesBackDebit(parts) ? [reply.turnId] : [],
  );
  if (unsent.length > 0) giveBackDebits(sql, unsent);
}

function partOf({ id, part, state: { phase, failure, attempts } }: StoredSend): Part {
  return { id, part, phase, failure, attempts };
}

function replyEvent({ send, parts }: EndedReply): OutboxEvent | undefined {
  const isAccepted = parts.every(({ phase }) => phase === 'accepted');
  const failure = parts.find(({ phase }) => phase === 'failed');
  if (!isAccepted && !failure) return undefined;
  const { reply, workspaceId, channelId, conversationId } = send;
  const facts = { rowId: reply.id, workspaceId, channelId, conversationId, correlationId: reply.turnId ?? reply.id };
  const data = { replyId: reply.id, conversationId, channelId, kind: reply.kind, turnId: reply.turnId };
  return isAccepted
    ? toOutboxEvent('reply_accepted', { ...facts, data })
    : toOutboxEvent('reply_failed', { ...facts, data: { ...data, failureCode: failure?.failure ?? 'failed' } });
}

/** One entry of −1 a turn, once, and only where +1 stands. */
function giveBackDebits(sql: Transaction, turnIds: readonly string[]): void {
  sql.write(
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
