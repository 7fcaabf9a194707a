import { parseEvent } from '@answerline/contracts';
import { type Logger } from '@answerline/logging';
import { type MessageBus, type RunningConsumer } from '@answerline/messaging';
import { type Database } from '@answerline/persistence';
import { type ShowPresence } from './show-presence.ts';

/** Messages of one round; each conversation of it is one call. */
const BATCH_SIZE = 20;
const CONCURRENCY = 4;

/** The door of {@link ShowPresence}: the consumer `presence` of `message_received`. */
export function consumeForPresence(
  bus: MessageBus,
  database: Database,
  showPresence: ShowPresence,
  logger: Logger,
): Promise<RunningConsumer> {
  return bus.startConsumer({
    stream: 'EVENTS',
    consumer: 'presence',
    batchSize: BATCH_SIZE,
    concurrency: CONCURRENCY,
    handle: async (deliveries) => {
      const ids = deliveries.flatMap(({ data }) => {
        const event = parseEvent(JSON.parse(Buffer.from(data).toString('utf8')));
        return event?.type === 'message_received' ? [event.data.messageId] : [];
      });
      await showPresence.execute(ids);
    },
    dependenciesUp: () => database.isUp(),
    logger,
  });
}
