import { lockConversations } from './conversations.ts';
import { applySendFacts } from './sends.ts';
import { type Sql, type Transaction } from './sql.ts';

/** What became of the sends of some conversations. */
export interface CalledOff {
  /** That were superseded: they do not leave any more. */
  readonly superseded: number;
  /** Whose Graph call is under way. */
  readonly underWay: number;
}

/** As the partial index on open sends has it. */
const OPEN = `phase IN ('pending', 'retry', 'sending', 'unknown')`;
/** Conversations of one transaction. More would hold too many locks at once. */
const CONVERSATIONS_AT_ONCE = 200;

/**
 * Supersedes what has not left of these conversations, whoever wrote it, with `code` as its failure. It locks them, so that
 * a claim comes wholly before, and is under way, or wholly after, and finds nothing.
 */
export async function callOffSends(
  sql: Transaction,
  conversationIds: readonly string[],
  code: string,
): Promise<CalledOff> {
  await lockConversations(sql, conversationIds);
  const open = await sql.query<{ id: string }>(
    `SELECT id FROM sends WHERE conversation_id = ANY($1::uuid[]) AND ${OPEN}`,
    [conversationIds],
  );
  const changes = await applySendFacts(
    sql,
    open.map(({ id }) => ({ sendId: id, fact: { type: 'called_off', code } })),
  );
  return { superseded: changes.length, underWay: open.length - changes.length };
}

/** Conversations of a channel with sends that could still leave, up to as many as one transaction takes. */
export async function conversationsWithUnsent(sql: Sql, channelId: string): Promise<string[]> {
  const rows = await sql.query<{ conversation_id: string }>(
    `SELECT DISTINCT conversation_id FROM sends WHERE channel_id = $1 AND phase IN ('pending', 'retry', 'unknown')
     ORDER BY conversation_id LIMIT $2`,
    [channelId, CONVERSATIONS_AT_ONCE],
  );
  return rows.map(({ conversation_id: id }) => id);
}

/** Graph calls of a channel that are under way: of its sends, and of a check of its health. */
export async function callsUnderWay(sql: Sql, channelId: string): Promise<number> {
  const [row] = await sql.query<{ calls: number }>(
    `SELECT (SELECT count(*) FROM sends WHERE channel_id = $1 AND phase = 'sending')::int
            + (SELECT count(*) FROM channel_health WHERE channel_id = $1 AND lease_until > clock_timestamp())::int AS calls`,
    [channelId],
  );
  return row?.calls ?? 0;
}
