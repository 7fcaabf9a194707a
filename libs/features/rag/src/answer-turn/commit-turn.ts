import { reachedPercent } from '@answerline/contracts';
import { HUMAN_HOLD_MS, TURN_PATIENCE_MS } from '@answerline/conversation-rules';
import {
  addMail,
  addToOutbox,
  toOutboxEvent,
  changeOwnership,
  countTokens,
  newId,
  timestamp,
  warnOfQuota,
  type Database,
  type Sql,
  type TokenSpend,
  type Transaction,
} from '@answerline/persistence';
import { splitForWhatsApp, toWhatsAppText } from '@answerline/whatsapp';
import { type Receipt } from '../make-answer/receipt.ts';
import { isCounted, resultOf, type PlannedReply, type TurnResult } from './decide-turn.ts';
import { notToldSince } from './notices.ts';
import { type Turn } from './read-turn.ts';

/** Ids that we made ourselves for messages that came without one cannot be quoted. */
const OWN_MESSAGE_ID = /^[0-9a-f]{64}$/;

/**
 * `committed`: stored, once. `again`: something came or changed meanwhile, read again and start over. `stop`: this worker's
 * claim is void, nothing was stored.
 */
export type CommitVerdict = 'committed' | 'again' | 'stop';

/**
 * Stores what a turn came to, all or nothing: the compare-and-set on the conversation, the turn and its outcome, the reply
 * with its sends and receipt, the debit with the warnings it gives rise to, and the tokens. When the quota was used up meanwhile the
 * over-quota text takes the answer's place; when the contact was told meanwhile, on another number, nothing is said.
 *
 * @param spent what was spent on the turn by this worker, null for nothing
 */
export async function commitTurn(
  database: Database,
  turn: Turn,
  result: TurnResult,
  receipt: Receipt | null,
  spent: TokenSpend | null = null,
): Promise<CommitVerdict> {
  const reserved = partsOf(result.reply).length;
  return database.transaction(async (sql) => {
    const position = await compareAndSet(sql, turn, { speaks: result.reply?.author ?? null, parts: reserved });
    if (position === null) return standing(sql, turn);
    const turnId = newId();
    const epoch = result.outcome === 'handed_off' ? await handOff(sql, turn, turnId) : turn.epoch;
    const place = { turn, turnId, epoch, position };
    let stored = result;
    let parts = partsOf(stored.reply);
    let inserted = await insertTurn(sql, place, { ...stored, parts, receipt });
    while (!inserted) {
      stored = insteadOf(turn, stored);
      parts = partsOf(stored.reply);
      inserted = await insertTurn(sql, place, { ...stored, parts, receipt: null });
    }
    if (parts.length !== reserved) {
      sql.write('UPDATE conversations SET send_seq = $2 WHERE id = $1', [
        turn.conversationId,
        position + parts.length - 1,
      ]);
    }
    warnOwner(sql, turn, inserted);
    if (spent) sql.write(...countTokens(turn, spent));
    return 'committed';
  });
}

/** What takes the place of a result that was refused: there is no reply left to debit, or the contact was told already. */
function insteadOf(turn: Turn, refused: TurnResult): TurnResult {
  return isCounted(refused.reply) ? resultOf(turn, 'over_quota') : { outcome: refused.outcome, reply: null };
}

/** In the debit's transaction, so that no warning is lost, and nothing is said of a debit that was not stored. */
function warnOwner(
  sql: Transaction,
  { workspaceId, usage: { month, limit } }: Turn,
  { used, warned }: InsertedTurn,
): void {
  if (used === null || limit === null) return;
  const percent = reachedPercent(used, limit);
  if (percent > (warned ?? 0)) warnOfQuota(sql, { workspaceId, month, percent, limit });
}

/** What a reply is sent as, in WhatsApp's form. */
function partsOf(reply: PlannedReply | null): string[] {
  return reply ? splitForWhatsApp(toWhatsAppText(reply.text)) : [];
}

