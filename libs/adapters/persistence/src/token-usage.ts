import { localCalendar } from './local-calendar.ts';
import { type Statement } from './sql.ts';

/** Tokens of a chat model, and what they cost in millionths of the currency of the price settings; null without prices. */
export interface TokenSpend {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costMicros: number | null;
}

/**
 * The statement that adds to the day of a workspace, and of a conversation if one is given, with its values. A conversation or
 * workspace that is gone is left out.
 */
export function countTokens(
  { workspaceId, conversationId }: { readonly workspaceId: string; readonly conversationId: string | null },
  { inputTokens, outputTokens, costMicros }: TokenSpend,
): [Statement, readonly unknown[]] {
  return [countTokensStatement, [workspaceId, conversationId, inputTokens, outputTokens, costMicros]];
}

const countTokensStatement: Statement = {
  name: 'count-tokens',
  text: `WITH local AS (
           SELECT calendar.day FROM workspaces w CROSS JOIN LATERAL ${localCalendar('now()', 'w.time_zone')} AS calendar WHERE w.id = $1
         ), conversation AS (
           INSERT INTO conversation_tokens AS t (conversation_id, workspace_id, day, tokens)
           SELECT c.id, c.workspace_id, local.day, $3::bigint + $4::bigint FROM conversations c CROSS JOIN local
           WHERE c.id = $2::uuid AND c.workspace_id = $1
           ON CONFLICT (conversation_id) DO UPDATE
           SET day = excluded.day, tokens = excluded.tokens + CASE WHEN t.day = excluded.day THEN t.tokens ELSE 0 END
         )
         INSERT INTO token_usage AS t (workspace_id, day, input_tokens, output_tokens, cost_micros)
         SELECT $1, local.day, $3, $4, $5::bigint FROM local
         ON CONFLICT (workspace_id, day) DO UPDATE
         SET input_tokens = t.input_tokens + excluded.input_tokens, output_tokens = t.output_tokens + excluded.output_tokens,
             cost_micros = CASE WHEN excluded.cost_micros IS NULL THEN t.cost_micros
                                ELSE coalesce(t.cost_micros, 0) + excluded.cost_micros END`,
};
