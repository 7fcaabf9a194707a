import { type conversationSchema, type messageSchema, replyKindSchema } from '@answerline/contracts';
import { Database, type Page } from '@answerline/persistence';
import { mediaFacts } from '@answerline/whatsapp';
import { Injectable } from '@nestjs/common';
import * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';
import { decodeCursor, encodeCursor, pageFrom, type PageQuery } from '../management-api/pages.ts';
import { healthCode, reasonText } from '../check-health/reason-texts.ts';
import { replyStatus, type SendOfReply } from './reply-status.ts';

type Conversation = z.infer<typeof conversationSchema>;
type Message = z.infer<typeof messageSchema>;

interface ConversationRow {
  id: string;
  channel_id: string;
  contact_id: string;
  contact_name: string | null;
  owner: 'ai' | 'human';
  held_by: Conversation['heldBy'];
  muted_until: Date | null;
  opted_out_at: Date | null;
  window_until: Date | null;
  last_inbound_at: Date | null;
  position: string | null;
  waiting: number;
  created_at: Date;
}

interface MessageRow {
  id: string;
  position: string;
  source: 0 | 1;
  place: number;
  direction: Message['direction'];
  author: Message['author'];
  kind: string | null;
  type: string;
  text: string | null;
  media_state: 'not_fetched' | null;
  raw: unknown;
  provider_message_id: string | null;
  sends: SendOfReply[] | null;
  sent_at: Date;
  received_at: Date;
  edited_at: Date | null;
  revoked_at: Date | null;
  turn_id: string | null;
  reply_to_id: string | null;
}

/** A time with all six digits that Postgres keeps: a Date has three, and a cursor must not skip or repeat a row. */
const exactTime = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const exactTimeSchema = z.string().regex(/^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);

const conversationCursorSchema = z.tuple([exactTimeSchema.nullable(), z.uuid()]);
const messageCursorSchema = z.tuple([exactTimeSchema, z.union([z.literal(0), z.literal(1)]), z.int32(), z.uuid()]);

const selectConversations = `
  SELECT c.id, c.channel_id, c.contact_id, p.name AS contact_name, c.owner, c.held_by, c.muted_until, c.opted_out_at, c.window_until,
         c.last_inbound_at, ${exactTime('c.last_inbound_at')} AS position, c.inbound_seq - c.answered_seq AS waiting,
         c.created_at
  FROM conversations c JOIN contacts p ON p.workspace_id = c.workspace_id AND p.id = c.contact_id`;

/** Conversations and what was said in them, for the owner. */
@Injectable()
export class ReadConversations {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Last written in first. One that is written in while its list is paged through moves to the front. */
  async list(
    workspaceId: string,
    { limit, cursor, channelId }: PageQuery & { channelId?: string | undefined },
  ): Promise<Page<Conversation>> {
    const [position = null, id = null] = cursor === undefined ? [] : decodeCursor(cursor, conversationCursorSchema);
    // DESC puts conversations that nobody has written in first, as the index has them.
    const rows = await this.#database.query<ConversationRow>(
      `${selectConversations}
       WHERE c.workspace_id = $1 AND ($2::uuid IS NULL OR c.channel_id = $2::uuid)
         AND CASE WHEN $4::uuid IS NULL THEN true
                  WHEN $3::timestamptz IS NULL THEN c.last_inbound_at IS NOT NULL OR c.id < $4::uuid
                  ELSE (c.last_inbound_at, c.id) < ($3::timestamptz, $4::uuid) END
       ORDER BY c.last_inbound_at DESC, c.id DESC LIMIT $5`,
      [workspaceId, channelId ?? null, position, id, limit + 1],
    );
    const page = pageFrom(rows, limit, (last) => encodeCursor([last.position, last.id]));
    return { ...page, items: page.items.map(toConversation) };
  }

  async read(workspaceId: string, id: string): Promise<Conversation> {
    const [row] = await this.#database.query<ConversationRow>(
      `${selectConversations} WHERE c.workspace_id = $1 AND c.id = $2`,
      [workspaceId, id],
    );
    if (!row) throw notFound();
    return toConversation(row);
  }

  /**
   * Messages and replies in one list, newest first: messages by Meta's time, replies by ours. A cursor stands between two
   * entries, so what is added meanwhile moves nothing.
   */
  async messages(workspaceId: string, conversationId: string, { limit, cursor }: PageQuery): Promise<Page<Message>> {
    await this.read(workspaceId, conversationId);
    const before = cursor === undefined ? [null, null, null, null] : decodeCursor(cursor, messageCursorSchema);
    const rows = await this.#database.query<MessageRow>(messagesSql, [
      workspaceId,
      conversationId,
      ...before,
      limit + 1,
    ]);
    const page = pageFrom(rows, limit, (last) => encodeCursor([last.position, last.source, last.place, last.id]));
    return { ...page, items: page.items.map((row) => toMessage(row, conversationId)) };
  }
}

