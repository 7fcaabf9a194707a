/** At most so many calls in any such time. */
export interface RateLimit {
  readonly messages: number;
  readonly perMs: number;
}

/**
 * Without an App Secret anybody who knows the callback can have us write to people: DESIGN 13 lets 30 a minute out then, which
 * is enough for trying and too little for abuse.
 */
const UNSIGNED_LIMIT: RateLimit = { messages: 30, perMs: 60_000 };

/** The limit of a number. @param isUnsigned its app's deliveries are not verified */
export function limitOf(number: { readonly messagesPerSecond: number; readonly isUnsigned: boolean }): RateLimit {
  return number.isUnsigned ? UNSIGNED_LIMIT : { messages: number.messagesPerSecond, perMs: 1_000 };
}

/** How far a number's budget of calls is used up; see {@link takeFromBudget}. */
export interface Pace {
  readonly limit: RateLimit;
  /** When the next call would be free of any burst; ms of the database's clock, null before the first. */
  readonly freeAt: number | null;
}

/** Share of the limit that may go out at once. The rest is spread evenly, so that no such time ever holds more than the limit. */
const BURST_SHARE = 0.1;
/** A number whose budget is used up for longer than this is passed over when sends are looked for. */
export const PACE_LOOKAHEAD_MS = 50;

/**
 * Takes up to `wanted` calls from a number's budget (generic cell rate algorithm, ITU-T I.371): never more
 * than its limit. Meta answers more than 80 a second with 130429.
 *
 * @returns how many calls may go now, the new `freeAt`, and in how many ms it is worth asking for more
 */
export function takeFromBudget(
  pace: Pace,
  wanted: number,
  now: number,
): { readonly granted: number; readonly freeAt: number; readonly nextInMs: number } {
  const { messages, perMs } = pace.limit;
  const burst = Math.max(1, Math.floor(messages * BURST_SHARE));
  const spacingMs = perMs / Math.max(1, messages - burst);
  const toleranceMs = (burst - 1) * spacingMs;
  let freeAt = Math.max(pace.freeAt ?? 0, now);
  let granted = 0;
  while (granted < wanted && freeAt <= now + toleranceMs) {
    freeAt += spacingMs;
    granted += 1;
  }
  return { granted, freeAt, nextInMs: Math.max(0, freeAt - now - Math.min(toleranceMs, PACE_LOOKAHEAD_MS)) };
}
