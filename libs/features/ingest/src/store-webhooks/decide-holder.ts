import { HUMAN_HOLD_MS, isMuteOver, isOneOf } from '@answerline/conversation-rules';
import { type LockedConversation, type OwnershipFact, type Sql } from '@answerline/persistence';
import { RELEASED_TYPE, type PlannedMessage } from './plan-items.ts';
import { type PlacedMessage } from './placed-message.ts';

/** Whole messages that end the AI's part, and those that begin it again. A chatbot may have its own. */
export const defaultStopWords: readonly string[] = ['stop', 'baja'];
export const defaultStartWords: readonly string[] = ['start', 'alta'];

/** What is read beside the messages, under the locks of their conversations, to know who speaks. */
export interface HolderNews {
  /** Echoes of what we sent ourselves. */
  readonly ownEchoes: ReadonlySet<PlannedMessage>;
  /** By conversation: when Meta's agent last gave it up, by Meta's clock. */
  readonly releasedAt: ReadonlyMap<string, number>;
}

/** Reads what {@link HolderNews} says about these messages. */
export async function readHolderNews(sql: Sql, messages: readonly PlacedMessage[]): Promise<HolderNews> {
  const echoes = messages.filter(({ message }) => message.direction === 'outbound' && message.author !== 'system');
  const ofAgent = messages.filter(({ message }) => message.holder === 'meta_agent');
  const [ownEchoes, releases] = await Promise.all([
    echoes.length === 0 ? new Set<PlannedMessage>() : findOwnEchoes(sql, echoes),
    ofAgent.length === 0 ? [] : findReleases(sql, ofAgent),
  ]);
  const releasedAt = new Map(releases.map(({ conversation_id: id, at }) => [id, at]));
  // Both may be in one batch, in either order.
  for (const { message, conversationId } of messages) {
    if (message.holder !== 'released' || message.sentAt === null) continue;
    releasedAt.set(conversationId, Math.max(releasedAt.get(conversationId) ?? 0, message.sentAt));
  }
  return { ownEchoes, releasedAt };
}

/**
 * What a message means for who speaks, before it is numbered. Pure.
 *
 * A person's word from elsewhere, or a sign that Meta's agent speaks, takes over for 24 hours from when it was said; what comes
 * too late for that says nothing. Neither does what the agent said before it gave the conversation up.
 */
export function factsBefore(
  { message, conversationId }: PlacedMessage,
  conversation: LockedConversation,
  now: number,
  news: HolderNews,
): OwnershipFact[] {
  const { state, stopWords } = conversation;
  const facts: OwnershipFact[] = [];
  if (message.holder === 'released') facts.push({ type: 'released' });
  else if (message.holder !== null) {
    const saidAt = Math.min(message.sentAt ?? now, now);
    const mutedUntil = saidAt + HUMAN_HOLD_MS;
    const isPast = message.holder === 'meta_agent' && saidAt <= (news.releasedAt.get(conversationId) ?? -Infinity);
    if (!isPast && mutedUntil > now) {
      if (isMuteOver(state, now)) facts.push({ type: 'hand_back' });
      facts.push({ type: 'take_over', mutedUntil, by: message.holder });
    }
  }
  const isStop = state.optedOutAt === null && says(message, stopWords ?? defaultStopWords);
  return isStop ? [...facts, { type: 'opt_out', now }] : facts;
}

/** What a message means for who speaks from the next one on. Pure. */
export function factsAfter({ message }: PlacedMessage, { state, startWords }: LockedConversation): OwnershipFact[] {
  const isStart = state.optedOutAt !== null && says(message, startWords ?? defaultStartWords);
  return isStart ? [{ type: 'opt_in' }] : [];
}

function says({ direction, author, isBareText, text }: PlannedMessage, words: readonly string[]): boolean {
  return direction === 'inbound' && author === 'contact' && isBareText && text !== null && isOneOf(text, words);
}

/**
 * Echoes of our own sends: with the id that Graph gave to one of our calls, or with the words of a call whose answer we have not had.
 * To take them for a person's would silence the AI for a day.
 */
async function findOwnEchoes(sql: Sql, echoes: readonly PlacedMessage[]): Promise<Set<PlannedMessage>> {
  const rows = await sql.query<{ place: number }>(
    {
      name: 'find-own-echoes',
      text: `SELECT e.place::int - 1 AS place
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY
               AS e(channel_id, conversation_id, provider_message_id, body, place)
             WHERE EXISTS (SELECT FROM attempts a
                           WHERE a.channel_id = e.channel_id AND a.provider_message_id = e.provider_message_id)
                OR EXISTS (SELECT FROM sends s JOIN attempts a ON a.send_id = s.id
                           WHERE s.conversation_id = e.conversation_id AND s.body = e.body
                             AND a.phase IN ('calling', 'unknown') AND a.provider_message_id IS NULL)`,
    },
    [
      echoes.map(({ message }) => message.channel.id),
      echoes.map(({ conversationId }) => conversationId),
      echoes.map(({ message }) => message.providerMessageId),
      echoes.map(({ message }) => message.text),
    ],
  );
  return new Set(rows.flatMap(({ place }) => echoes[place]?.message ?? []));
}

function findReleases(
  sql: Sql,
  messages: readonly PlacedMessage[],
): Promise<{ conversation_id: string; at: number }[]> {
  return sql.query(
    {
      name: 'find-releases',
      text: `SELECT conversation_id, (extract(epoch FROM max(sent_at)) * 1000)::float8 AS at FROM messages
             WHERE conversation_id = ANY($1::uuid[]) AND author = 'system' AND type = $2 GROUP BY conversation_id`,
    },
    [[...new Set(messages.map(({ conversationId }) => conversationId))], RELEASED_TYPE],
  );
}
