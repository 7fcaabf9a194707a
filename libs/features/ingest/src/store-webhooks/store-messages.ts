import { type EventData, type EventType } from '@answerline/contracts';
import {
  decideTurn,
  SERVICE_WINDOW_MS,
  type ConversationState,
  type TurnVerdict,
} from '@answerline/conversation-rules';
import {
  addToOutbox,
  newId,
  storeConversations,
  timestamp,
  toOutboxEvent,
  type LockedConversation,
  type OutboxEvent,
  type OwnershipChange,
  type OwnershipFact,
  type Sql,
  type Transaction,
} from '@answerline/persistence';
import { factsAfter, factsBefore, type HolderNews } from './decide-holder.ts';
import { keptJson } from './kept-json.ts';
import { type PlacedMessage } from './placed-message.ts';
import { type PlannedMessage } from './plan-items.ts';

export interface StoredMessages {
  readonly stored: readonly PlannedMessage[];
  /** When the next turn of each touched conversation is due; ms of the database's clock. */
  readonly dueAts: readonly number[];
  /** Who speaks has changed: to be followed with {@link followOwnership} of the persistence. */
  readonly ownership: readonly OwnershipChange[];
}

/** A message that is in the table, as far as edits and revokes need it. */
interface KnownMessage {
  readonly id: string;
  readonly conversationId: string | null;
  readonly number: number | null;
  readonly isRevoked: boolean;
}

interface NewRow {
  readonly id: string;
  readonly placed: PlacedMessage;
  readonly number: number | null;
  readonly historyReason: string | null;
  text: string | null;
  editedAt: number | null;
  revokedAt: number | null;
}

/** An edit or revoke that came before its original. */
interface WaitingAmendment {
  readonly change: 'edit' | 'revoke';
  readonly text: string | null;
  readonly conversationId: string | null;
}

/**
 * Inserts what is new, numbers what is to be answered, lets edits and revokes take effect, and leaves the events in the
 * outbox. The caller holds the locks of `conversations`; `now` is the database's clock under them.
 *
 * When another process has inserted one of them meanwhile, under another conversation, the commit fails on {@link MESSAGE_KEY}.
 *
 * @param book what was known of them under these locks
 * @param news what else was read under them about who speaks
 */
export function storeMessages(
  sql: Transaction,
  now: number,
  conversations: Map<string, LockedConversation>,
  messages: readonly PlacedMessage[],
  book: MessageBook,
  news: HolderNews,
): StoredMessages {
  const ownership: OwnershipChange[] = [];
  if (messages.length === 0) return { stored: [], dueAts: [], ownership };
  const rows: NewRow[] = [];
  const events: OutboxEvent[] = [];
  const changed = new Set<string>();

  for (const placed of messages) {
    const { message, conversationId } = placed;
    const conversation = conversations.get(conversationId);
    // Deleted since it was looked up: what remains of it is dropped with its contact.
    if (!conversation || book.has(message) || news.ownEchoes.has(message)) continue;
    const { row, after, verdict, changes } = insert(placed, conversation, book, now, news);
    rows.push(row);
    ownership.push(...changes);
    book.add(message, row, conversationId);
    conversations.set(conversationId, after);
    changed.add(conversationId);
    if (message.author === 'contact' && message.direction === 'inbound') {
      events.push(...eventsOf(row, conversation, now, verdict));
    }
  }

  insertRows(sql, rows, now);
  storeAmendments(sql, book.amended());
  storeConversations(
    sql,
    [...changed].map((id) => conversations.get(id)).filter((conversation) => conversation !== undefined),
  );
  addToOutbox(sql, events);
  const dueAts = [...changed]
    .map((id) => conversations.get(id)?.state.dueAt)
    .filter((dueAt) => typeof dueAt === 'number');
  return { stored: rows.map(({ placed }) => placed.message), dueAts, ownership };
}

function insert(
  placed: PlacedMessage,
  conversation: LockedConversation,
  book: MessageBook,
  now: number,
  news: HolderNews,
): { row: NewRow; after: LockedConversation; verdict: TurnVerdict; changes: OwnershipChange[] } {
  const { message } = placed;
  const { quietMs, quietMaxMs } = conversation;
  const isInbound = message.direction === 'inbound' && message.author === 'contact';
  const changes: OwnershipChange[] = [];
  const apply = (before: ConversationState, facts: readonly OwnershipFact[]): ConversationState =>
    facts.reduce((state, fact) => {
      const decision = decideTurn(state, fact);
      changes.push({ conversation, fact, verdict: decision.verdict, epoch: decision.state.epoch });
      return decision.state;
    }, before);
  const held = apply(conversation.state, factsBefore(placed, conversation, now, news));
  const { state: received, verdict } = isInbound
    ? decideTurn(held, {
        type: 'message',
        now,
        answerable: message.answerable,
        isOverheard: message.holder === 'meta_agent',
        sentAt: message.sentAt ?? now,
        quietMs,
        quietMaxMs,
      })
    : { state: held, verdict: { type: 'noted' as const } };
  const state = apply(received, factsAfter(placed, conversation));
  const waiting = book.waitingFor(message, placed.conversationId);
  const edit = waiting.findLast(({ change }) => change === 'edit');
  const row: NewRow = {
    id: newId(),
    placed,
    number: verdict.type === 'numbered' ? verdict.number : null,
    historyReason: verdict.type === 'history' ? verdict.reason : null,
    text: edit ? edit.text : message.text,
    editedAt: edit ? now : null,
    revokedAt: waiting.some(({ change }) => change === 'revoke') ? now : null,
  };
  let after = state;
  if (message.amends) {
    const original = book.amend(message, placed.conversationId, now);
    after = decideTurn(state, { type: 'amended', now, number: original?.number ?? null, quietMs, quietMaxMs }).state;
  }
  return {
    row,
    verdict,
    changes,
    after: {
      ...conversation,
      state: after,
      // Reply to exactly the address that wrote last (META 8); echoes and system messages are not theirs.
      replyToIdentityId: isInbound ? placed.party.replyToIdentityId : conversation.replyToIdentityId,
      lastInboundAt: isInbound ? now : conversation.lastInboundAt,
    },
  };
}

