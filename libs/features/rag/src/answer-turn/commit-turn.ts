import { eventSubject } from '@answerline/contracts';
import { TURN_PATIENCE_MS } from '@answerline/conversation-rules';
import { addToOutbox, changeOwnership, newId, type Database, type Sql } from '@answerline/persistence';
import { splitForWhatsApp, toWhatsAppText } from '@answerline/whatsapp';
import { isCounted, resultOf, type PlannedReply, type TurnResult } from './decide-turn.ts';
import { type Receipt } from './receipt.ts';
import { type Turn } from './read-turn.ts';

/** A human has this long to answer before the AI takes part again. */
const HANDOFF_MUTE_MS = 24 * 60 * 60 * 1000;
/** Ids that we made ourselves for messages that came without one cannot be quoted. */
const OWN_MESSAGE_ID = /^[0-9a-f]{64}$/;

/**
 * `committed`: stored, once. `again`: something came or changed meanwhile, read again and start over. `stop`: this worker's
 * claim is void, nothing was stored.
 */
export type CommitVerdict = 'committed' | 'again' | 'stop';

/**
 * Stores what a turn came to, all or nothing: the compare-and-set on the conversation, the turn and its outcome, the reply
 * with its sends and receipt, and the debit. When the quota was used up meanwhile the over-quota text takes the answer's place.
 */
