import type { RankedPassage } from './knowledge-index.ts';

/** Best first; equal scores in the order of their ids, so that the same question has the same answer. */
export function ranked(
  hits: readonly { readonly passageId: string; readonly score: number }[],
  scale: (score: number) => number = (score) => score,
): RankedPassage[] {
  return hits
    .toSorted((a, b) => b.score - a.score || (a.passageId < b.passageId ? -1 : 1))
    .map(({ passageId, score }, position) => ({ passageId, rank: position + 1, score: scale(score) }));
}
