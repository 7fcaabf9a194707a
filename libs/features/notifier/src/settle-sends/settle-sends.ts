import { SENDING_LOST_MS, UNKNOWN_PROOF_MS } from '@answerline/conversation-rules';
import { applySendFacts, lockConversations, ms, type Database, type SendChange } from '@answerline/persistence';

/** Sends of one round. */
const BATCH_SIZE = 200;
/** Gateways leave a heartbeat every 5 s; a longer gap than this means that Meta could not reach us. */
const HEARTBEAT_GAP_SECONDS = 15;

interface UnsettledRow {
  id: string;
  conversation_id: string;
  window_until: number | null;
  is_quiet: boolean;
}

/**
 * The sweep over sends that nobody will finish by himself: calls whose worker is gone become `unknown`, an `unknown` of which
 * Meta has demonstrably not said a word is tried again, and what waits behind a closed window fails.
 *
 * The proof of silence: since the attempt, the last gap in the gateways' heartbeats and the last refused delivery of this
 * webhook key, 90 s have passed, and ingest has stored everything that was accepted in them.
 *
 * @returns the sends that changed, and whether there may be more than one round takes
 */
export async function settleSends(database: Database): Promise<{ changes: SendChange[]; isFull: boolean }> {
  return database.transaction(async (sql) => {
    const rows = await sql.query<UnsettledRow>(
      {
        name: 'find-unsettled',
        text: `WITH beats AS (
                 SELECT max(at) AS last, max(at) FILTER (WHERE before IS NULL OR at - before > $2::float8 * interval '1 second') AS since
                 FROM (SELECT at, lag(at) OVER (ORDER BY at) AS before FROM gateway_heartbeats WHERE at > now() - interval '30 minutes') AS b
               ), candidates AS (
                 SELECT id FROM sends WHERE phase IN ('sending', 'unknown')
                 UNION ALL
                 SELECT s.id FROM sends s JOIN conversations c ON c.id = s.conversation_id
                 WHERE s.phase IN ('pending', 'retry') AND (c.window_until IS NULL OR c.window_until <= now())
               )
               SELECT s.id, s.conversation_id, ${ms('c.window_until')} AS window_until, proof.is_quiet
               FROM candidates JOIN sends s USING (id)
               JOIN conversations c ON c.id = s.conversation_id
               JOIN channels ch ON ch.id = s.channel_id
               LEFT JOIN webhook_keys k ON k.id = ch.webhook_key_id
               LEFT JOIN LATERAL (SELECT max(a.started_at) AS at FROM attempts a WHERE a.send_id = s.id) AS attempt ON true
               CROSS JOIN beats
               LEFT JOIN ingest_progress progress ON true
               CROSS JOIN LATERAL (SELECT greatest(attempt.at, beats.since, k.last_refused_at)
                                          + $3::float8 * interval '1 millisecond' AS at) AS due
               CROSS JOIN LATERAL (SELECT coalesce(beats.last > now() - $2::float8 * interval '1 second'
                                                   AND due.at <= now() AND progress.caught_up_at >= due.at, false) AS is_quiet) AS proof
               -- Only what changes now, so that those that wait never stand before the others.
               WHERE CASE s.phase WHEN 'sending' THEN attempt.at <= now() - $4::float8 * interval '1 millisecond'
                                  WHEN 'unknown' THEN proof.is_quiet OR c.window_until IS NULL OR c.window_until <= now()
                                  ELSE true END
               ORDER BY s.id LIMIT $1`,
      },
      [BATCH_SIZE, HEARTBEAT_GAP_SECONDS, UNKNOWN_PROOF_MS, SENDING_LOST_MS],
    );
    if (rows.length === 0) return { changes: [], isFull: false };
    const { now } = await lockConversations(
      sql,
      rows.map((row) => row.conversation_id),
    );
    const changes = await applySendFacts(
      sql,
      rows.map((row) => ({
        sendId: row.id,
        fact: { type: 'sweep', now, windowUntil: row.window_until, quiet: row.is_quiet },
      })),
    );
    return { changes, isFull: rows.length === BATCH_SIZE };
  });
}
