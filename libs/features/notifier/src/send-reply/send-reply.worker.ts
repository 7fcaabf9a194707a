import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { startWorkLoop } from '@answerline/work-queue';
import { type SendReply } from './send-reply.ts';

/** Graph calls of one process at once. Each takes about 0.2 s at Meta, so this serves a few numbers at their full rate. */
const CONCURRENCY = 64;

/**
 * A timer counts whole milliseconds and may end up to one early. Who asks too early for a number's budget is passed over, and would come
 * back with the sweep only.
 */
const EARLY_MS = 1;

/** The door of {@link SendReply}: due sends, prompted by the doorbell `send`. */
export function workOnSends(
  bus: MessageBus,
  sendReply: SendReply,
  logger: Logger,
): { stop(withinMs: number): Promise<void> } {
  let pacing: NodeJS.Timeout | undefined;
  const loop = startWorkLoop({
    name: 'sends',
    claim: async (limit) => {
      const { jobs, retryInMs } = await sendReply.claim(limit);
      if (retryInMs !== null) {
        clearTimeout(pacing);
        pacing = setTimeout(() => loop.ring(), Math.ceil(retryInMs) + EARLY_MS);
      }
      return jobs;
    },
    run: async (job) => {
      const { isOver, opensWay } = await sendReply.execute(job);
      if (opensWay) loop.ring();
      if (isOver) bus.ring('outbox');
    },
    concurrency: CONCURRENCY,
    logger,
  });
  const mute = bus.onRing('send', () => loop.ring(), { queue: 'notifier' });
  return {
    stop: (withinMs) => {
      mute();
      clearTimeout(pacing);
      return loop.stop(withinMs);
    },
  };
}
