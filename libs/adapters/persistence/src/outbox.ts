import { type Transaction } from './sql.ts';

/** A fact to be published after the transaction that made it true. `id` is also its JetStream message id. */
export interface OutboxEvent {
  readonly id: string;
  readonly workspaceId: string;
  readonly subject: string;
  readonly payload: object;
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
