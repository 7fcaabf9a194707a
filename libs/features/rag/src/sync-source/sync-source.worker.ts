import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { startWorkLoop } from '@answerline/work-queue';
import { type SyncSource } from './sync-source.ts';

/** One at a time: indexing is heavy, and must not starve the answers of this process. */
const CONCURRENCY = 1;

/** The door of {@link SyncSource}: due sources, prompted by the doorbell `source`. */
export function workOnSources(
  bus: MessageBus,
  syncSource: SyncSource,
  logger: Logger,
): { stop(withinMs: number): Promise<void> } {
  const loop = startWorkLoop({
    name: 'sources',
    claim: (limit) => syncSource.claim(limit),
    run: (source, signal) => syncSource.execute(source, signal),
    concurrency: CONCURRENCY,
    logger,
  });
  const mute = bus.onRing('source', () => loop.ring(), { queue: 'rag' });
  return {
    stop: (withinMs) => {
      mute();
      return loop.stop(withinMs);
    },
  };
}
