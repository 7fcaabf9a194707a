import { type Logger } from '@answerline/logging';
import { type Delivery, type MessageBus, type RunningConsumer } from '@answerline/messaging';
import { type Database } from '@answerline/persistence';
import { type Fingerprints } from '@answerline/secrets';
import { StoreWebhooks, type StoreResult } from './store-webhooks.ts';

/** Bodies of one transaction. More would hold the locks of too many conversations at once. */
const BATCH_SIZE = 50;
/**
 * Statuses wait for each other this long, because each batch costs a commit and seven statements, and a turn has three of them
 * a few ms apart. They only say how far a reply came; what waits for one, behind a call whose answer was lost, waits for more.
 */
const STATUSES_WAIT_MS = 100;

/** The door of {@link StoreWebhooks}: the consumer `ingest` of the stream WEBHOOKS, and the doorbells after each commit. */
export function consumeWebhooks(
  bus: MessageBus,
  database: Database,
  logger: Logger,
  fingerprints: Fingerprints,
): Promise<RunningConsumer> {
  const storeWebhooks = new StoreWebhooks(database, logger, fingerprints);
  return bus.startConsumer({
    stream: 'WEBHOOKS',
    consumer: 'ingest',
    batchSize: BATCH_SIZE,
    // In the order of the stream; another process may store other bodies at the same time, row locks keep them apart.
    concurrency: 1,
    // Messages of a contact must not overtake those that a killed ingest had begun to store.
    ordered: true,
    patience: { has: isOnlyStatuses, forMs: STATUSES_WAIT_MS },
    handle: async (deliveries) => {
      const result = await storeWebhooks.execute(deliveries);
      ring(bus, result);
      await erase(bus, result.dropped, logger);
    },
    dependenciesUp: () => database.isUp(),
    logger,
  });
}

/** By a look at the bytes; where it is wrong, a body waits that need not, or the other way round. */
function isOnlyStatuses({ data }: Delivery): boolean {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return bytes.includes('"statuses":') && !bytes.includes('"messages":');
}

function ring(bus: MessageBus, { turnsDueInMs, sendsMoved, hasEvents }: StoreResult): void {
  if (hasEvents) bus.ring('outbox');
  if (sendsMoved) bus.ring('send');
  for (const inMs of new Set(turnsDueInMs.map(Math.ceil))) bus.ring('turn', String(inMs));
}

/** Of what was dropped the raw body goes too. Where that fails it ages out with the stream. */
async function erase(bus: MessageBus, sequences: readonly number[], logger: Logger): Promise<void> {
  for (const sequence of sequences) {
    await bus.erase('WEBHOOKS', sequence).catch((error: unknown) => {
      logger.warn({ err: error, streamSequence: sequence }, 'A dropped body could not be erased from the stream');
    });
  }
}
