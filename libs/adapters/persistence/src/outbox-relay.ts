import { type Database } from './database.ts';

/** Publishes one event and resolves when the stream has stored it. Must throw when it has not. */
export type PublishEvent = (event: { id: string; subject: string; payload: string }) => Promise<void>;

/** Rows of one round. All are published at once and deleted together. */
const BATCH_SIZE = 200;

/**
 * Publishes what transactions left in the outbox, in order, and deletes it after the stream's ack. Several relays may run:
 * each takes rows that no other holds. A crash between ack and delete publishes again under the same id, which JetStream
 * drops within its duplicate window and consumers tell by the id.
 */
export class OutboxRelay {
  readonly #database: Database;
  readonly #publish: PublishEvent;

  constructor(database: Database, publish: PublishEvent) {
    this.#database = database;
    this.#publish = publish;
  }

  /** Publishes one batch. Returns how many rows went out; throws what `publish` or Postgres throws, and keeps those rows. */
  async relayBatch(limit: number = BATCH_SIZE): Promise<number> {
    return this.#database.transaction(async (sql) => {
      const rows = await sql.query<{ id: string; event_id: string; subject: string; payload: string }>(
        {
          name: 'relay-take',
          text: `SELECT id, event_id, subject, payload::text AS payload FROM outbox
                 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`,
        },
        [limit],
      );
      if (rows.length === 0) return 0;
      const results = await Promise.allSettled(
        rows.map(({ event_id, subject, payload }) => this.#publish({ id: event_id, subject, payload })),
      );
      const published = rows.filter((_, place) => results[place]?.status === 'fulfilled');
      const failed = results.find((result) => result.status === 'rejected');
      if (published.length === 0 && failed) throw failed.reason;
      sql.write({ name: 'relay-done', text: 'DELETE FROM outbox WHERE id = ANY($1::bigint[])' }, [
        published.map((row) => row.id),
      ]);
      return published.length;
    });
  }
}