/** The one statement that decides who commits. Returns the first of the positions that it takes for sends, or null. */
async function compareAndSet(
  sql: Sql,
  turn: Turn,
  reply: { readonly speaks: 'ai' | 'system' | null; readonly parts: number },
): Promise<number | null> {
  const [row] = await sql.query<{ position: number }>(
    {
      name: 'commit-turn',
      text: `UPDATE conversations AS c
             SET answered_seq = $4, lease_until = NULL, claims = 0, send_seq = c.send_seq + $8,
                 due_at = CASE WHEN c.inbound_seq = $4 THEN NULL ELSE c.due_at END,
                 first_unanswered_at = CASE WHEN c.inbound_seq = $4 THEN NULL ELSE coalesce(
                   (SELECT min(m.received_at) FROM messages m WHERE m.conversation_id = c.id AND m.number > $4), clock_timestamp()) END
             WHERE c.id = $1 AND c.fence = $2 AND c.epoch = $3
               AND (c.inbound_seq = $4 OR c.first_unanswered_at <= clock_timestamp() - $6::float8 * interval '1 millisecond')
               AND c.answered_seq = $7 - 1
               AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM channels ch JOIN chatbots b ON b.id = ch.chatbot_id
                                                WHERE ch.id = c.channel_id AND ch.answers AND (b.ai_enabled OR $5 = 'system')))
             RETURNING c.send_seq - $8 + 1 AS position`,
    },
    [turn.conversationId, turn.fence, turn.epoch, turn.read, reply.speaks, TURN_PATIENCE_MS, turn.first, reply.parts],
  );
  return row?.position ?? null;
}

async function standing(sql: Sql, turn: Turn): Promise<CommitVerdict> {
  const rows = await sql.query(
    'SELECT 1 FROM conversations WHERE id = $1 AND fence = $2 AND epoch = $3 AND lease_until IS NOT NULL',
    [turn.conversationId, turn.fence, turn.epoch],
  );
  return rows.length > 0 ? 'again' : 'stop';
}

/**
 * The take-over, in the same transaction: the confirmation is the last thing that is said under the new epoch. The owner is
 * told by event and by mail.
 */
async function handOff(sql: Transaction, turn: Turn, turnId: string): Promise<number> {
  const mutedUntil = turn.now + HUMAN_HOLD_MS;
  const change = await changeOwnership(sql, turn.conversationId, { type: 'take_over', mutedUntil });
  const { workspaceId, channelId, conversationId, contactId } = turn;
  addToOutbox(sql, [
    toOutboxEvent('handoff_requested', {
      rowId: turnId,
      workspaceId,
      channelId,
      conversationId,
      occurredAt: turn.now,
      data: { conversationId, channelId, contactId, mutedUntil: new Date(mutedUntil).toISOString() },
    }),
  ]);
  addMail(sql, { workspaceId, kind: 'handoff', about: { conversationId }, dedupeKey: `handoff:${turnId}` });
  return change?.epoch ?? turn.epoch;
}

/** Where a turn is stored. */
interface TurnPlace {
  readonly turn: Turn;
  readonly turnId: string;
  readonly epoch: number;
  /** Of the first send. */
  readonly position: number;
}

interface TurnToInsert extends TurnResult {
  readonly parts: readonly string[];
  readonly receipt: Receipt | null;
}

/** The month after a debit; null where there was none. */
interface InsertedTurn {
  readonly used: number | null;
  /** The share that the owner was warned of already. */
  readonly warned: number | null;
}

/**
 * Debit, turn, reply, receipt and sends in one statement: all turns of a workspace wait for its usage row, which is locked
 * from here to the commit.
 *
 * @returns undefined when the quota has no reply left, or the contact need not be told: nothing was stored
 */
