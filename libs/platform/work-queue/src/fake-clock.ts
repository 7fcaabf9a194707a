import type { SetTimer } from './timer.ts';

/** Lets everything that waits only for promises run. */
export const flush = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A clock for tests: time passes only by `advance`, timers fire in order. */
export function fakeClock() {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly fn: () => void }>();
  const setTimer: SetTimer = (fn, ms) => {
    const timer = { at: now + ms, fn };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  const advance = async (ms: number) => {
    const end = now + ms;
    await flush();
    for (;;) {
      const next = [...timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      now = next.at;
      timers.delete(next);
      next.fn();
      await flush();
    }
    now = end;
  };
  return { setTimer, advance, now: () => now, timers: () => timers.size };
}
