/** How much each relevant passage helps, by its id: 1 and more. Passages that are not in it do not help. */
export type Relevance = ReadonlyMap<string, number>;

/**
 * nDCG at a cut, 0 to 1, as trec_eval's `ndcg_cut` has it: the gain of a passage is its relevance itself (not 2^relevance − 1), discounted
 * by log2(rank + 1), over the sum that the best order of all relevant passages would have. 0 when nothing is relevant.
 */
export function ndcgAt(cut: number, ranked: readonly string[], relevance: Relevance): number {
  const best = [...relevance.values()].toSorted((a, b) => b - a);
  const ideal = discountedGain(best.slice(0, cut));
  return ideal > 0 ? discountedGain(ranked.slice(0, cut).map((id) => relevance.get(id) ?? 0)) / ideal : 0;
}

/** Which share of the relevant passages stands before the cut, 0 to 1. 0 when nothing is relevant. */
export function recallAt(cut: number, ranked: readonly string[], relevance: Relevance): number {
  const relevant = [...relevance.keys()].filter((id) => isRelevant(id, relevance));
  const found = new Set(ranked.slice(0, cut));
  return relevant.length > 0 ? relevant.filter((id) => found.has(id)).length / relevant.length : 0;
}

/** One over the rank of the first relevant passage, 0 when there is none before the cut. */
export function reciprocalRankAt(cut: number, ranked: readonly string[], relevance: Relevance): number {
  const first = ranked.slice(0, cut).findIndex((id) => isRelevant(id, relevance));
  return first < 0 ? 0 : 1 / (first + 1);
}

function isRelevant(id: string, relevance: Relevance): boolean {
  return (relevance.get(id) ?? 0) > 0;
}

function discountedGain(gains: readonly number[]): number {
  return gains.reduce((sum, gain, position) => sum + Math.max(0, gain) / Math.log2(position + 2), 0);
}
