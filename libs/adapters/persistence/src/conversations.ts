import {
  decideTurn,
  type ConversationState,
  type Holder,
  type TurnFact,
  type TurnVerdict,
} from '@answerline/conversation-rules';
import { type Sql, type Transaction } from './sql.ts';
import { newId } from './ids.ts';
import { applySendFacts, type SendChange } from './sends.ts';
import { ms, timestamp } from './sql-time.ts';

/** A conversation under its row lock, as the rules see it, with what ingest and rag need beside. */
export interface LockedConversation {
  readonly id: string;
  readonly workspaceId: string;
  readonly channelId: string;
  readonly contactId: string;
  readonly quietMs: number;
  readonly quietMaxMs: number;
  /** The chatbot's own words for "no AI" and "AI again"; null: the usual ones. */
  readonly stopWords: readonly string[] | null;
  readonly startWords: readonly string[] | null;
  readonly replyToIdentityId: string | null;
  readonly lastInboundAt: number | null;
  readonly state: ConversationState;
}

/** What {@link storeConversations} writes. */
export type ConversationChange = Pick<LockedConversation, 'id' | 'state' | 'replyToIdentityId' | 'lastInboundAt'>;

interface ConversationRow {
  id: string;
  workspace_id: string;
  channel_id: string;
  contact_id: string;
  owner: 'ai' | 'human';
  held_by: Holder | null;
  epoch: number;
  fence: number;
  lease_until: number | null;
  claims: number;
  inbound_seq: number;
  answered_seq: number;
  due_at: number | null;
  first_unanswered_at: number | null;
  window_until: number | null;
  muted_until: number | null;
  opted_out_at: number | null;
  reply_to_identity_id: string | null;
  last_inbound_at: number | null;
  answers: boolean;
  ai_enabled: boolean;
  quiet_ms: number;
  quiet_max_ms: number;
  stop_words: string[] | null;
  start_words: string[] | null;
  now: number;
}

/**
 * Locks conversations in the order of their ids, which is the order everybody locks them in, and reads them.
 * `now` is the database's clock after the locks were had. Ids that do not exist are left out.
 */
export async function lockConversations(
  sql: Sql,
  ids: readonly string[],
): Promise<{ now: number; conversations: Map<string, LockedConversation> }> {
  const rows = await sql.query<ConversationRow>(
    {
      name: 'lock-conversations',
      text: `SELECT c.id, c.workspace_id, c.channel_id, c.contact_id, c.owner, c.held_by, c.epoch, c.fence, ${ms('c.lease_until')} AS lease_until,
                    c.claims, c.inbound_seq, c.answered_seq, ${ms('c.due_at')} AS due_at,
                    ${ms('c.first_unanswered_at')} AS first_unanswered_at, ${ms('c.window_until')} AS window_until,
                    ${ms('c.muted_until')} AS muted_until, ${ms('c.opted_out_at')} AS opted_out_at, c.reply_to_identity_id,
                    ${ms('c.last_inbound_at')} AS last_inbound_at, ch.answers, b.ai_enabled, b.quiet_ms, b.quiet_max_ms,
                    b.stop_words, b.start_words, ${ms('clock_timestamp()')} AS now
             FROM (SELECT * FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE) c
             JOIN channels ch ON ch.id = c.channel_id
             JOIN chatbots b ON b.id = ch.chatbot_id`,
    },
    [[...new Set(ids)]],
  );
  const conversations = new Map(rows.map((row) => [row.id, toLocked(row)]));
  const now = rows.length > 0 ? Math.max(...rows.map((row) => row.now)) : await databaseNow(sql);
  return { now, conversations };
}

/** The database's clock, ms. */
export async function databaseNow(sql: Sql): Promise<number> {
  const [row] = await sql.query<{ now: number }>({
    name: 'database-now',
    text: `SELECT ${ms('clock_timestamp()')} AS now`,
  });
  return row?.now ?? NaN;
}

function toLocked(row: ConversationRow): LockedConversation {
  return {
    id: row.id,
    workspaceId: row.workspace_id,
    channelId: row.channel_id,
    contactId: row.contact_id,
    quietMs: row.quiet_ms,
    quietMaxMs: row.quiet_max_ms,
    stopWords: row.stop_words,
    startWords: row.start_words,
    replyToIdentityId: row.reply_to_identity_id,
    lastInboundAt: row.last_inbound_at,
    state: {
      owner: row.owner,
      heldBy: row.held_by,
      epoch: row.epoch,
      fence: row.fence,
      leaseUntil: row.lease_until,
      claims: row.claims,
      inboundSeq: row.inbound_seq,
      answeredSeq: row.answered_seq,
      dueAt: row.due_at,
      firstUnansweredAt: row.first_unanswered_at,
      windowUntil: row.window_until,
      mutedUntil: row.muted_until,
      optedOutAt: row.opted_out_at,
      channelAnswers: row.answers,
      aiEnabled: row.ai_enabled,
    },
  };
}

