const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** After the first try, the second, …: a server that restarts is back in seconds; one that greylists wants minutes (RFC 6647 4). */
const firstPauses = [10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE];
/** The last try is at most this long after the first: what somebody was asked for yesterday is not news. */
const ALL_WITHIN = 24 * HOUR;
/** A fault of ours does not go away by itself; a few tries tell whether it does. */
const FAULT_TRIES = 4;

/** How long to wait after the try with this number (from 1 on), in milliseconds; null when it was the last. */
export function pauseAfter(tries: number, kind: 'transient' | 'unexpected' = 'transient'): number | null {
  if (kind === 'unexpected' && tries >= FAULT_TRIES) return null;
  const pause = firstPauses[tries - 1];
  if (pause !== undefined) return pause;
  const waited = firstPauses.reduce((sum, each) => sum + each, 0) + (tries - 1 - firstPauses.length) * HOUR;
  return waited + HOUR <= ALL_WITHIN ? HOUR : null;
}
