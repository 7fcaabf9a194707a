import { createHash } from 'node:crypto';
import { type replayedDeliverySchema, webhookSubject } from '@answerline/contracts';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound, RefusedRequest } from '../management-api/api-errors.ts';

interface LogRow {
  webhook_key_id: string;
  body_sha256: string | null;
  /** bigint: the driver gives text. */
  stream_sequence: string | null;
}

/** Gives a delivery that the log names to ingest once more, as it came. */
@Injectable()
export class ReplayDelivery {
  readonly #database: Database;
  readonly #bus: MessageBus;

  constructor(database: Database, bus: MessageBus) {
    this.#database = database;
    this.#bus = bus;
  }

  /**
   * Publishes the body again, under another message id each time, so that the stream does not take it for a repeat. Ingest
   * stores what it has already only once.
   *
   * @throws RefusedRequest 404 `not_found`; 409 `delivery_refused` (refused ones are counted, not kept); 404 `delivery_gone`
   *   (bodies are kept for 7 days)
   * @throws Transient while NATS or Postgres is away
   */
  async execute(workspaceId: string, id: string): Promise<z.infer<typeof replayedDeliverySchema>> {
    const [row] = await this.#database.query<LogRow>(
      `SELECT webhook_key_id, body_sha256, stream_sequence FROM webhook_log WHERE workspace_id = $1 AND id = $2`,
      [workspaceId, id],
    );
    if (!row) throw notFound();
    const { webhook_key_id: keyId, body_sha256: bodySha256, stream_sequence: sequence } = row;
    if (bodySha256 === null || sequence === null) {
      throw new RefusedRequest('delivery_refused', 'This delivery was refused, so its body was not kept.', 409);
    }
    const subject = webhookSubject(workspaceId, keyId);
    const stored = await this.#bus.readStored('WEBHOOKS', Number(sequence));
    // A stream that was made anew counts from 1 again.
    const isTheOne =
      stored?.subject === subject && createHash('sha256').update(stored.data).digest('hex') === bodySha256;
    if (!isTheOne) {
      throw new RefusedRequest('delivery_gone', 'The body of this delivery is no longer kept.', 404);
    }
    const replay = await this.#count(workspaceId, keyId, bodySha256);
    await this.#bus.publish(subject, stored.data, {
      messageId: `${keyId}:${bodySha256}:r${String(replay)}`,
      headers: stored.headers,
    });
    return { webhookLogId: id, bodySha256, replay };
  }

  /** A body that came several times has several entries; they count together, because they share the message id. */
  async #count(workspaceId: string, keyId: string, bodySha256: string): Promise<number> {
    const rows = await this.#database.query<{ replays: number }>(
      `WITH same AS (
         SELECT id, max(replays) OVER () AS replays FROM webhook_log
         WHERE workspace_id = $1 AND webhook_key_id = $2 AND body_sha256 = $3
       ), locked AS (SELECT l.id FROM webhook_log l JOIN same USING (id) ORDER BY l.id FOR NO KEY UPDATE OF l)
       UPDATE webhook_log l SET replays = greatest(l.replays, (SELECT max(replays) FROM same)) + 1
       FROM locked WHERE l.id = locked.id RETURNING l.replays`,
      [workspaceId, keyId, bodySha256],
    );
    return Math.max(...rows.map(({ replays }) => replays));
  }
}