/** Writes conversations back. The caller holds their locks. */
export function storeConversations(sql: Transaction, changes: readonly ConversationChange[]): void {
  if (changes.length === 0) return;
  const of = <Value>(pick: (change: ConversationChange) => Value): Value[] => changes.map(pick);
  sql.write(
    {
      name: 'store-conversations',
      text: `UPDATE conversations AS c
             SET owner = v.owner, held_by = v.held_by, epoch = v.epoch, fence = v.fence, lease_until = ${timestamp('v.lease_until')}, claims = v.claims,
                 inbound_seq = v.inbound_seq, answered_seq = v.answered_seq, due_at = ${timestamp('v.due_at')},
                 first_unanswered_at = ${timestamp('v.first_unanswered_at')}, window_until = ${timestamp('v.window_until')},
                 muted_until = ${timestamp('v.muted_until')}, opted_out_at = ${timestamp('v.opted_out_at')},
                 reply_to_identity_id = v.reply_to_identity_id, last_inbound_at = ${timestamp('v.last_inbound_at')}
             FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::float8[], $6::int[], $7::int[], $8::int[], $9::float8[],
                         $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::uuid[], $15::float8[], $16::text[])
               AS v(id, owner, epoch, fence, lease_until, claims, inbound_seq, answered_seq, due_at, first_unanswered_at,
                    window_until, muted_until, opted_out_at, reply_to_identity_id, last_inbound_at, held_by)
             WHERE c.id = v.id`,
    },
    [
      of(({ id }) => id),
      of(({ state }) => state.owner),
      of(({ state }) => state.epoch),
      of(({ state }) => state.fence),
      of(({ state }) => state.leaseUntil),
      of(({ state }) => state.claims),
      of(({ state }) => state.inboundSeq),
      of(({ state }) => state.answeredSeq),
      of(({ state }) => state.dueAt),
      of(({ state }) => state.firstUnansweredAt),
      of(({ state }) => state.windowUntil),
      of(({ state }) => state.mutedUntil),
      of(({ state }) => state.optedOutAt),
      of(({ replyToIdentityId }) => replyToIdentityId),
      of(({ lastInboundAt }) => lastInboundAt),
      of(({ state }) => state.heldBy),
    ],
  );
}

/** Facts that change who holds a conversation. */
export type OwnershipFact = Extract<TurnFact, { type: 'take_over' | 'hand_back' | 'released' | 'opt_out' | 'opt_in' }>;

/** An ownership fact that a conversation has met, and what the rules said. */
export interface OwnershipChange {
  readonly conversation: Pick<LockedConversation, 'id' | 'workspaceId'>;
  readonly fact: OwnershipFact;
  readonly verdict: TurnVerdict;
  /** After it. */
  readonly epoch: number;
}

/**
 * Take-over and its likes, in the caller's transaction: raises the epoch, closes what waited with its outcome and supersedes
 * AI sends that did not leave. Returns the verdict and the sends it changed, or null when the conversation is gone.
 */
export async function changeOwnership(
  sql: Transaction,
  conversationId: string,
  fact: OwnershipFact,
): Promise<{ verdict: TurnVerdict; epoch: number; sends: SendChange[] } | null> {
  const { conversations } = await lockConversations(sql, [conversationId]);
  const conversation = conversations.get(conversationId);
  if (!conversation) return null;
  const { state, verdict } = decideTurn(conversation.state, fact);
  storeConversations(sql, [{ ...conversation, state }]);
  const { epoch } = state;
  return { verdict, epoch, sends: await followOwnership(sql, [{ conversation, fact, verdict, epoch }]) };
}

/**
 * What changes of ownership entail beside the rows of their conversations: outcomes for what waited, and the end of AI sends
 * that did not leave. The caller holds the locks of the conversations, and stores these rows. Returns the sends it changed.
 */
export async function followOwnership(sql: Transaction, changes: readonly OwnershipChange[]): Promise<SendChange[]> {
  for (const { conversation, verdict, epoch } of changes) {
    if (verdict.type !== 'closed') continue;
    sql.write(
      `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [newId(), conversation.workspaceId, conversation.id, verdict.first, verdict.last, verdict.outcome, epoch],
    );
  }
  const silenced = changes.filter(({ fact: { type } }) => type === 'take_over' || type === 'opt_out');
  const open = await openSendsOf(
    sql,
    silenced.map(({ conversation }) => conversation.id),
  );
  return applySendFacts(
    sql,
    open.map((sendId) => ({ sendId, fact: { type: 'take_over' } })),
  );
}

async function openSendsOf(sql: Sql, conversationIds: readonly string[]): Promise<string[]> {
  if (conversationIds.length === 0) return [];
  const rows = await sql.query<{ id: string }>(
    {
      name: 'open-sends',
      text: `SELECT id FROM sends WHERE conversation_id = ANY($1::uuid[]) AND phase IN ('pending', 'retry', 'sending', 'unknown')`,
    },
    [[...new Set(conversationIds)]],
  );
  return rows.map(({ id }) => id);
}
