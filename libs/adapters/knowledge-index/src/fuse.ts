import type { KnowledgeHits, RankedPassage } from './knowledge-index.ts';

/** A passage of one list or both, with where it stood in each. `score` orders the fused list and says nothing beyond it. */
export interface FusedPassage {
  readonly passageId: string;
  readonly score: number;
  readonly lexical: RankedPassage | null;
  readonly vector: RankedPassage | null;
}

/** How much the vectors count, 0 to 1, until a weight is fitted to each knowledge base. */
export const defaultVectorWeight = 0.4;

/** Scores closer together than this part of their mean differ by rounding only: both indexes count in 32 bits. */
const roundingError = 1e-7;

/**
 * Joins the two lists of a search, best first: (1 − weight) · lexical + weight · vector over z-scores, since BM25 and cosine have no
 * common scale. A passage that is missing from a list gets that list's lowest z; an empty list, or one in which all scores are equal,
 * says nothing and counts 0. Equal sums in the order of their ids. Pure.
 */
export function fuse({ lexical, vector }: KnowledgeHits, weight: number = defaultVectorWeight): FusedPassage[] {
  const byWords = zScores(lexical);
  const byMeaning = zScores(vector);
  const ids = new Set([...lexical, ...vector].map(({ passageId }) => passageId));
  return [...ids]
    .map((passageId) => {
      const word = byWords.of.get(passageId);
      const meaning = byMeaning.of.get(passageId);
      return {
        passageId,
        score: (1 - weight) * (word?.z ?? byWords.lowest) + weight * (meaning?.z ?? byMeaning.lowest),
        lexical: word?.hit ?? null,
        vector: meaning?.hit ?? null,
      };
    })
    .toSorted((a, b) => b.score - a.score || (a.passageId < b.passageId ? -1 : 1));
}

function zScores(hits: readonly RankedPassage[]) {
  // Sorted, so that the sums are the same to the last bit however the list came.
  const scores = hits.map(({ score }) => score).toSorted((a, b) => a - b);
  const mean = sum(scores) / scores.length;
  const deviation = Math.sqrt(sum(scores.map((score) => (score - mean) ** 2)) / scores.length);
  const isConstant = !(deviation > roundingError * Math.abs(mean));
  const z = (score: number): number => (isConstant ? 0 : (score - mean) / deviation);
  const of = new Map(hits.map((hit) => [hit.passageId, { hit, z: z(hit.score) }]));
  return { of, lowest: z(scores[0] ?? 0) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
