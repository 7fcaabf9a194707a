import { eventId, eventSubject, type EventData, type EventType } from '@answerline/contracts';
import { type Transaction } from './sql.ts';

/** A fact to be published after the transaction that made it true. `id` is also its JetStream message id. */
export interface OutboxEvent {
  readonly id: string;
  readonly workspaceId: string;
  readonly subject: string;
  readonly payload: object;
}

/** What an event says besides its type. */
export interface EventFacts<Type extends EventType> {
  /** The row it is about, or a new id for what has no row: with the type it is the event's id, for ever. */
  readonly rowId: string;
  readonly workspaceId: string;
  /** Null for what is about the whole workspace. */
  readonly channelId: string | null;
  /** Null for what is about no conversation. */
  readonly conversationId: string | null;
  /** Unix ms; now unless given. */
  readonly occurredAt?: number;
  /** Follows one webhook through the logs; the row unless given. */
  readonly correlationId?: string;
  readonly data: EventData<Type>;
}

/** An event as it is stored and published. */
export function toOutboxEvent<Type extends EventType>(type: Type, facts: EventFacts<Type>): OutboxEvent {
  const { rowId, workspaceId, channelId, conversationId, occurredAt = Date.now(), correlationId = rowId, data } = facts;
  const id = eventId(type, rowId);
  return {
    id,
    workspaceId,
    subject: eventSubject(type, workspaceId, channelId, conversationId),
    payload: { id, type, occurredAt: new Date(occurredAt).toISOString(), workspaceId, correlationId, data },
  };
}

/** Stores events with the transaction of `sql`. The same event id is stored once. */
export function addToOutbox(sql: Transaction, events: readonly OutboxEvent[]): void {
  if (events.length === 0) return;
  sql.write(
    {
      name: 'add-to-outbox',
      text: `INSERT INTO outbox (workspace_id, event_id, subject, payload)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::json[])
             ON CONFLICT (event_id) DO NOTHING`,
    },
    [
      events.map((event) => event.workspaceId),
      events.map((event) => event.id),
      events.map((event) => event.subject),
      events.map((event) => JSON.stringify(event.payload)),
    ],
  );
}
