import { type Sql } from './sql.ts';

/** A row that should have moved on. Ids and codes only. */
export interface StuckWork {
  readonly kind: 'turn' | 'send' | 'channel' | 'source' | 'index' | 'mail' | 'outbox';
  /** The conversation of a turn or send, the channel, the source, or the chatbot of an index, the mail; null for the outbox. */
  readonly id: string | null;
  readonly workspaceId: string;
  /** What it stands at: `claimed 3 times`, `unknown`, the code that holds a channel, … */
  readonly state: string;
  readonly since: Date;
}

/** No list for a person is longer. */
const MOST = 500;

/**
 * Work that waits for longer than `olderThanMs`, and what is tried for the second time or cannot go on by itself: turns
 * whose worker died, sends without an answer, channels that Meta refuses, sources that are not indexed, index versions that
 * are not built or not dropped, mails that do not reach an owner, events that are not published. Oldest first, at most 500.
 */
export async function findStuckWork(sql: Sql, options: { readonly olderThanMs: number }): Promise<StuckWork[]> {
  const rows = await sql.query<{
    kind: StuckWork['kind'];
    id: string | null;
    workspace_id: string;
    state: string;
    since: Date;
  }>(
    `WITH long_ago AS (SELECT now() - $1::float8 * interval '1 millisecond' AS at)
     SELECT 'turn' AS kind, id, workspace_id, since,
            CASE claims WHEN 0 THEN 'never claimed' WHEN 1 THEN 'claimed once' ELSE 'claimed ' || claims || ' times' END AS state
     FROM (SELECT id, workspace_id, claims, least(due_at, first_unanswered_at) AS since FROM conversations
           WHERE due_at IS NOT NULL AND (claims > 1 OR due_at < (SELECT at FROM long_ago))) AS turns
     UNION ALL
     SELECT 'send', conversation_id, workspace_id, created_at, phase || coalesce(', ' || failure, '')
     FROM sends WHERE phase IN ('pending', 'retry', 'sending', 'unknown') AND created_at < (SELECT at FROM long_ago)
     UNION ALL
     SELECT 'channel', id, workspace_id, created_at, coalesce(send_hold_code, state)
     FROM channels WHERE send_hold_code IS NOT NULL OR state IN ('broken', 'suspended_by_plan')
     UNION ALL
     SELECT 'source', id, workspace_id, updated_at, state || coalesce(', ' || error_code, '')
     FROM sources WHERE state = 'failed' OR (due_at IS NOT NULL AND (tries > 1 OR due_at < (SELECT at FROM long_ago)))
     UNION ALL
     SELECT 'index', chatbot_id, workspace_id, created_at, state || coalesce(', ' || error_code, '')
     FROM index_versions
     WHERE (state = 'building' AND lease_until IS NULL AND (tries > 1 OR due_at < (SELECT at FROM long_ago)))
        OR (state = 'retired' AND due_at < (SELECT at FROM long_ago))
     UNION ALL
     SELECT 'mail', id, workspace_id, created_at, kind || ' ' || state || coalesce(', ' || error_code, '')
     FROM mails
     WHERE (state = 'failed' AND created_at > now() - interval '7 days'
            AND error_code NOT IN ('conversation_deleted', 'channel_disconnected', 'no_longer_true'))
        OR (state = 'pending' AND (tries > 1 OR due_at < (SELECT at FROM long_ago)))
     UNION ALL
     SELECT 'outbox', NULL, workspace_id, min(created_at), count(*) || ' events wait'
     FROM outbox GROUP BY workspace_id HAVING min(created_at) < (SELECT at FROM long_ago)
     ORDER BY since LIMIT ${String(MOST)}`,
    [options.olderThanMs],
  );
  return rows.map(({ kind, id, workspace_id, state, since }) => ({
    kind,
    id,
    workspaceId: workspace_id,
    state,
    since,
  }));
}
