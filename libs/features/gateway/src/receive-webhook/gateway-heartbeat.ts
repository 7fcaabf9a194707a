import { type MessageBus } from '@answerline/messaging';
import { type Database } from '@answerline/persistence';
import { type DeliveryBook } from './delivery-book.ts';

/**
 * Leaves the proof that webhooks are being accepted: a row, and with it the word that NATS is connected, Postgres answers and
 * nothing was refused because of us since the row before. A send whose answer was lost is sent again only when these rows
 * show no gap. Rows older than an hour have done their work. Throws Transient while Postgres is away.
 */
export async function leaveHeartbeat(database: Database, bus: MessageBus, deliveries: DeliveryBook): Promise<void> {
  const refused = deliveries.takeNotStored();
  if (refused || bus.problem() !== null) return;
  await database.query(`INSERT INTO gateway_heartbeats DEFAULT VALUES`);
  await database.query(`DELETE FROM gateway_heartbeats WHERE at < now() - interval '1 hour'`);
}
