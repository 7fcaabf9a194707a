/** The first pause: a dropped connection or a lock is often back by then. */
const firstDelayMs = 200;
/** The longest pause: what was away for long is noticed within half a minute of its return. */
const maxDelayMs = 30_000;

/** Milliseconds to wait after the `attempt`-th failure (1, 2, …): 0.2 s, 0.4 s, 0.8 s, … up to 30 s. */
export function retryDelayMs(attempt: number): number {
  return Math.min(maxDelayMs, firstDelayMs * 2 ** Math.max(0, attempt - 1));
}
