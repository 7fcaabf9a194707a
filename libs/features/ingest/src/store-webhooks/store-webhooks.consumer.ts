import { type Logger } from '@answerline/logging';
import { type MessageBus, type RunningConsumer } from '@answerline/messaging';
import { type Database } from '@answerline/persistence';
import { StoreWebhooks, type StoreResult } from './store-webhooks.ts';

/** Bodies of one transaction. More would hold the locks of too many conversations at once. */
const BATCH_SIZE = 50;

/** The door of {@link StoreWebhooks}: the consumer `ingest` of the stream WEBHOOKS, and the doorbells after each commit. */
export function consumeWebhooks(bus: MessageBus, database: Database, logger: Logger): Promise<RunningConsumer> {
  const storeWebhooks = new StoreWebhooks(database, logger);
  return bus.startConsumer({
    stream: 'WEBHOOKS',
    consumer: 'ingest',
    batchSize: BATCH_SIZE,
    // In the order of the stream; another process may store other bodies at the same time, row locks keep them apart.
    concurrency: 1,
    // Messages of a contact must not overtake those that a killed ingest had begun to store.
    ordered: true,
    handle: async (deliveries) => ring(bus, await storeWebhooks.execute(deliveries)),
    dependenciesUp: () => database.isUp(),
    logger,
  });
}

function ring(bus: MessageBus, { turnsDueInMs, sendsMoved, hasEvents }: StoreResult): void {
  if (hasEvents) bus.ring('outbox');
  if (sendsMoved) bus.ring('send');
  for (const inMs of new Set(turnsDueInMs.map(Math.ceil))) bus.ring('turn', String(inMs));
}
