import { ms, type Database, type Sql } from '@answerline/persistence';
import { RefusedRequest } from '../management-api/api-errors.ts';
import { type ChannelRecord } from './channel-facts.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Meta allows 200 management calls an hour for an app and account; a run makes about 6. */
const MOST_ONCE_IN_MS = 60_000;
/** A run is over by then: two calls of at most 10 s, four more at once, and the delivery of our own beside them. */
const LEASE_MS = 60_000;
/** A run that came to nothing (a process that died, a secret that does not open) is made again after this. */
const RETRY_MS = 60 * 60 * 1_000;

/**
 * A channel that is being switched off answers no more and is not called any more. Its disconnection waits for the lease of a
 * run, which is had before this is read: so either sees the other.
 */
export const CALLABLE = `(c.answers OR c.state = 'suspended_by_plan') AND c.state <> 'disconnected'`;

/** A timestamptz of milliseconds in $n, `plus` ms later. */
const at = (parameter: string, plus = '0'): string => `to_timestamp((${parameter}::float8 + ${plus}) / 1000)`;

/**
 * Takes up to `limit` channels whose daily checks are due, or that Meta has begun to refuse since their last one, for as long
 * as a run takes. Channels that were never taken are given a time within the next day. `now` in ms.
 */
export async function claimDueChecks(database: Database, limit: number, now: number): Promise<string[]> {
  const rows = await database.transaction(async (sql) => {
    sql.write(
      `INSERT INTO channel_health (channel_id, workspace_id, due_at)
       SELECT c.id, c.workspace_id, ${at('$1', `random() * ${String(DAY_MS)}`)} FROM channels c
       WHERE c.type = 'whatsapp' AND c.access_token_ciphertext IS NOT NULL AND ${CALLABLE}
         AND NOT EXISTS (SELECT 1 FROM channel_health h WHERE h.channel_id = c.id)
       ON CONFLICT DO NOTHING`,
      [now],
    );
    return sql.last<{ channel_id: string }>(
      `UPDATE channel_health h SET lease_until = ${at('$1', String(LEASE_MS))}, due_at = ${at('$1', String(RETRY_MS))}
       WHERE h.channel_id IN (
         SELECT due.channel_id FROM channel_health due JOIN channels c ON c.id = due.channel_id
         WHERE c.access_token_ciphertext IS NOT NULL AND ${CALLABLE}
           AND (due.lease_until IS NULL OR due.lease_until <= ${at('$1')})
           AND (due.due_at <= ${at('$1')}
             OR (c.send_hold_code IS NOT NULL AND due.hold_code IS DISTINCT FROM c.send_hold_code))
         ORDER BY due.due_at LIMIT $2 FOR UPDATE OF due SKIP LOCKED)
       RETURNING h.channel_id`,
      [now, limit],
    );
  });
  return rows.map((row) => row.channel_id);
}

/** Takes a channel because somebody asks. Throws RefusedRequest 429 `checked_a_moment_ago` less than a minute after the last time. */
export async function claimRequestedCheck(sql: Sql, { id, workspaceId }: ChannelRecord, now: number): Promise<void> {
  const taken = await sql.query(
    `INSERT INTO channel_health AS h (channel_id, workspace_id, due_at, requested_at, lease_until)
     VALUES ($1, $2, ${at('$3')}, ${at('$3')}, ${at('$3', String(LEASE_MS))})
     ON CONFLICT (channel_id) DO UPDATE SET requested_at = excluded.requested_at, lease_until = excluded.lease_until
       WHERE h.requested_at IS NULL OR h.requested_at <= ${at('$3', String(-MOST_ONCE_IN_MS))}
     RETURNING channel_id`,
    [id, workspaceId, now],
  );
  if (taken.length > 0) return;
  const [row] = await sql.query<{ at: number | null }>(
    `SELECT ${ms('requested_at')} AS at FROM channel_health WHERE channel_id = $1`,
    [id],
  );
  const retryAfterMs = Math.max(0, (row?.at ?? now) + MOST_ONCE_IN_MS - now);
  throw new RefusedRequest(
    'checked_a_moment_ago',
    'A channel is checked at most once a minute.',
    429,
    {},
    retryAfterMs,
  );
}

/** Ends what a claim began, when the run came to nothing. */
export async function giveBackCheck(sql: Sql, channelId: string): Promise<void> {
  await sql.query('UPDATE channel_health SET lease_until = NULL WHERE channel_id = $1', [channelId]);
}
