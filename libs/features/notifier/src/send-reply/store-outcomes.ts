import { type SendFact } from '@answerline/conversation-rules';
import {
  applySendFacts,
  databaseNow,
  lockConversations,
  lockSends,
  type Database,
  type SendChange,
  type SendFactEntry,
  type Sql,
} from '@answerline/persistence';
import { retryDelayMs, type SendOutcome } from '@answerline/whatsapp';
import { type ClaimedSend } from './claim-sends.ts';

/** How the call of a claimed send ended. */
export interface CallResult {
  readonly send: ClaimedSend;
  readonly outcome: SendOutcome;
}

/**
 * Stores how calls ended: phases, attempts, Meta's message ids; statuses that came before their answer now find their send.
 * A refusal of the credentials holds the channel, so that its other sends wait instead of failing one by one.
 *
 * @returns the sends that changed
 */
export async function storeOutcomes(database: Database, results: readonly CallResult[]): Promise<SendChange[]> {
  return database.transaction(async (sql) => {
    // The conversations are locked first, as everywhere.
    const [{ now }, sends, late] = await Promise.all([
      lockConversations(
        sql,
        results.map(({ send }) => send.conversationId),
      ),
      lockSends(
        sql,
        results.map(({ send }) => send.id),
      ),
      takeUnmatchedStatuses(sql, results),
    ]);
    const renewed = await holdChannels(sql, results);
    return applySendFacts(
      sql,
      [
        ...results.map((result) => entryOf(result, now)),
        ...renewed.map(({ send }): SendFactEntry => ({ sendId: send.id, fact: { type: 'reconnected', now } })),
        ...late,
      ],
      sends,
    );
  });
}

/** Says that a claimed send was not called: its worker is too late, or cannot call. */
export async function storeNotCalled(database: Database, send: ClaimedSend, code: string): Promise<SendChange[]> {
  return database.transaction(async (sql) => {
    await lockConversations(sql, [send.conversationId]);
    const now = await databaseNow(sql);
    return applySendFacts(sql, [{ sendId: send.id, fact: { type: 'not_sent', now, attemptId: send.attemptId, code } }]);
  });
}

/** Says that a claimed send cannot be called, now or later: there is nobody to send it to. */
export async function storeUnaddressed(database: Database, send: ClaimedSend): Promise<SendChange[]> {
  return database.transaction(async (sql) => {
    const { now } = await lockConversations(sql, [send.conversationId]);
    const { attemptId } = send;
    return applySendFacts(sql, [
      { sendId: send.id, fact: { type: 'refused', now, attemptId, retry: 'never', code: 'recipient_invalid' } },
    ]);
  });
}

function entryOf({ send, outcome }: CallResult, now: number): SendFactEntry {
  const { id: sendId, attemptId } = send;
  if (outcome.outcome === 'accepted') {
    return { sendId, fact: { type: 'accepted', attemptId }, providerMessageId: outcome.providerMessageId };
  }
  return { sendId, fact: factOf(outcome, send, now) };
}

function factOf(outcome: Exclude<SendOutcome, { outcome: 'accepted' }>, send: ClaimedSend, now: number): SendFact {
  const { attemptId, attemptNumber } = send;
  switch (outcome.outcome) {
    case 'unknown':
      return { type: 'unanswered', attemptId };
    case 'not_sent':
      return { type: 'not_sent', now, attemptId, code: outcome.reason };
    case 'refused': {
      const { retry, reason: code, retryAfterMs } = outcome.failure;
      if (retry !== 'backoff') return { type: 'refused', now, attemptId, retry, code, retryAfterMs };
      // Meta's table of errors says how long each kind of trouble lasts, and which are not worth many tries.
      const waitMs = retryDelayMs(outcome.failure, attemptNumber, Math.random);
      return waitMs === undefined
        ? { type: 'refused', now, attemptId, retry: 'never', code }
        : { type: 'refused', now, attemptId, retry, code, retryAfterMs: waitMs };
    }
  }
}

/**
 * Holds the numbers whose credentials were refused, as long as they are still those that were refused.
 *
 * @returns what was refused with credentials that have been replaced meanwhile: nobody else will let it go
 */
async function holdChannels(sql: Sql, results: readonly CallResult[]): Promise<CallResult[]> {
  const renewed: CallResult[] = [];
  for (const result of results) {
    const { send, outcome } = result;
    if (outcome.outcome !== 'refused' || outcome.failure.retry !== 'after_reconnect') continue;
    // One that is off (by its plan, say) stays what it is: its state says how it comes back.
    const held = await sql.query(
      `UPDATE channels SET send_hold_code = $2, state = CASE WHEN answers THEN 'broken' ELSE state END,
                           state_reasons = CASE WHEN answers THEN ARRAY[$2::text] ELSE state_reasons END
       WHERE id = $1 AND access_token_ciphertext = $3 RETURNING id`,
      [send.channelId, outcome.failure.reason, send.accessTokenCiphertext],
    );
    if (held.length === 0) renewed.push(result);
  }
  return renewed;
}

/** Statuses that named a message of ours before we knew its id. */
async function takeUnmatchedStatuses(sql: Sql, results: readonly CallResult[]): Promise<SendFactEntry[]> {
  const accepted = results.flatMap(({ send, outcome }) =>
    outcome.outcome === 'accepted' ? [{ send, providerMessageId: outcome.providerMessageId }] : [],
  );
  if (accepted.length === 0) return [];
  const rows = await sql.query<{ send_id: string; attempt_id: string; status: string; failure_code: string | null }>(
    {
      name: 'take-unmatched-statuses',
      text: `UPDATE statuses AS s SET send_id = v.send_id, attempt_id = v.attempt_id
             FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) AS v(channel_id, provider_message_id, send_id, attempt_id)
             WHERE s.channel_id = v.channel_id AND s.provider_message_id = v.provider_message_id AND s.send_id IS NULL
             RETURNING s.send_id, s.attempt_id, s.status, s.failure_code`,
    },
    [
      accepted.map(({ send }) => send.channelId),
      accepted.map(({ providerMessageId }) => providerMessageId),
      accepted.map(({ send }) => send.id),
      accepted.map(({ send }) => send.attemptId),
    ],
  );
  return rows.flatMap(({ send_id: sendId, attempt_id: attemptId, status, failure_code: code }) => {
    switch (status) {
      case 'sent':
      case 'delivered':
      case 'read':
      case 'played':
      case 'failed':
        return { sendId, fact: { type: 'status' as const, attemptId, status, code: code ?? 'failed' } };
      default:
        return [];
    }
  });
}