/**
 * Each half reads one page from its own index; together they make the page. At the same time a message goes before a reply:
 * `source` is 0 or 1. $3 to $6 are where the page before ended. The times stand twice so that the index is used.
 */
const messagesSql = `
  WITH thread AS (
    (SELECT m.id, m.sent_at AS at, 0 AS source, m.place FROM messages m
     WHERE m.workspace_id = $1 AND m.conversation_id = $2
       AND ($3::timestamptz IS NULL
            OR (m.sent_at <= $3::timestamptz AND (m.sent_at, 0, m.place, m.id) < ($3::timestamptz, $4::int, $5::int, $6::uuid)))
     ORDER BY m.sent_at DESC, m.place DESC, m.id DESC LIMIT $7)
    UNION ALL
    (SELECT r.id, r.created_at, 1, 0 FROM replies r
     WHERE r.workspace_id = $1 AND r.conversation_id = $2
       AND ($3::timestamptz IS NULL
            OR (r.created_at <= $3::timestamptz AND (r.created_at, 1, 0, r.id) < ($3::timestamptz, $4::int, $5::int, $6::uuid)))
     ORDER BY r.created_at DESC, r.id DESC LIMIT $7)
    ORDER BY at DESC, source DESC, place DESC, id DESC LIMIT $7
  )
  SELECT t.id, ${exactTime('t.at')} AS position, t.source, t.place, t.at AS sent_at,
         coalesce(m.direction, 'outbound') AS direction, coalesce(m.author, r.author) AS author, r.kind,
         coalesce(m.type, 'text') AS type, coalesce(m.text, r.text) AS text,
         m.media_state, CASE WHEN m.media_state IS NOT NULL THEN m.raw END AS raw,
         coalesce(m.provider_message_id, call.provider_message_id) AS provider_message_id, parts.sends,
         coalesce(m.received_at, r.created_at) AS received_at, m.edited_at, m.revoked_at,
         coalesce(turn.id, r.turn_id) AS turn_id, coalesce(m.context_message_id, r.quote_message_id) AS reply_to_id
  FROM thread t
  LEFT JOIN messages m ON t.source = 0 AND m.id = t.id
  LEFT JOIN replies r ON t.source = 1 AND r.id = t.id
  LEFT JOIN LATERAL (
    SELECT id FROM turns
    WHERE conversation_id = m.conversation_id AND first_number <= m.number AND last_number >= m.number
    ORDER BY first_number DESC LIMIT 1
  ) turn ON true
  LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('phase', s.phase, 'delivery', s.delivery, 'failure', s.failure) ORDER BY s.part) AS sends
    FROM sends s WHERE s.reply_id = r.id
  ) parts ON true
  LEFT JOIN LATERAL (
    SELECT a.provider_message_id FROM sends s JOIN attempts a ON a.send_id = s.id
    WHERE s.reply_id = r.id AND a.provider_message_id IS NOT NULL
    ORDER BY s.part, a.number DESC LIMIT 1
  ) call ON true
  ORDER BY t.at DESC, t.source DESC, t.place DESC, t.id DESC`;

function toConversation(row: ConversationRow): Conversation {
  return {
    id: row.id,
    channelId: row.channel_id,
    contactId: row.contact_id,
    contactName: row.contact_name,
    owner: row.owner,
    heldBy: row.held_by,
    mutedUntil: isoOrNull(row.muted_until),
    optedOutAt: isoOrNull(row.opted_out_at),
    windowUntil: isoOrNull(row.window_until),
    lastInboundAt: isoOrNull(row.last_inbound_at),
    waiting: row.waiting,
    createdAt: row.created_at.toISOString(),
  };
}

function toMessage(row: MessageRow, conversationId: string): Message {
  const reply = replyStatus(row.sends ?? []);
  return {
    id: row.id,
    conversationId,
    direction: row.direction,
    author: row.author,
    kind: row.kind === null ? null : replyKindSchema.parse(row.kind),
    type: row.type,
    text: row.text,
    media: mediaOf(row),
    providerMessageId: row.provider_message_id,
    ...reply,
    failureHint: failureHint(reply.failure),
    sentAt: row.sent_at.toISOString(),
    receivedAt: row.received_at.toISOString(),
    editedAt: isoOrNull(row.edited_at),
    revokedAt: isoOrNull(row.revoked_at),
    turnId: row.turn_id,
    replyToId: row.reply_to_id,
  };
}

/** The same words as in the health of the channel. */
function failureHint(failure: string | null): string | null {
  if (failure === null) return null;
  const { message, action } = reasonText(healthCode(failure));
  return `${message} ${action}`;
}

/** The file itself is not fetched; what Meta said of it is there from the first moment. */
function mediaOf({ media_state: state, raw }: MessageRow): Message['media'] {
  const facts = mediaFacts(raw);
  return state === null || facts === undefined ? null : { ...facts, state };
}

function isoOrNull(time: Date | null): string | null {
  return time === null ? null : time.toISOString();
}
