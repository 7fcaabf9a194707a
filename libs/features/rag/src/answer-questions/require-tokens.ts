import { planLimits } from '@answerline/contracts';
import { Transient } from '@answerline/errors';
import { localCalendar, ms, type Sql } from '@answerline/persistence';

/**
 * Throws Transient `tokens_used_up`, with the time until tomorrow, when the workspace has used its tokens of the day: questions by API
 * cost the operator as much as those of contacts.
 */
export async function requireTokens(sql: Sql, workspaceId: string): Promise<void> {
  const [row] = await sql.query<{ plan: string; used: number; ms_left: number }>(
    {
      name: 'read-tokens-of-the-day',
      text: `SELECT w.plan, coalesce(t.input_tokens + t.output_tokens, 0)::float8 AS used,
                    ${ms(`(local.day_started_at + interval '1 day')`)} - ${ms('now()')} AS ms_left
             FROM workspaces w CROSS JOIN LATERAL ${localCalendar('now()', 'w.time_zone')} AS local
             LEFT JOIN token_usage t ON t.workspace_id = w.id AND t.day = local.day
             WHERE w.id = $1`,
    },
    [workspaceId],
  );
  if (!row || row.used < planLimits(row.plan).tokensPerDay.workspace) return;
  throw new Transient('tokens_used_up', 'The plan’s tokens of today are used up.', {
    retryAfterMs: Math.max(1_000, row.ms_left),
  });
}
