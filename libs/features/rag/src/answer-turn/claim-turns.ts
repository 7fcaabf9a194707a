import { TURN_LEASE_MS } from '@answerline/conversation-rules';
import { type Sql } from '@answerline/persistence';
import { type Turn, type TurnClaim } from './read-turn.ts';

const LEASE = `interval '${String(TURN_LEASE_MS)} milliseconds'`;

/** Claims up to `limit` due conversations, longest due first; nobody else gets them while the lease lasts. */
export async function claimTurns(sql: Sql, limit: number): Promise<TurnClaim[]> {
  const rows = await sql.query<{ id: string; fence: number }>(
    {
      name: 'claim-turns',
      text: `UPDATE conversations AS c SET fence = c.fence + 1, claims = c.claims + 1, lease_until = clock_timestamp() + ${LEASE}
             FROM (SELECT id FROM conversations
                   WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                   ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) AS due
             WHERE c.id = due.id
             RETURNING c.id, c.fence`,
    },
    [limit],
  );
  return rows.map(({ id, fence }) => ({ conversationId: id, fence }));
}

/** Whether what a worker works on can still be committed; see `renew` and `commit` of the rules. */
export type Standing = 'keep' | 'again' | 'stop';

/** Extends the lease, and says whether to go on, to start over with what came meanwhile, or to stop. */
export async function renewLease(sql: Sql, turn: Turn): Promise<Standing> {
  const [row] = await sql.query<{ is_stale: boolean }>(
    {
      name: 'renew-lease',
      text: `UPDATE conversations SET lease_until = clock_timestamp() + ${LEASE}
             WHERE id = $1 AND fence = $2 AND epoch = $3 AND lease_until IS NOT NULL
             RETURNING inbound_seq <> $4
               AND (first_unanswered_at IS NULL OR first_unanswered_at > clock_timestamp() - interval '20 seconds') AS is_stale`,
    },
    [turn.conversationId, turn.fence, turn.epoch, turn.read],
  );
  if (!row) return 'stop';
  return row.is_stale ? 'again' : 'keep';
}

/**
 * For a worker that is to start over because something newer came: releases the turn until the quiet window of that is over,
 * because till then its messages may come in disorder, and an answer to the later one would leave the earlier one behind.
 *
 * @returns false when the window is over already, or the claim is lost: read again at once
 */
export async function stepBack(sql: Sql, claim: TurnClaim): Promise<boolean> {
  const rows = await sql.query(
    {
      name: 'step-back',
      text: `UPDATE conversations SET lease_until = NULL, claims = greatest(claims - 1, 0)
             WHERE id = $1 AND fence = $2 AND lease_until IS NOT NULL AND due_at > clock_timestamp()
             RETURNING id`,
    },
    [claim.conversationId, claim.fence],
  );
  return rows.length > 0;
}

/** Gives a claim back, to be taken again in `inMs`. A claim that was lost is nobody's to give. */
export async function giveBack(sql: Sql, claim: TurnClaim, inMs: number): Promise<void> {
  await sql.query(
    {
      name: 'give-back-turn',
      text: `UPDATE conversations
             SET lease_until = NULL, due_at = greatest(due_at, clock_timestamp() + $3::float8 * interval '1 millisecond')
             WHERE id = $1 AND fence = $2 AND due_at IS NOT NULL`,
    },
    [claim.conversationId, claim.fence, inMs],
  );
}
