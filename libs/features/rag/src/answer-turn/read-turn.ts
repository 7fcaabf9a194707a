import { planLimits, type BusinessHours } from '@answerline/contracts';
import { type ConversationState } from '@answerline/conversation-rules';
import { localCalendar, ms, type Sql } from '@answerline/persistence';

/** AI replies that a contact gets in an hour. Nobody who asks for themselves needs more, and a machine that asks may not cost more. */
export const CONTACT_REPLIES_PER_HOUR = 20;

/** A claim on the due turn of a conversation. */
export interface TurnClaim {
  readonly conversationId: string;
  readonly workspaceId: string;
  readonly fence: number;
}

/** One message of a turn, in its last form. */
export interface TurnMessage {
  readonly providerMessageId: string;
  /** What can be read of it; null for media and the like. */
  readonly text: string | null;
}

/** A claimed turn and all that is needed to decide about it. */
export interface Turn {
  readonly conversationId: string;
  readonly workspaceId: string;
  readonly channelId: string;
  readonly contactId: string;
  readonly chatbotId: string;
  readonly fence: number;
  readonly epoch: number;
  /** Numbers `first`..`read` are the turn; `first` is its key. */
  readonly first: number;
  readonly read: number;
  readonly now: number;
  readonly state: Pick<
    ConversationState,
    'owner' | 'optedOutAt' | 'windowUntil' | 'channelAnswers' | 'aiEnabled' | 'claims'
  >;
  /** By Meta's time, then place in the body, then arrival. Revoked ones are left out. */
  readonly messages: readonly TurnMessage[];
  readonly instructions: string;
  readonly language: string;
  readonly texts: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly handoffPhrases: readonly string[] | null;
  readonly showSources: boolean;
  /** The plan has it. */
  readonly hasHandoff: boolean;
  /** The chatbot lets the model hand over. */
  readonly handoffByModel: boolean;
  readonly businessHours: BusinessHours | null;
  /** Of this month, in the workspace's time zone. */
  readonly usage: { readonly month: string; readonly used: number; readonly limit: number | null };
  /** The contact has had {@link CONTACT_REPLIES_PER_HOUR} in the last hour, on all numbers of the workspace. */
  readonly contactLimited: boolean;
  /** Whether today's tokens of the plan are not used up: those of the workspace, and those of this contact. */
  readonly tokensLeft: { readonly workspace: boolean; readonly contact: boolean };
  /** When the contact was last told each kind of notice, on whichever number; ms. */
  readonly lastTold: Readonly<Record<string, number>>;
  /** When the workspace's present day began; ms. */
  readonly dayStartedAt: number;
}

interface TurnRow {
  id: string;
  workspace_id: string;
  channel_id: string;
  contact_id: string;
  chatbot_id: string;
  fence: number;
  epoch: number;
  claims: number;
  inbound_seq: number;
  answered_seq: number;
  owner: 'ai' | 'human';
  opted_out_at: number | null;
  window_until: number | null;
  answers: boolean;
  ai_enabled: boolean;
  instructions: string;
  language: string;
  texts: Record<string, Record<string, string>>;
  handoff_phrases: string[] | null;
  handoff_by_model: boolean;
  business_hours: BusinessHours | null;
  show_sources: boolean;
  plan: string;
  month: string;
  used: number | null;
  replies_last_hour: number;
  workspace_tokens: number;
  contact_tokens: number;
  now: number;
  day_started_at: number;
  messages: { id: string; text: string | null }[] | null;
  last_told: Record<string, number> | null;
}

/**
 * Reads claimed turns. A claim that was lost meanwhile (gone, or another fence) is left out. What is read may be changed
 * before the commit, which finds out.
 */
