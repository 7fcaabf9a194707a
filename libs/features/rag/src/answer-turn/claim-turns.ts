import { TURN_LEASE_MS } from '@answerline/conversation-rules';
import { type Sql } from '@answerline/persistence';
import { type Turn, type TurnClaim } from './read-turn.ts';

const LEASE = `interval '${String(TURN_LEASE_MS)} milliseconds'`;

/** Turns of each workspace that this process answers at the moment. */
export type HeldTurns = ReadonlyMap<string, number>;

/**
 * Claims up to `limit` due conversations, longest due first; nobody else gets them while the lease lasts. A workspace that has half of
 * this process's turns, with those that it is given here, has to wait as long as others have one due: its five hundred customers must
 * not let another's one wait for all of theirs.
 *
 * @param limit the free ones of this process's turns
 * @param held those that are not free
 */
export async function claimTurns(sql: Sql, limit: number, held: HeldTurns = new Map()): Promise<TurnClaim[]> {
  const mine = new Map(held);
  const half = Math.max(1, Math.ceil((limit + sum(mine.values())) / 2));
  // A workspace just below half would else have the rest claimed one by one, for it might be the next to get each.
  const nearly = half - Math.ceil(half / 4) + 1;
  const claims: TurnClaim[] = [];
  while (claims.length < limit) {
    const left = limit - claims.length;
    const full = [...mine].filter(([, count]) => count >= nearly).map(([workspaceId]) => workspaceId);
    const most = Math.max(0, ...[...mine.values()].filter((count) => count < nearly));
    // Not so many that one could get more than half.
    const wanted = Math.min(left, half - most);
    const claimed = await claimDue(sql, { wanted, full, left });
    claims.push(...claimed);
    for (const { workspaceId } of claimed) mine.set(workspaceId, (mine.get(workspaceId) ?? 0) + 1);
    if (claimed.filter(({ workspaceId }) => !full.includes(workspaceId)).length < wanted) break;
  }
  return claims;
}

const isDue = 'due_at <= now() AND (lease_until IS NULL OR lease_until <= now())';

/** First of the workspaces that are not full; when fewer than `wanted` of theirs are due, the full ones get what is left. */
async function claimDue(
  sql: Sql,
  { wanted, full, left }: { readonly wanted: number; readonly full: readonly string[]; readonly left: number },
): Promise<TurnClaim[]> {
  const rows = await sql.query<{ id: string; workspace_id: string; fence: number }>(
    {
      name: 'claim-turns',
      // IS TRUE: so that both look along the index of what is due, and not along that of the workspaces.
      text: `WITH others AS (
               SELECT id FROM conversations WHERE ${isDue} AND (workspace_id <> ALL($2::uuid[])) IS TRUE
               ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
             ), rest AS (
               SELECT id FROM conversations WHERE ${isDue} AND (workspace_id = ANY($2)) IS TRUE
               ORDER BY due_at LIMIT (SELECT CASE WHEN count(*) < $1 THEN $3::int - count(*) ELSE 0 END FROM others)
               FOR NO KEY UPDATE SKIP LOCKED
             )
             UPDATE conversations AS c SET fence = c.fence + 1, claims = c.claims + 1, lease_until = clock_timestamp() + ${LEASE}
             FROM (SELECT id FROM others UNION ALL SELECT id FROM rest) AS due
             WHERE c.id = due.id
             RETURNING c.id, c.workspace_id, c.fence`,
    },
    [wanted, full, left],
  );
  return rows.map(({ id, workspace_id: workspaceId, fence }) => ({ conversationId: id, workspaceId, fence }));
}

const sum = (counts: Iterable<number>): number => [...counts].reduce((all, count) => all + count, 0);

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
