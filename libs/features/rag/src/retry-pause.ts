import { toAppError, Transient } from '@answerline/errors';

/** An index or a model that restarts is back in seconds; one that stays away is asked every two minutes. */
const FIRST_MS = 1_000;
const LONGEST_MS = 120_000;
/** A model may ask for more patience than that, but not for days. */
const LONGEST_ASKED_MS = 15 * 60_000;

/** How long to wait after the `tries`th failure in a row, in ms: 1 s, doubled each time up to 2 minutes, or as long as was asked for. */
export function retryPauseMs(error: unknown, tries: number): number {
  const own = toAppError(error);
  const asked = own instanceof Transient ? (own.retryAfterMs ?? 0) : 0;
  return Math.max(Math.min(FIRST_MS * 2 ** (tries - 1), LONGEST_MS), Math.min(asked, LONGEST_ASKED_MS));
}
