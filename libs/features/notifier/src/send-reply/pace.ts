/** How far a number's budget of calls is used up; see {@link takeFromBudget}. */
export interface Pace {
  readonly messagesPerSecond: number;
  /** When the next call would be free of any burst; ms of the database's clock, null before the first. */
  readonly freeAt: number | null;
}

/** Share of the limit that may go out at once. The rest is spread evenly, so that no second ever holds more than the limit. */
const BURST_SHARE = 0.1;
/** A number whose budget is used up for longer than this is passed over when sends are looked for. */
export const PACE_LOOKAHEAD_MS = 50;

/**
 * Takes up to `wanted` calls from a number's budget (generic cell rate algorithm, ITU-T I.371): at most
 * `messagesPerSecond` in any second. Meta answers more with 130429.
 *
 * @returns how many calls may go now, the new `freeAt`, and in how many ms it is worth asking for more
 */
export function takeFromBudget(
  pace: Pace,
  wanted: number,
  now: number,
): { readonly granted: number; readonly freeAt: number; readonly nextInMs: number } {
  const burst = Math.max(1, Math.floor(pace.messagesPerSecond * BURST_SHARE));
  const spacingMs = 1000 / Math.max(1, pace.messagesPerSecond - burst);
  const toleranceMs = (burst - 1) * spacingMs;
  let freeAt = Math.max(pace.freeAt ?? 0, now);
  let granted = 0;
  while (granted < wanted && freeAt <= now + toleranceMs) {
    freeAt += spacingMs;
    granted += 1;
  }
  return { granted, freeAt, nextInMs: Math.max(0, freeAt - now - Math.min(toleranceMs, PACE_LOOKAHEAD_MS)) };
}
