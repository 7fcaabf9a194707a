import { type messageSchema } from '@answerline/contracts';
import { HUMAN_HOLD_MS } from '@answerline/conversation-rules';
import { MessageBus } from '@answerline/messaging';
import {
  changeOwnership,
  Database,
  lockConversations,
  newId,
  type LockedConversation,
  type Sql,
  type Transaction,
} from '@answerline/persistence';
import { splitForWhatsApp, toWhatsAppText } from '@answerline/whatsapp';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { CALLS_END_WITHIN_MS, waitUntil } from '../calls-under-way.ts';
import { notFound, RefusedRequest, validationFailed } from '../management-api/api-errors.ts';

type Message = z.infer<typeof messageSchema>;

/** The type under which notes for the AI are stored: nobody but the owner and the AI reads them. */
const NOTE_TYPE = 'note';
const CHANNEL_OFF = 'The channel is switched off: connect the number again, or choose a plan that has WhatsApp.';
const HANDED_BACK = 'A colleague has spoken with the customer and has handed the conversation back to you.';

/** What people of the business do in a conversation. */
@Injectable()
export class AnswerAsHuman {
  readonly #database: Database;
  readonly #bus: MessageBus;

  constructor(database: Database, bus: MessageBus) {
    this.#database = database;
    this.#bus = bus;
  }

  /**
   * Sends what a human wrote (Markdown), and takes the conversation over; each word begins the AI's 24 hours of silence anew.
   *
   * @throws RefusedRequest 404, 409 `window_closed` or `channel_off`, 422 when nothing is left of the text
   */
  async say(workspaceId: string, conversationId: string, text: string): Promise<Message> {
    const parts = splitForWhatsApp(toWhatsAppText(text));
    if (parts.length === 0) throw validationFailed([{ path: 'text', message: 'There is nothing in it to be read.' }]);
    const said = await this.#database.transaction(async (sql) => {
      const { now, conversation } = await lock(sql, workspaceId, conversationId);
      const { channelAnswers, windowUntil } = conversation.state;
      if (!channelAnswers) throw new RefusedRequest('channel_off', CHANNEL_OFF, 409);
      if (windowUntil === null || windowUntil <= now) {
        const until = windowUntil === null ? null : new Date(windowUntil).toISOString();
        throw new RefusedRequest('window_closed', 'The contact has not written in the last 24 hours.', 409, {
          windowUntil: until,
        });
      }
      const mutedUntil = now + HUMAN_HOLD_MS;
      const change = await changeOwnership(sql, conversationId, { type: 'take_over', mutedUntil });
      return insertReply(sql, conversation, { text, parts, epoch: change?.epoch ?? conversation.state.epoch });
    });
    this.#bus.ring('send');
    this.#bus.ring('outbox');
    return {
      id: said.id,
      conversationId,
      direction: 'outbound',
      author: 'human',
      kind: 'human',
      type: 'text',
      text,
      media: null,
      providerMessageId: null,
      status: 'pending',
      failure: null,
      failureHint: null,
      sentAt: said.at.toISOString(),
      receivedAt: said.at.toISOString(),
      editedAt: null,
      revokedAt: null,
      turnId: null,
      replyToId: null,
    };
  }

  /**
   * Silences the AI, and comes back when no word of it is under way any more, at most 15 s later. @throws RefusedRequest 404
   *
   * @param untilHandBack false: for 24 hours
   */
  async takeOver(workspaceId: string, conversationId: string, untilHandBack: boolean): Promise<void> {
    await this.#database.transaction(async (sql) => {
      const { now } = await lock(sql, workspaceId, conversationId);
      const mutedUntil = untilHandBack ? null : now + HUMAN_HOLD_MS;
      await changeOwnership(sql, conversationId, { type: 'take_over', mutedUntil });
    });
    // What waited behind the AI's words may go.
    this.#bus.ring('send');
    this.#bus.ring('outbox');
    await waitUntil(async () => !(await this.#isAiCalling(conversationId)), CALLS_END_WITHIN_MS);
  }

  /**
   * Gives the conversation to the AI, also after the contact had opted out of it, and leaves a note for it. Does nothing when
   * the AI has it. @throws RefusedRequest 404
   */
  async handBack(workspaceId: string, conversationId: string, note: string | undefined): Promise<void> {
    await this.#database.transaction(async (sql) => {
      const { now, conversation } = await lock(sql, workspaceId, conversationId);
      const { owner, optedOutAt } = conversation.state;
      if (owner === 'ai' && optedOutAt === null) return;
      await changeOwnership(sql, conversationId, { type: 'hand_back' });
      await changeOwnership(sql, conversationId, { type: 'opt_in' });
      insertNote(sql, conversation, now, note === undefined ? HANDED_BACK : `${HANDED_BACK} ${note}`);
    });
  }

  async #isAiCalling(conversationId: string): Promise<boolean> {
    const rows = await this.#database.query(
      {
        name: 'is-ai-calling',
        text: `SELECT FROM sends WHERE conversation_id = $1 AND author = 'ai' AND phase = 'sending' LIMIT 1`,
      },
      [conversationId],
    );
    return rows.length > 0;
  }
}

/** Of others it is not even locked. */
async function lock(
  sql: Sql,
  workspaceId: string,
  conversationId: string,
): Promise<{ now: number; conversation: LockedConversation }> {
  const own = await sql.query('SELECT FROM conversations WHERE workspace_id = $1 AND id = $2', [
    workspaceId,
    conversationId,
  ]);
  if (own.length === 0) throw notFound();
  const { now, conversations } = await lockConversations(sql, [conversationId]);
  const conversation = conversations.get(conversationId);
  if (!conversation) throw notFound();
  return { now, conversation };
}

async function insertReply(
  sql: Sql,
  { id: conversationId, workspaceId, channelId }: LockedConversation,
  { text, parts, epoch }: { readonly text: string; readonly parts: readonly string[]; readonly epoch: number },
): Promise<{ id: string; at: Date }> {
  const id = newId();
  const [row] = await sql.query<{ at: Date }>(
    `WITH place AS (
       UPDATE conversations SET send_seq = send_seq + $7::int WHERE id = $4::uuid RETURNING send_seq - $7::int AS taken
     ), reply AS (
       INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text, created_at)
       VALUES ($1::uuid, $2::uuid, $3::uuid, $4, 'human', 'human', $5, clock_timestamp()) RETURNING id, created_at
     ), sends AS (
       INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, due_at)
       SELECT part.id, $2, $3, $4, reply.id, part.number, place.taken + part.number, 'human', $6::int, part.body, clock_timestamp()
       FROM reply CROSS JOIN place CROSS JOIN unnest($8::uuid[], $9::text[]) WITH ORDINALITY AS part(id, body, number)
     )
     SELECT created_at AS at FROM reply`,
    [id, workspaceId, channelId, conversationId, text, epoch, parts.length, parts.map(() => newId()), parts],
  );
  return { id, at: row?.at ?? new Date() };
}

function insertNote(
  sql: Transaction,
  { id: conversationId, workspaceId, channelId }: LockedConversation,
  now: number,
  text: string,
): void {
  const id = newId();
  const at = new Date(now);
  sql.write(
    `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, direction, author, type, text, provider_message_id,
                           sent_at, place, received_at, raw)
     VALUES ($1, $2, $3, $4, 'outbound', 'system', $5, $6, $7, $8, 0, $8, '{}')`,
    [id, workspaceId, channelId, conversationId, NOTE_TYPE, text, `${NOTE_TYPE}:${id}`, at],
  );
}
