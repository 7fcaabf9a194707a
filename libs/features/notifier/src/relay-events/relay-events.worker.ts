import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { type Database, OutboxRelay } from '@answerline/persistence';
import { startSweep } from '@answerline/work-queue';

/** Events of one round. */
const BATCH_SIZE = 200;
/** An event whose doorbell was lost waits this long at most. */
const SWEEP_EVERY_MS = 1_000;
/** Events that come this close together go out in one transaction. Ticks and subscribers do not notice. */
const GATHER_MS = 50;

/** Publishes the outbox on the stream EVENTS: moments after the doorbell `outbox` rings, else at the next sweep. */
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
  let gathering: NodeJS.Timeout | undefined;
  const onRing = (): void => {
    gathering ??= setTimeout(() => {
      gathering = undefined;
      sweep.ring();
    }, GATHER_MS);
  };
  const mute = bus.onRing('outbox', onRing, { queue: 'notifier' });
  return {
    stop: (withinMs) => {
      mute();
      clearTimeout(gathering);
      return sweep.stop(withinMs);
    },
  };
}
