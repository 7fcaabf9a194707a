import { type Turn } from './read-turn.ts';

/** Who sends ten pictures, or writes on over the limit, is told once: each notice is a message that Meta may charge for. */
const HOURLY_MS = 60 * 60 * 1000;

/**
 * Since when a contact must not have been told a kind of reply for it to be told now, on whichever number of the workspace; ms.
 * Undefined for a kind that may be said at any time.
 */
export function notToldSince(kind: string, turn: Pick<Turn, 'now' | 'dayStartedAt'>): number | undefined {
  switch (kind) {
    case 'over_quota':
      return turn.dayStartedAt;
    case 'limited':
    case 'media_notice':
      return turn.now - HOURLY_MS;
    default:
      return undefined;
  }
}

/** Whether the contact need not be told again, as far as the turn knows: the commit looks again. */
export function isTold(kind: string, turn: Pick<Turn, 'now' | 'dayStartedAt' | 'lastTold'>): boolean {
  const since = notToldSince(kind, turn);
  const toldAt = turn.lastTold[kind];
  return since !== undefined && toldAt !== undefined && toldAt >= since;
}
