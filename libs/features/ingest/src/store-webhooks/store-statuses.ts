import { type Delivery as DeliveryState, type SendFact } from '@answerline/conversation-rules';
import {
  applySendFacts,
  lockSends,
  newId,
  timestamp,
  type SendChange,
  type SendFactEntry,
  type Sql,
  type Transaction,
} from '@answerline/persistence';
import { classifyGraphError } from '@answerline/whatsapp';
import { keptJsonb } from './kept-json.ts';
import { type PlannedStatus } from './plan-items.ts';

/** The send that a status is about. */
export interface StatusTarget {
  readonly sendId: string;
  readonly attemptId: string;
  readonly conversationId: string;
}

/** Status words that the rules know; others are kept, and change nothing. */
const KNOWN: ReadonlySet<string> = new Set<DeliveryState | 'failed'>(['sent', 'delivered', 'read', 'played', 'failed']);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Matches statuses to attempts: by the attempt id that travelled with the call, else by Meta's message id. */
export async function findStatusTargets(
  sql: Sql,
  statuses: readonly PlannedStatus[],
): Promise<Map<PlannedStatus, StatusTarget>> {
  if (statuses.length === 0) return new Map();
  const attemptIds = statuses.map(({ item }) => item.callbackData).filter((id) => id !== undefined && UUID.test(id));
  const rows = await sql.query<{
    attempt_id: string;
    channel_id: string;
    provider_message_id: string | null;
    send_id: string;
    conversation_id: string;
  }>(
    {
      name: 'find-status-targets',
      text: `SELECT a.id AS attempt_id, a.channel_id, a.provider_message_id, a.send_id, s.conversation_id
             FROM attempts a JOIN sends s ON s.id = a.send_id WHERE a.id = ANY($1::uuid[])
             UNION
             SELECT a.id, a.channel_id, a.provider_message_id, a.send_id, s.conversation_id
             FROM attempts a JOIN sends s ON s.id = a.send_id
             WHERE a.channel_id = ANY($2::uuid[]) AND a.provider_message_id = ANY($3::text[])`,
    },
    [
      attemptIds,
      [...new Set(statuses.map(({ channel }) => channel.id))],
      [...new Set(statuses.map(({ item }) => item.providerMessageId))],
    ],
  );
  const byAttempt = new Map(rows.map((row) => [`${row.channel_id} ${row.attempt_id}`, row]));
  const byMessage = new Map(rows.map((row) => [`${row.channel_id} ${row.provider_message_id ?? ''}`, row]));
  const targets = new Map<PlannedStatus, StatusTarget>();
  for (const status of statuses) {
    const { channel, item } = status;
    const row =
      byAttempt.get(`${channel.id} ${item.callbackData ?? ''}`) ??
      byMessage.get(`${channel.id} ${item.providerMessageId}`);
    if (!row) continue;
    targets.set(status, { sendId: row.send_id, attemptId: row.attempt_id, conversationId: row.conversation_id });
  }
  return targets;
}

/**
 * Keeps each status once (ids, state and pricing only) and lets the new ones take effect. The caller holds the locks of the
 * targets' conversations, or has asked for them before. Statuses without a target stay unmatched until the answer of their
 * call names their message.
 */
export async function storeStatuses(
  sql: Transaction,
  statuses: readonly PlannedStatus[],
  targets: ReadonlyMap<PlannedStatus, StatusTarget>,
): Promise<{ stored: readonly PlannedStatus[]; sends: SendChange[] }> {
  if (statuses.length === 0) return { stored: [], sends: [] };
  const unique = [...new Map(statuses.map((status) => [`${status.channel.id} ${status.dedupeKey}`, status])).values()];
  const [sends, fresh] = await Promise.all([
    lockSends(
      sql,
      [...targets.values()].map(({ sendId }) => sendId),
    ),
    insertStatuses(sql, unique, targets),
  ]);
  const entries = fresh.flatMap((status) => {
    const target = targets.get(status);
    return target && KNOWN.has(status.item.status) ? [entryOf(status, target)] : [];
  });
  return { stored: fresh, sends: await applySendFacts(sql, entries, sends) };
}

/** Those that were not there yet. */
async function insertStatuses(
  sql: Sql,
  statuses: readonly PlannedStatus[],
  targets: ReadonlyMap<PlannedStatus, StatusTarget>,
): Promise<PlannedStatus[]> {
  const of = <Value>(pick: (status: PlannedStatus) => Value): Value[] => statuses.map(pick);
  const inserted = await sql.query<{ channel_id: string; dedupe_key: string }>(
    {
      name: 'insert-statuses',
      text: `INSERT INTO statuses (id, workspace_id, channel_id, send_id, attempt_id, provider_message_id, dedupe_key, status,
                                   failure_code, pricing, at, received_at)
             SELECT v.id, v.workspace_id, v.channel_id, v.send_id, v.attempt_id, v.provider_message_id, v.dedupe_key, v.status,
                    v.failure_code, v.pricing, coalesce(${timestamp('v.at')}, clock_timestamp()), clock_timestamp()
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::jsonb[], $11::float8[])
               AS v(id, workspace_id, channel_id, send_id, attempt_id, provider_message_id, dedupe_key, status, failure_code,
                    pricing, at)
             ON CONFLICT (channel_id, dedupe_key) DO NOTHING
             RETURNING channel_id, dedupe_key`,
    },
    [
      of(() => newId()),
      of(({ channel }) => channel.workspaceId),
      of(({ channel }) => channel.id),
      of((status) => targets.get(status)?.sendId ?? null),
      of((status) => targets.get(status)?.attemptId ?? null),
      of(({ item }) => item.providerMessageId),
      of(({ dedupeKey }) => dedupeKey),
      of(({ item }) => item.status),
      of(({ item }) => failureCode(item)),
      of(({ item }) => (item.pricing === undefined ? null : keptJsonb(item.pricing))),
      of(({ item }) => item.at?.getTime() ?? null),
    ],
  );
  const isNew = new Set(inserted.map((row) => `${row.channel_id} ${row.dedupe_key}`));
  return statuses.filter(({ channel, dedupeKey }) => isNew.has(`${channel.id} ${dedupeKey}`));
}

function entryOf({ item }: PlannedStatus, { sendId, attemptId }: StatusTarget): SendFactEntry {
  const fact: SendFact = {
    type: 'status',
    attemptId,
    status: item.status as DeliveryState | 'failed',
    code: failureCode(item) ?? 'failed',
  };
  return { sendId, fact, providerMessageId: item.providerMessageId };
}

function failureCode(item: PlannedStatus['item']): string | null {
  if (item.status !== 'failed') return null;
  const code = item.errors[0]?.code;
  return code === undefined ? 'failed' : classifyGraphError({ code }).reason;
}
