import { randomInt } from 'node:crypto';
import { newId, type Database } from '@answerline/persistence';
import { type SeededChannel } from './seed.ts';

/** A contact and their conversation on one channel. */
export interface SeededConversation extends SeededChannel {
  readonly conversationId: string;
  readonly contactId: string;
  /** The address that replies go to, as Meta writes it. */
  readonly address: string;
}

/** Seeds a contact whose window is open, and an empty conversation held by the AI. */
export async function seedConversation(
  database: Database,
  channel: SeededChannel,
  options: { readonly kind?: 'wa_id' | 'bsuid'; readonly address?: string } = {},
): Promise<SeededConversation> {
  const [contactId, identityId, conversationId] = [newId(), newId(), newId()];
  const { kind = 'wa_id', address = `1202555${String(randomInt(10 ** 7, 10 ** 8))}` } = options;
  const { workspaceId, channelId } = channel;
  await database.query(
    `WITH contact AS (
       INSERT INTO contacts (id, workspace_id) VALUES ($2, $1)
     ), identity AS (
       INSERT INTO contact_identities (id, workspace_id, contact_id, kind, value, match_key) VALUES ($3, $1, $2, $4, $5, $5)
     )
     INSERT INTO conversations (id, workspace_id, channel_id, contact_id, reply_to_identity_id, last_inbound_at, window_until)
     VALUES ($6, $1, $7, $2, $3, now(), now() + interval '24 hours')`,
    [workspaceId, contactId, identityId, kind, address, conversationId, channelId],
  );
  return { ...channel, conversationId, contactId, address };
}

/** One message of a contact, as ingest would have stored it. */
export interface SeededMessage {
  readonly text?: string | null;
  readonly type?: string;
  /** Meta's id; made up when left out. */
  readonly id?: string;
  /** By Meta's clock; how long before it was seeded. */
  readonly sentAgoMs?: number;
  readonly receivedAgoMs?: number;
  readonly place?: number;
  readonly isRevoked?: boolean;
  /** False: stored and shown, never numbered. */
  readonly isNumbered?: boolean;
}

/** Seeds messages with the next numbers and makes the conversation due at once. Returns their rows' ids and Meta's ids. */
export async function seedMessages(
  database: Database,
  conversation: SeededConversation,
  messages: readonly (SeededMessage | string)[],
): Promise<{ readonly id: string; readonly providerMessageId: string }[]> {
  const { workspaceId, channelId, conversationId } = conversation;
  const rows: { id: string; providerMessageId: string }[] = [];
  for (const given of messages) {
    const message: SeededMessage = typeof given === 'string' ? { text: given } : given;
    const { text = null, type = 'text', sentAgoMs = 0, receivedAgoMs = 0, place = 0 } = message;
    const { id: providerMessageId = `wamid.${newId()}`, isRevoked = false, isNumbered = true } = message;
    const id = newId();
    await database.query(
      `WITH numbered AS (
         UPDATE conversations
         SET inbound_seq = inbound_seq + $12, due_at = CASE WHEN $12 = 1 THEN now() ELSE due_at END,
             first_unanswered_at = CASE WHEN $12 = 1 THEN coalesce(first_unanswered_at, now() - $7 * interval '1 ms')
                                        ELSE first_unanswered_at END
         WHERE id = $4 RETURNING inbound_seq
       )
       INSERT INTO messages (id, workspace_id, channel_id, conversation_id, number, direction, author, type, text,
                             provider_message_id, sent_at, received_at, place, revoked_at, raw)
       SELECT $1, $2, $3, $4, CASE WHEN $12 = 1 THEN inbound_seq END, 'inbound', 'contact', $5, $6, $8,
              now() - $9 * interval '1 ms', now() - $7 * interval '1 ms', $10, CASE WHEN $11 THEN now() END, '{}'
       FROM numbered`,
      [
        id,
        workspaceId,
        channelId,
        conversationId,
        type,
        text,
        receivedAgoMs,
        providerMessageId,
        sentAgoMs,
        place,
        isRevoked,
        isNumbered ? 1 : 0,
      ],
    );
    rows.push({ id, providerMessageId });
  }
  return rows;
}

/** A reply with its sends, and the debit of it when it counts. */
export interface SeededReply {
  readonly replyId: string;
  readonly turnId: string;
  readonly sendIds: readonly string[];
}

/** Seeds a reply as the commit of a turn stores it: pending sends, due now, in their order, and one debit for an answer. */
export async function seedReply(
  database: Database,
  conversation: SeededConversation,
  options: {
    readonly parts?: readonly string[];
    readonly author?: 'ai' | 'human' | 'system';
    readonly kind?: string;
    readonly quoteMessageId?: string;
  } = {},
): Promise<SeededReply> {
  const { parts = ['An answer.'], author = 'ai', kind = 'answer', quoteMessageId = null } = options;
  const { workspaceId, channelId, conversationId } = conversation;
  const [turnId, replyId] = [newId(), newId()];
  const sendIds = parts.map(() => newId());
  await database.transaction(async (sql) => {
    const [row] = await sql.query<{ answered: number; position: number; epoch: number }>(
      `UPDATE conversations
       SET inbound_seq = inbound_seq + 1, answered_seq = inbound_seq + 1, send_seq = send_seq + $2
       WHERE id = $1 RETURNING answered_seq AS answered, send_seq - $2 + 1 AS position, epoch`,
      [conversationId, parts.length],
    );
    await sql.query(
      `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
       VALUES ($1, $2, $3, $4, $4, 'replied', $5)`,
      [turnId, workspaceId, conversationId, row?.answered, row?.epoch],
    );
    await sql.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [replyId, workspaceId, channelId, conversationId, turnId, author, kind, parts.join('\n')],
    );
    await sql.query(
      `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body,
                          quote_message_id, due_at)
       SELECT part.id, $2, $3, $4, $5, part.n, $6 + part.n - 1, $7, $8, part.body, CASE WHEN part.n = 1 THEN $9 END,
              clock_timestamp()
       FROM unnest($1::uuid[], $10::text[]) WITH ORDINALITY AS part(id, body, n)`,
      [
        sendIds,
        workspaceId,
        channelId,
        conversationId,
        replyId,
        row?.position,
        author,
        row?.epoch,
        quoteMessageId,
        parts,
      ],
    );
    if (kind !== 'answer' && kind !== 'abstain') return;
    await sql.query(
      `WITH entry AS (
         INSERT INTO usage_entries (id, workspace_id, month, channel_id, turn_id, sign)
         VALUES ($1, $2, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), $3, $4, 1) RETURNING month
       )
       INSERT INTO usage AS u (workspace_id, month, used) SELECT $2, month, 1 FROM entry
       ON CONFLICT (workspace_id, month) DO UPDATE SET used = u.used + 1`,
      [newId(), workspaceId, channelId, turnId],
    );
  });
  return { replyId, turnId, sendIds };
}
