import { setTimeout as delay } from 'node:timers/promises';
import { CALL_START_LIMIT_MS, CALL_TIMEOUT_MS } from '@answerline/conversation-rules';

/** A call starts at most 5 s after its claim and takes at most 10 s: what has not been heard of by then is not under way any more. */
export const CALLS_END_WITHIN_MS = CALL_START_LIMIT_MS + CALL_TIMEOUT_MS;
const POLL_MS = 50;

/** Asks until there is an answer, for `withinMs`. The last time it says so; null: there was none then either. */
export async function askUntil<Answer>(
  ask: (isLast: boolean) => Promise<Answer | null>,
  withinMs: number,
): Promise<Answer | null> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const isLast = performance.now() >= deadline;
    const answer = await ask(isLast);
    if (answer !== null || isLast) return answer;
    await delay(POLL_MS);
  }
}

/** Asks until `isOver` says yes, at most `withinMs`. Returns whether it did. */
export async function waitUntil(isOver: () => Promise<boolean>, withinMs: number): Promise<boolean> {
  return (await askUntil(async () => ((await isOver()) ? true : null), withinMs)) ?? false;
}
