import { decideSend, type SendFact } from '@answerline/conversation-rules';
import {
  applySendFacts,
  ms,
  newId,
  timestamp,
  type Database,
  type Sql,
  type Transaction,
} from '@answerline/persistence';
import { type WhatsAppIdentity } from '@answerline/whatsapp';
import { limitOf, PACE_LOOKAHEAD_MS, takeFromBudget } from './pace.ts';

/** A send that is to be called now. Its attempt is committed. */
export interface ClaimedSend {
  readonly id: string;
  readonly attemptId: string;
  /** 1 for the first call of this send. */
  readonly attemptNumber: number;
  readonly workspaceId: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly author: 'ai' | 'human' | 'system';
  /** 1 for the first bubble of a reply. */
  readonly part: number;
  readonly phoneNumberId: string;
  readonly accessTokenCiphertext: string;
  readonly replyTo: WhatsAppIdentity;
  readonly body: string;
  readonly quoteMessageId: string | null;
}

interface CandidateRow {
  id: string;
  workspace_id: string;
  channel_id: string;
  conversation_id: string;
  author: 'ai' | 'human' | 'system';
  part: number;
  epoch: number;
  phase: 'pending' | 'retry';
  due_at: number;
  body: string;
  quote_message_id: string | null;
  conversation_epoch: number;
  window_until: number | null;
  answers: boolean;
  ai_enabled: boolean;
  messages_per_second: number;
  is_unsigned: boolean;
  phone_number_id: string;
  access_token_ciphertext: string;
  reply_to_kind: WhatsAppIdentity['kind'];
  reply_to_value: string;
  earlier_part_failed: boolean;
  pace_version: number | null;
  free_at: number | null;
  now: number;
}

/** What one round of claiming came to. */
export interface ClaimRound {
  readonly calls: readonly ClaimedSend[];
  /** Another process took from the same number's budget, or sends ended without a call: look again at once. */
  readonly again: boolean;
  /** When the first number that has used up its budget may send more; ms from now, or null. */
  readonly retryInMs: number | null;
}

/**
 * Takes up to `limit` sends whose turn it is: due, first of those open in their conversation, their number neither on hold nor
 * over its rate. The conversations are locked, so that a take-over comes wholly before or wholly after. What the rules do
 * not let out any more (old epoch, closed window) ends here.
 */
export async function claimSends(database: Database, limit: number): Promise<ClaimRound> {
  return database.transaction(async (sql) => {
    const candidates = await findCandidates(sql, limit);
    const callable = candidates.filter((row) => mayCall(row));
    const ending = candidates.filter((row) => !callable.includes(row));
    await applySendFacts(
      sql,
      ending.map((row) => ({ sendId: row.id, fact: claimFact(row, newId()) })),
    );
    const { granted, paces, retryInMs } = pace(callable);
    const calls = await startAttempts(sql, granted, paces);
    return { calls, again: ending.length > 0 || calls.length < granted.length, retryInMs };
  });
}

async function findCandidates(sql: Sql, limit: number): Promise<CandidateRow[]> {
  return sql.query<CandidateRow>(
    {
      name: 'find-sends',
      text: `SELECT s.id, s.workspace_id, s.channel_id, s.conversation_id, s.author, s.part, s.epoch, s.phase, ${ms('s.due_at')} AS due_at,
                    s.body, s.quote_message_id, c.epoch AS conversation_epoch, ${ms('c.window_until')} AS window_until,
                    ch.answers, b.ai_enabled, ch.messages_per_second, k.app_secret_ciphertext IS NULL AS is_unsigned, ch.phone_number_id, ch.access_token_ciphertext,
                    i.kind AS reply_to_kind, i.value AS reply_to_value,
                    EXISTS (SELECT 1 FROM sends e WHERE e.reply_id = s.reply_id AND e.part < s.part AND e.phase IN ('failed', 'superseded'))
                      AS earlier_part_failed,
                    p.version AS pace_version, ${ms('p.free_at')} AS free_at, ${ms('clock_timestamp()')} AS now
             FROM sends s
             JOIN conversations c ON c.id = s.conversation_id
             JOIN channels ch ON ch.id = s.channel_id
             LEFT JOIN webhook_keys k ON k.id = ch.webhook_key_id
             JOIN chatbots b ON b.id = ch.chatbot_id
             JOIN contact_identities i ON i.id = c.reply_to_identity_id
             LEFT JOIN channel_pacing p ON p.channel_id = s.channel_id
             WHERE s.phase IN ('pending', 'retry') AND s.due_at <= now()
               -- Of a channel that is off they are claimed to be superseded.
               AND (ch.send_hold_code IS NULL AND ch.access_token_ciphertext IS NOT NULL OR NOT ch.answers)
               AND (p.free_at IS NULL OR p.free_at <= now() + interval '${String(PACE_LOOKAHEAD_MS)} milliseconds')
               AND NOT EXISTS (SELECT 1 FROM sends o WHERE o.conversation_id = s.conversation_id AND o.position < s.position
                                 AND o.phase IN ('pending', 'retry', 'sending', 'unknown'))
             ORDER BY s.due_at LIMIT $1
             FOR NO KEY UPDATE OF c SKIP LOCKED`,
    },
    [limit],
  );
}