function eventsOf(row: NewRow, before: LockedConversation, now: number, verdict: TurnVerdict): OutboxEvent[] {
  const { workspaceId, channelId, contactId, id: conversationId } = before;
  const ids = { conversationId, channelId, contactId };
  const event = <T extends EventType>(type: T, data: EventData<T>): OutboxEvent =>
    toOutboxEvent(type, { rowId: row.id, workspaceId, channelId, conversationId, occurredAt: now, data });
  const received = event('message_received', {
    ...ids,
    messageId: row.id,
    messageType: row.placed.message.type,
    number: verdict.type === 'numbered' ? verdict.number : null,
  });
  const { lastInboundAt } = before;
  const isSilenceOver = lastInboundAt !== null && now - lastInboundAt >= SERVICE_WINDOW_MS;
  if (lastInboundAt !== null && !isSilenceOver) return [received];
  return [
    event('conversation_started', { ...ids, reason: lastInboundAt === null ? 'first' : 'after_silence' }),
    received,
  ];
}

/** The messages that are known, in the table or in this batch, and what edits and revokes do to them. */
export class MessageBook {
  readonly #known = new Map<string, KnownMessage>();
  readonly #waiting = new Map<string, WaitingAmendment[]>();
  readonly #amended = new Map<string, { text: string | null; editedAt: number | null; revokedAt: number | null }>();
  readonly #rows = new Map<string, NewRow>();

  /** Reads what is known of messages. Only under the locks of their conversations: an original and its edit may meet. */
  static async load(sql: Sql, messages: readonly PlannedMessage[]): Promise<MessageBook> {
    const book = new MessageBook();
    if (messages.length === 0) return book;
    const channelIds = [...new Set(messages.map(({ channel }) => channel.id))];
    const ids = new Set(messages.map(({ providerMessageId }) => providerMessageId));
    for (const { amends } of messages) if (amends) ids.add(amends.messageId);
    const rows = await sql.query<{
      id: string;
      channel_id: string;
      conversation_id: string | null;
      number: number | null;
      provider_message_id: string;
      amends_message_id: string | null;
      type: string;
      text: string | null;
      is_revoked: boolean;
    }>(
      {
        name: 'known-messages',
        text: `SELECT id, channel_id, conversation_id, number, provider_message_id, amends_message_id, type, text,
                      revoked_at IS NOT NULL AS is_revoked
               FROM messages WHERE channel_id = ANY($1::uuid[]) AND provider_message_id = ANY($2::text[])
               UNION ALL
               SELECT id, channel_id, conversation_id, number, provider_message_id, amends_message_id, type, text, false
               FROM messages WHERE channel_id = ANY($1::uuid[]) AND amends_message_id = ANY($2::text[])
               ORDER BY id`,
      },
      [channelIds, [...ids]],
    );
    for (const row of rows) {
      book.#known.set(key(row.channel_id, row.provider_message_id), {
        id: row.id,
        conversationId: row.conversation_id,
        number: row.number,
        isRevoked: row.is_revoked,
      });
      if (row.amends_message_id === null) continue;
      book.#wait(key(row.channel_id, row.amends_message_id), {
        change: row.type === 'revoke' ? 'revoke' : 'edit',
        text: row.text,
        conversationId: row.conversation_id,
      });
    }
    return book;
  }

  has({ channel, providerMessageId }: PlannedMessage): boolean {
    return this.#known.has(key(channel.id, providerMessageId));
  }

  add({ channel, providerMessageId }: PlannedMessage, row: NewRow, conversationId: string): void {
    const { id, number } = row;
    this.#known.set(key(channel.id, providerMessageId), {
      id,
      conversationId,
      number,
      isRevoked: row.revokedAt !== null,
    });
    this.#rows.set(id, row);
  }

  /** Edits and revokes of the message that came before it. Only its own conversation may amend a message. */
  waitingFor({ channel, providerMessageId }: PlannedMessage, conversationId: string): WaitingAmendment[] {
    const waiting = this.#waiting.get(key(channel.id, providerMessageId)) ?? [];
    return waiting.filter((amendment) => amendment.conversationId === conversationId);
  }

  /** Applies an edit or revoke and returns its original, or undefined: the original has yet to come. */
  amend({ channel, amends }: PlannedMessage, conversationId: string, now: number): KnownMessage | undefined {
    if (!amends) return undefined;
    const originalKey = key(channel.id, amends.messageId);
    const original = this.#known.get(originalKey);
    if (!original) {
      this.#wait(originalKey, { change: amends.change, text: amends.text, conversationId });
      return undefined;
    }
    if (original.conversationId !== conversationId) return undefined;
    const row = this.#rows.get(original.id);
    if (row && amends.change === 'revoke') row.revokedAt = now;
    else if (row) {
      row.text = amends.text;
      row.editedAt = now;
    } else {
      const before = this.#amended.get(original.id) ?? { text: null, editedAt: null, revokedAt: null };
      this.#amended.set(
        original.id,
        amends.change === 'revoke' ? { ...before, revokedAt: now } : { ...before, text: amends.text, editedAt: now },
      );
    }
    return original;
  }

  /** Rows of the table that an edit or revoke of this batch changes. */
  amended(): { id: string; text: string | null; editedAt: number | null; revokedAt: number | null }[] {
    return [...this.#amended].map(([id, change]) => ({ id, ...change }));
  }

  #wait(originalKey: string, amendment: WaitingAmendment): void {
    const waiting = this.#waiting.get(originalKey);
    if (waiting) waiting.push(amendment);
    else this.#waiting.set(originalKey, [amendment]);
  }
}