async function insertTurn(
  sql: Sql,
  { turn, turnId, epoch, position }: TurnPlace,
  { outcome, reply, parts, receipt }: TurnToInsert,
): Promise<InsertedTurn | undefined> {
  const last = turn.messages.at(-1)?.providerMessageId;
  const quote = last === undefined || OWN_MESSAGE_ID.test(last) ? null : last;
  const [inserted] = await sql.query<{ used: number | null; warned: number | null }>(
    {
      name: 'insert-turn',
      text: `WITH debit AS (
               INSERT INTO usage AS u (workspace_id, month, used, "limit")
               SELECT $2::uuid, $3::text, 1, $4::int WHERE $5::uuid IS NOT NULL
               ON CONFLICT (workspace_id, month) DO UPDATE
                 SET used = u.used + 1, "limit" = excluded."limit",
                     warned_percent = CASE WHEN u."limit" IS NOT DISTINCT FROM excluded."limit" THEN u.warned_percent ELSE 0 END
                 WHERE excluded."limit" IS NULL OR u.used < excluded."limit"
               RETURNING used, warned_percent
             ), told AS (
               INSERT INTO contact_notices AS n (contact_id, kind, workspace_id, conversation_id, told_at)
               SELECT $31::uuid, $14::text, $2, $6::uuid, clock_timestamp() WHERE $32::float8 IS NOT NULL
               ON CONFLICT (contact_id, kind) DO UPDATE SET told_at = excluded.told_at, conversation_id = excluded.conversation_id
                 WHERE n.told_at < ${timestamp('$32')}
               RETURNING 1
             ), turn AS (
               INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
               SELECT $1::uuid, $2, $6, $7::int, $8::int, $9::text, $10::int
               WHERE ($5 IS NULL OR EXISTS (SELECT FROM debit)) AND ($32 IS NULL OR EXISTS (SELECT FROM told))
               RETURNING id
             ), entry AS (
               INSERT INTO usage_entries (id, workspace_id, month, channel_id, turn_id, sign)
               SELECT $5, $2, $3, $11::uuid, turn.id, 1 FROM turn WHERE $5 IS NOT NULL
             ), reply AS (
               INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text, quote_message_id)
               SELECT $12::uuid, $2, $11, $6, turn.id, $13::text, $14, $15::text, $16::text FROM turn WHERE $12 IS NOT NULL
               RETURNING id
             ), receipt AS (
               INSERT INTO receipts (id, workspace_id, turn_id, reply_id, question, rewritten_question, search_mode, passages, prompt_version,
                                     model, input_tokens, output_tokens, cost_micros, timings)
               SELECT $17::uuid, $2, $1, reply.id, $18::text, $27::text, $30::text, $19::jsonb, $28::text, $20::text, $21::int, $22::int,
                      $29::bigint, $23::jsonb
               FROM reply WHERE $17 IS NOT NULL
             ), sends AS (
               INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body,
                                  quote_message_id, due_at)
               SELECT part.id, $2, $11, $6, reply.id, part.number, $24::int + part.number - 1, $13, $10, part.body,
                      CASE WHEN part.number = 1 THEN $16 END, clock_timestamp()
               FROM reply CROSS JOIN unnest($25::uuid[], $26::text[]) WITH ORDINALITY AS part(id, body, number)
             )
             SELECT debit.used, debit.warned_percent AS warned FROM turn LEFT JOIN debit ON true`,
    },
    [
      turnId,
      turn.workspaceId,
      turn.usage.month,
      turn.usage.limit,
      isCounted(reply) ? newId() : null,
      turn.conversationId,
      turn.first,
      turn.read,
      outcome,
      epoch,
      turn.channelId,
      reply ? newId() : null,
      reply?.author,
      reply?.kind,
      reply?.text,
      quote,
      receipt ? newId() : null,
      receipt?.question,
      JSON.stringify(receipt?.passages ?? []),
      receipt?.model,
      receipt?.usage.inputTokens ?? 0,
      receipt?.usage.outputTokens ?? 0,
      JSON.stringify(receipt?.timings ?? {}),
      position,
      parts.map(() => newId()),
      parts,
      receipt?.rewrittenQuestion,
      receipt?.promptVersion,
      receipt?.costMicros,
      receipt?.searchMode,
      turn.contactId,
      reply ? notToldSince(reply.kind, turn) : undefined,
    ],
  );
  return inserted;
}
