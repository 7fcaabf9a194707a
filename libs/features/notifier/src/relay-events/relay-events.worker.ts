import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { type Database, OutboxRelay } from '@answerline/persistence';
import { startSweep } from '@answerline/work-queue';

/** Events of one round. */
const BATCH_SIZE = 200;
/** An event whose doorbell was lost waits this long at most. */
const SWEEP_EVERY_MS = 1_000;

/** Publishes the outbox on the stream EVENTS: at once when the doorbell `outbox` rings, else at the next sweep. */
export function relayEvents(
  bus: MessageBus,
  database: Database,
  logger: Logger,
): { stop(withinMs: number): Promise<void> } {
  const relay = new OutboxRelay(database, async ({ id, subject, payload }) => {
    await bus.publish(subject, Buffer.from(payload), { messageId: id });
  });
  const sweep = startSweep({
    name: 'outbox',
    everyMs: SWEEP_EVERY_MS,
    sweep: async () => (await relay.relayBatch(BATCH_SIZE)) === BATCH_SIZE,
    logger,
  });
  const mute = bus.onRing('outbox', () => sweep.ring(), { queue: 'notifier' });
  return {
    stop: (withinMs) => {
      mute();
      return sweep.stop(withinMs);
    },
  };
}