const key = (channelId: string, providerMessageId: string): string => `${channelId} ${providerMessageId}`;

/** A message is there once: (channel, Meta's id). */
export const MESSAGE_KEY = 'messages_provider_uq';

function insertRows(sql: Transaction, rows: readonly NewRow[], now: number): void {
  if (rows.length === 0) return;
  const of = <Value>(pick: (row: NewRow) => Value): Value[] => rows.map(pick);
  sql.write(
    {
      name: 'insert-messages',
      text: `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, number, history_reason, direction, author, type,
                                   text, provider_message_id, context_message_id, amends_message_id, sent_at, place,
                                   received_at, edited_at, revoked_at, media_state, raw)
             SELECT v.id, v.workspace_id, v.channel_id, v.conversation_id, v.number, v.history_reason, v.direction, v.author,
                    v.type, v.text, v.provider_message_id, v.context_message_id, v.amends_message_id,
                    ${timestamp('v.sent_at')}, v.place, ${timestamp('$19::float8')}, ${timestamp('v.edited_at')},
                    ${timestamp('v.revoked_at')}, v.media_state, v.raw
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::text[], $12::text[], $13::text[], $14::float8[], $15::int[], $16::float8[],
                         $17::float8[], $18::text[], $20::json[])
               AS v(id, workspace_id, channel_id, conversation_id, number, history_reason, direction, author, type, text,
                    provider_message_id, context_message_id, amends_message_id, sent_at, place, edited_at, revoked_at,
                    media_state, raw)`,
    },
    [
      of(({ id }) => id),
      of(({ placed }) => placed.message.channel.workspaceId),
      of(({ placed }) => placed.message.channel.id),
      of(({ placed }) => placed.conversationId),
      of(({ number }) => number),
      of(({ historyReason }) => historyReason),
      of(({ placed }) => placed.message.direction),
      of(({ placed }) => placed.message.author),
      of(({ placed }) => placed.message.type),
      of(({ text }) => text),
      of(({ placed }) => placed.message.providerMessageId),
      of(({ placed }) => placed.message.contextMessageId),
      of(({ placed }) => placed.message.amends?.messageId ?? null),
      of(({ placed }) => placed.message.sentAt ?? now),
      of(({ placed }) => placed.message.place),
      of(({ editedAt }) => editedAt),
      of(({ revokedAt }) => revokedAt),
      of(({ placed }) => (placed.message.isMedia ? 'not_fetched' : null)),
      now,
      of(({ placed }) => keptJson(placed.message.raw)),
    ],
  );
}

function storeAmendments(
  sql: Transaction,
  amendments: readonly { id: string; text: string | null; editedAt: number | null; revokedAt: number | null }[],
): void {
  if (amendments.length === 0) return;
  sql.write(
    `UPDATE messages AS m
     SET text = CASE WHEN v.edited_at IS NULL THEN m.text ELSE v.text END,
         edited_at = coalesce(${timestamp('v.edited_at')}, m.edited_at),
         revoked_at = coalesce(${timestamp('v.revoked_at')}, m.revoked_at)
     FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::float8[]) AS v(id, text, edited_at, revoked_at)
     WHERE m.id = v.id`,
    [
      amendments.map(({ id }) => id),
      amendments.map(({ text }) => text),
      amendments.map(({ editedAt }) => editedAt),
      amendments.map(({ revokedAt }) => revokedAt),
    ],
  );
}
