import { type TranscriptEntry } from '@answerline/mail';
import { type Database } from '@answerline/persistence';

/** With its HTML and its headers a mail stays far below the 10 MB that the strictest servers take. */
const MAX_BYTES = 1_000_000;
/** Messages are short: more of them do not fit. Keeps a conversation of years out of memory. */
const MAX_MESSAGES = 5_000;

interface EntryRow {
  at: Date;
  author: TranscriptEntry['author'];
  type: string;
  text: string | null;
  is_revoked: boolean;
  is_undelivered: boolean;
}

/** What was said in a conversation, oldest first. Replies that were called off before they went out were never said. */
export async function readTranscript(
  database: Database,
  { workspaceId, conversationId }: { readonly workspaceId: string; readonly conversationId: string },
): Promise<{ readonly entries: TranscriptEntry[]; readonly isCut: boolean }> {
  const rows = await database.query<EntryRow>(
    `SELECT at, author, type, text, is_revoked, is_undelivered
     FROM ((SELECT m.id, m.sent_at AS at, 0 AS side, m.place, m.author, m.type, m.text, m.revoked_at IS NOT NULL AS is_revoked,
                   false AS is_undelivered
            FROM messages m
            WHERE m.workspace_id = $1 AND m.conversation_id = $2 AND (m.text IS NOT NULL OR m.type <> 'text')
            ORDER BY m.sent_at DESC, m.place DESC, m.id DESC LIMIT $3)
           UNION ALL
           (SELECT r.id, r.created_at, 1, 0, r.author, 'text', r.text, false, coalesce(parts.all_failed, false)
            FROM replies r
            LEFT JOIN LATERAL (SELECT bool_and(s.phase = 'superseded') AS all_superseded,
                                      bool_and(s.phase IN ('failed', 'superseded')) AS all_failed
                               FROM sends s WHERE s.reply_id = r.id) AS parts ON true
            WHERE r.workspace_id = $1 AND r.conversation_id = $2 AND parts.all_superseded IS NOT TRUE
            ORDER BY r.created_at DESC, r.id DESC LIMIT $3)) AS said
     ORDER BY at DESC, side DESC, place DESC, id DESC LIMIT $3`,
    [workspaceId, conversationId, MAX_MESSAGES + 1],
  );
  const kept: TranscriptEntry[] = [];
  let bytes = 0;
  for (const row of rows.slice(0, MAX_MESSAGES)) {
    bytes += Buffer.byteLength(row.text ?? '') + ENTRY_BYTES;
    if (bytes > MAX_BYTES) break;
    const { is_revoked: isRevoked, is_undelivered: isUndelivered, ...entry } = row;
    kept.push({ ...entry, isRevoked, isUndelivered });
  }
  return { entries: kept.reverse(), isCut: kept.length < rows.length };
}

/** The line with time and author. */
const ENTRY_BYTES = 40;
