/** How far a number's budget of calls is used up; see {@link takeFromBudget}. */
export interface Pace {
  readonly messagesPerSecond: number;
  /** When the next call would be free of any burst; ms of the database's clock, null before the first. */
  readonly freeAt: number | null;
}

/** Share of the limit that may go out at once. The rest is spread evenly, so that no second ever holds more than the limit. */
const BURST_SHARE = 0.1;

/**
 * Takes up to `wanted` calls from a number's budget (generic cell rate algorithm, ITU-T I.371): at most
 * `messagesPerSecond` in any second. Meta answers more with 130429.
 *
 * @returns how many calls may go now, and the new `freeAt`
 */
export function takeFromBudget(
  pace: Pace,
  wanted: number,
  now: number,
): { readonly granted: number; readonly freeAt: number } {
  const burst = Math.max(1, Math.floor(pace.messagesPerSecond * BURST_SHARE));
  const spacingMs = 1000 / Math.max(1, pace.messagesPerSecond - burst);
  let freeAt = Math.max(pace.freeAt ?? 0, now);
  let granted = 0;
  while (granted < wanted && freeAt <= now + (burst - 1) * spacingMs) {
    freeAt += spacingMs;
    granted += 1;
  }
  return { granted, freeAt };
}