export async function commitTurn(
  database: Database,
  turn: Turn,
  result: TurnResult,
  receipt: Receipt | null,
): Promise<CommitVerdict> {
  return database.transaction(async (sql) => {
    const position = await compareAndSet(sql, turn, result.reply?.author ?? null);
    if (position === null) return standing(sql, turn);
    const turnId = newId();
    const isRefused = isCounted(result.reply) && !(await debit(sql, turn));
    const { outcome, reply } = isRefused ? resultOf(turn, 'over_quota') : result;
    await sql.query(
      {
        name: 'insert-turn',
        text: `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
               VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      },
      [turnId, turn.workspaceId, turn.conversationId, turn.first, turn.read, outcome, turn.epoch],
    );
    const epoch = outcome === 'handed_off' ? await handOff(sql, turn, turnId) : turn.epoch;
    if (reply) await insertReply(sql, { turn, turnId, epoch, position, reply, receipt, isDebited: isCounted(reply) });
    return 'committed';
  });
}

/** The one statement that decides who commits. Returns the first free send position, or null. */
async function compareAndSet(sql: Sql, turn: Turn, speaks: 'ai' | 'system' | null): Promise<number | null> {
  const [row] = await sql.query<{ send_seq: number }>(
    {
      name: 'commit-turn',
      text: `UPDATE conversations AS c
             SET answered_seq = $4, lease_until = NULL, claims = 0,
                 due_at = CASE WHEN c.inbound_seq = $4 THEN NULL ELSE c.due_at END,
                 first_unanswered_at = CASE WHEN c.inbound_seq = $4 THEN NULL ELSE coalesce(
                   (SELECT min(m.received_at) FROM messages m WHERE m.conversation_id = c.id AND m.number > $4), clock_timestamp()) END
             WHERE c.id = $1 AND c.fence = $2 AND c.epoch = $3
               AND (c.inbound_seq = $4 OR c.first_unanswered_at <= clock_timestamp() - $6::float8 * interval '1 millisecond')
               AND c.answered_seq = $7 - 1
               AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM channels ch JOIN chatbots b ON b.id = ch.chatbot_id
                                                WHERE ch.id = c.channel_id AND ch.answers AND (b.ai_enabled OR $5 = 'system')))
             RETURNING c.send_seq`,
    },
    [turn.conversationId, turn.fence, turn.epoch, turn.read, speaks, TURN_PATIENCE_MS, turn.first],
  );
  return row ? row.send_seq + 1 : null;
}

async function standing(sql: Sql, turn: Turn): Promise<CommitVerdict> {
  const rows = await sql.query(
    'SELECT 1 FROM conversations WHERE id = $1 AND fence = $2 AND epoch = $3 AND lease_until IS NOT NULL',
    [turn.conversationId, turn.fence, turn.epoch],
  );
  return rows.length > 0 ? 'again' : 'stop';
}

/** Takes one reply from the month's quota. False: none is left. */
async function debit(sql: Sql, turn: Turn): Promise<boolean> {
  const rows = await sql.query(
    {
      name: 'debit',
      text: `INSERT INTO usage AS u (workspace_id, month, used, "limit") VALUES ($1, $2, 1, $3)
             ON CONFLICT (workspace_id, month) DO UPDATE SET used = u.used + 1, "limit" = excluded."limit"
               WHERE excluded."limit" IS NULL OR u.used < excluded."limit"
             RETURNING used`,
    },
    [turn.workspaceId, turn.usage.month, turn.usage.limit],
  );
  return rows.length > 0;
}

/** The take-over, in the same transaction: the confirmation is the last thing that is said under the new epoch. */
async function handOff(sql: Sql, turn: Turn, turnId: string): Promise<number> {
  const mutedUntil = turn.now + HANDOFF_MUTE_MS;
  const change = await changeOwnership(sql, turn.conversationId, { type: 'take_over', mutedUntil });
  const id = `handoff_requested:${turnId}`;
  const { workspaceId, channelId, conversationId, contactId } = turn;
  await addToOutbox(sql, [
    {
      id,
      workspaceId,
      subject: eventSubject('handoff_requested', workspaceId, channelId, conversationId),
      payload: {
        id,
        type: 'handoff_requested',
        occurredAt: new Date(turn.now).toISOString(),
        workspaceId,
        correlationId: turnId,
        data: { conversationId, channelId, contactId, mutedUntil: new Date(mutedUntil).toISOString() },
      },
    },
  ]);
  return change?.epoch ?? turn.epoch;
}

interface ReplyToInsert {
  readonly turn: Turn;
  readonly turnId: string;
  readonly epoch: number;
  /** Of the first send. */
  readonly position: number;
  readonly reply: PlannedReply;
  readonly receipt: Receipt | null;
  readonly isDebited: boolean;
}

/** Reply, sends, receipt and the entry of the debit in one statement: they stand or fall together, in one round trip. */
async function insertReply(
  sql: Sql,
  { turn, turnId, epoch, position, reply, receipt, isDebited }: ReplyToInsert,
): Promise<void> {
  const parts = splitForWhatsApp(toWhatsAppText(reply.text));
  const last = turn.messages.at(-1)?.providerMessageId;
  const quote = last === undefined || OWN_MESSAGE_ID.test(last) ? null : last;
  await sql.query(
    {
      name: 'insert-reply',
      text: `WITH reply AS (
               INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text, quote_message_id)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ), numbered AS (
               UPDATE conversations SET send_seq = $10 + cardinality($12::text[]) - 1 WHERE id = $4
             ), receipt AS (
               INSERT INTO receipts (id, workspace_id, turn_id, reply_id, question, passages, model, input_tokens, output_tokens, timings)
               SELECT $13::uuid, $2, $5, $1, $14, $15::jsonb, $16, $17, $18, $19::jsonb WHERE $13::uuid IS NOT NULL
             ), entry AS (
               INSERT INTO usage_entries (id, workspace_id, month, channel_id, turn_id, sign)
               SELECT $20::uuid, $2, $21, $3, $5, 1 WHERE $20::uuid IS NOT NULL
             )
             INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, quote_message_id, due_at)
             SELECT part.id, $2, $3, $4, $1, part.number, $10 + part.number - 1, $6, $11, part.body,
                    CASE WHEN part.number = 1 THEN $9 END, clock_timestamp()
             FROM unnest($22::uuid[], $12::text[]) WITH ORDINALITY AS part(id, body, number)`,
    },
    [
      newId(),
      turn.workspaceId,
      turn.channelId,
      turn.conversationId,
      turnId,
      reply.author,
      reply.kind,
      reply.text,
      quote,
      position,
      epoch,
      parts,
      receipt ? newId() : null,
      receipt?.question,
      JSON.stringify(receipt?.passages ?? []),
      receipt?.model,
      receipt?.usage.inputTokens ?? 0,
      receipt?.usage.outputTokens ?? 0,
      JSON.stringify(receipt?.timings ?? {}),
      isDebited ? newId() : null,
      turn.usage.month,
      parts.map(() => newId()),
    ],
  );
}