export async function readTurns(sql: Sql, claims: readonly TurnClaim[]): Promise<Turn[]> {
  const rows = await sql.query<TurnRow>(
    {
      name: 'read-turns',
      text: `SELECT c.id, c.workspace_id, c.channel_id, c.contact_id, b.id AS chatbot_id, c.fence, c.epoch, c.claims, c.inbound_seq,
                    c.answered_seq, c.owner, ${ms('c.opted_out_at')} AS opted_out_at, ${ms('c.window_until')} AS window_until,
                    ch.answers, b.ai_enabled, b.instructions, b.language, b.texts, b.handoff_phrases,
                    b.handoff_by_model, b.business_hours, b.show_sources, w.plan,
                    local.month, u.used, ${ms('now()')} AS now, ${ms('local.day_started_at')} AS day_started_at,
                    (SELECT json_agg(json_build_object('id', m.provider_message_id, 'text', m.text) ORDER BY m.sent_at, m.place, m.received_at, m.id)
                     FROM messages m
                     WHERE m.conversation_id = c.id AND m.number > c.answered_seq AND m.number <= c.inbound_seq
                       AND m.revoked_at IS NULL) AS messages,
                    (SELECT json_object_agg(n.kind, ${ms('n.told_at')}) FROM contact_notices n WHERE n.contact_id = c.contact_id) AS last_told,
                    (SELECT count(*)::int FROM (
                       SELECT FROM conversations o JOIN replies r ON r.conversation_id = o.id
                       WHERE o.workspace_id = c.workspace_id AND o.contact_id = c.contact_id AND r.author = 'ai'
                         AND r.kind IN ('answer', 'abstain', 'fallback') AND r.created_at > now() - interval '1 hour'
                       LIMIT ${String(CONTACT_REPLIES_PER_HOUR)}) AS recent) AS replies_last_hour,
                    coalesce(spent.input_tokens + spent.output_tokens, 0)::float8 AS workspace_tokens,
                    (SELECT coalesce(sum(t.tokens), 0)::float8 FROM conversations o JOIN conversation_tokens t ON t.conversation_id = o.id
                     WHERE o.workspace_id = c.workspace_id AND o.contact_id = c.contact_id AND t.day = local.day) AS contact_tokens
             FROM unnest($1::uuid[], $2::int[]) AS claim(id, fence)
             JOIN conversations c ON c.id = claim.id AND c.fence = claim.fence
             JOIN channels ch ON ch.id = c.channel_id
             JOIN chatbots b ON b.id = ch.chatbot_id
             JOIN workspaces w ON w.id = c.workspace_id
             CROSS JOIN LATERAL ${localCalendar('now()', 'w.time_zone')} AS local
             LEFT JOIN usage u ON u.workspace_id = c.workspace_id AND u.month = local.month
             LEFT JOIN token_usage spent ON spent.workspace_id = c.workspace_id AND spent.day = local.day`,
    },
    [claims.map(({ conversationId }) => conversationId), claims.map(({ fence }) => fence)],
  );
  return rows.map(toTurn);
}

function toTurn(row: TurnRow): Turn {
  const limits = planLimits(row.plan);
  return {
    conversationId: row.id,
    workspaceId: row.workspace_id,
    channelId: row.channel_id,
    contactId: row.contact_id,
    chatbotId: row.chatbot_id,
    fence: row.fence,
    epoch: row.epoch,
    first: row.answered_seq + 1,
    read: row.inbound_seq,
    now: row.now,
    state: {
      owner: row.owner,
      optedOutAt: row.opted_out_at,
      windowUntil: row.window_until,
      channelAnswers: row.answers,
      aiEnabled: row.ai_enabled,
      claims: row.claims,
    },
    messages: (row.messages ?? []).map(({ id, text }) => ({ providerMessageId: id, text })),
    instructions: row.instructions,
    language: row.language,
    texts: row.texts,
    handoffPhrases: row.handoff_phrases,
    showSources: row.show_sources,
    hasHandoff: limits.handoff,
    handoffByModel: row.handoff_by_model,
    businessHours: row.business_hours,
    usage: { month: row.month, used: row.used ?? 0, limit: limits.repliesPerMonth },
    contactLimited: row.replies_last_hour >= CONTACT_REPLIES_PER_HOUR,
    tokensLeft: {
      workspace: row.workspace_tokens < limits.tokensPerDay.workspace,
      contact: row.contact_tokens < limits.tokensPerDay.contact,
    },
    lastTold: row.last_told ?? {},
    dayStartedAt: row.day_started_at,
  };
}
