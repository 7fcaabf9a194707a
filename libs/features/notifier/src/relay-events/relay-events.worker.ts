import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { type Database, OutboxRelay } from '@answerline/persistence';
import { startWorkLoop } from '@answerline/work-queue';

/** Events of one round. */
const BATCH_SIZE = 200;

/** Publishes the outbox on the stream EVENTS: at once when the doorbell `outbox` rings, else at the next sweep. */
export function relayEvents(
  bus: MessageBus,
  database: Database,
  logger: Logger,
): { stop(withinMs: number): Promise<void> } {
  const relay = new OutboxRelay(database, async ({ id, subject, payload }) => {
    await bus.publish(subject, Buffer.from(payload), { messageId: id });
  });
  // Taking, publishing and deleting is one transaction, so the claim is all there is to do; a full batch asks for another.
  const loop = startWorkLoop<null>({
    name: 'outbox',
    claim: async () => ((await relay.relayBatch(BATCH_SIZE)) === BATCH_SIZE ? [null] : []),
    run: () => Promise.resolve(),
    concurrency: 1,
    logger,
  });
  const mute = bus.onRing('outbox', () => loop.ring(), { queue: 'notifier' });
  return {
    stop: (withinMs) => {
      mute();
      return loop.stop(withinMs);
    },
  };
}
