import { type Logger } from '@answerline/logging';
import { type MessageBus } from '@answerline/messaging';
import { startWorkLoop } from '@answerline/work-queue';
import { type AnswerTurn } from './answer-turn.ts';

/**
 * Turns of one process at once. One that waits for a model costs nothing meanwhile: 64 of 1 s each are 64 turns/s. One that is answered
 * by a quote is all work, and more at once would only slow each other down.
 */
const CONCURRENCY = { withModel: 64, withoutModel: 8 } as const;
/** The longest quiet window, 60 s: a ring that announces more is left to the sweep. */
const LONGEST_ANNOUNCEMENT_MS = 60_000;

/**
 * The door of {@link AnswerTurn}: due conversations, prompted by the doorbell `turn`. A ring says in how many milliseconds
 * the turn will be due, so that it is claimed then and not at the next sweep.
 */
export function workOnTurns(
  bus: MessageBus,
  answerTurn: AnswerTurn,
  logger: Logger,
): { stop(withinMs: number): Promise<void> } {
  const loop = startWorkLoop({
    name: 'turns',
    claim: (limit) => answerTurn.claim(limit),
    run: async (turn, signal) => {
      const end = await answerTurn.execute(turn, signal);
      if (end !== 'committed' && end !== 'handed_off') return;
      bus.ring('send');
      bus.ring('outbox');
      if (end === 'handed_off') bus.ring('mail');
    },
    concurrency: answerTurn.usesModel ? CONCURRENCY.withModel : CONCURRENCY.withoutModel,
    logger,
  });
  const timers = new Set<NodeJS.Timeout>();
  const onRing = (payload: string): void => {
    const inMs = Number(payload);
    if (!(inMs > 0 && inMs <= LONGEST_ANNOUNCEMENT_MS)) return loop.ring();
    const timer = setTimeout(() => {
      timers.delete(timer);
      loop.ring();
    }, inMs);
    timers.add(timer);
  };
  const mute = bus.onRing('turn', onRing, { queue: 'rag' });
  return {
    stop: async (withinMs) => {
      mute();
      for (const timer of timers) clearTimeout(timer);
      await loop.stop(withinMs);
    },
  };
}