function claimFact(row: CandidateRow, attemptId: string): SendFact {
  return {
    type: 'claim',
    now: row.now,
    attemptId,
    conversationEpoch: row.conversation_epoch,
    channelAnswers: row.answers,
    aiEnabled: row.ai_enabled,
    windowUntil: row.window_until,
    earlier: row.earlier_part_failed ? 'part_failed' : 'done',
  };
}

function mayCall(row: CandidateRow): boolean {
  const state = {
    ...row,
    silenced: false,
    dueAt: row.due_at,
    attempts: [],
    delivery: null,
    failure: null,
    pairRefusals: 0,
    retryingSince: null,
  };
  return decideSend(state, claimFact(row, '')).call;
}

/** A number's budget as it was read, and what is left of it. */
interface ChannelPace {
  readonly workspaceId: string;
  readonly version: number;
  readonly freeAt: number;
}

function pace(rows: readonly CandidateRow[]): {
  granted: CandidateRow[];
  paces: Map<string, ChannelPace>;
  retryInMs: number | null;
} {
  const granted: CandidateRow[] = [];
  const paces = new Map<string, ChannelPace>();
  const nextInMs = new Map<string, number>();
  for (const row of rows) {
    const seen = paces.get(row.channel_id);
    const freeAt = seen?.freeAt ?? row.free_at;
    const limit = limitOf({ messagesPerSecond: row.messages_per_second, isUnsigned: row.is_unsigned });
    const taken = takeFromBudget({ limit, freeAt }, 1, row.now);
    nextInMs.set(row.channel_id, taken.nextInMs);
    if (taken.granted === 0) continue;
    paces.set(row.channel_id, { workspaceId: row.workspace_id, version: row.pace_version ?? 0, freeAt: taken.freeAt });
    granted.push(row);
  }
  // Also when all were granted: the next round may pass the number over, and would not know how long.
  const waits = [...nextInMs.values()].filter((waitMs) => waitMs > 0);
  return { granted, paces, retryInMs: waits.length > 0 ? Math.min(...waits) : null };
}

/**
 * Starts an attempt of each send in one statement. Left out are sends that another process claimed since they were read, and
 * all of a number whose budget another process has taken from.
 */
async function startAttempts(
  sql: Transaction,
  rows: readonly CandidateRow[],
  paces: ReadonlyMap<string, ChannelPace>,
): Promise<ClaimedSend[]> {
  if (rows.length === 0) return [];
  const channels = [...paces];
  const attemptIds = new Map(rows.map((row) => [row.id, newId()]));
  const started = await sql.last<{ id: string; number: number }>(
    {
      name: 'start-attempts',
      text: `WITH paced AS (
               INSERT INTO channel_pacing AS p (channel_id, workspace_id, version, free_at)
               SELECT v.channel_id, v.workspace_id, v.seen + 1, ${timestamp('v.free_at')}
               FROM unnest($4::uuid[], $5::uuid[], $6::int[], $7::float8[]) AS v(channel_id, workspace_id, seen, free_at)
               ORDER BY v.channel_id
               ON CONFLICT (channel_id) DO UPDATE SET version = excluded.version, free_at = excluded.free_at
                 WHERE p.version = excluded.version - 1
               RETURNING channel_id
             ), claimed AS (
               UPDATE sends AS s SET phase = 'sending', due_at = NULL,
                 retrying_since = coalesce(s.retrying_since, ${timestamp('$3::float8')})
               FROM unnest($1::uuid[], $2::uuid[]) AS v(id, attempt_id)
               WHERE s.id = v.id AND s.phase IN ('pending', 'retry') AND s.channel_id IN (SELECT channel_id FROM paced)
               RETURNING s.id, s.workspace_id, s.channel_id, v.attempt_id
             )
             INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at)
             SELECT c.attempt_id, c.workspace_id, c.channel_id, c.id,
                    1 + (SELECT count(*) FROM attempts a WHERE a.send_id = c.id), 'calling', ${timestamp('$3::float8')}
             FROM claimed c
             RETURNING send_id AS id, number`,
    },
    [
      rows.map(({ id }) => id),
      rows.map(({ id }) => attemptIds.get(id)),
      rows[0]?.now,
      channels.map(([channelId]) => channelId),
      channels.map(([, { workspaceId }]) => workspaceId),
      channels.map(([, { version }]) => version),
      channels.map(([, { freeAt }]) => freeAt),
    ],
  );
  const numbers = new Map(started.map(({ id, number }) => [id, number]));
  return rows.flatMap((row) => {
    const [attemptId, attemptNumber] = [attemptIds.get(row.id), numbers.get(row.id)];
    if (attemptId === undefined || attemptNumber === undefined) return [];
    return {
      id: row.id,
      attemptId,
      attemptNumber,
      workspaceId: row.workspace_id,
      channelId: row.channel_id,
      conversationId: row.conversation_id,
      author: row.author,
      part: row.part,
      phoneNumberId: row.phone_number_id,
      accessTokenCiphertext: row.access_token_ciphertext,
      replyTo: { kind: row.reply_to_kind, value: row.reply_to_value },
      body: row.body,
      quoteMessageId: row.quote_message_id,
    };
  });
}
