import { fuse, type KnowledgeHits } from '@answerline/knowledge-index';
import type { Question } from './data-set.ts';
import { ndcgAt, recallAt, reciprocalRankAt } from './metrics.ts';

/** Ways to order the passages of one search. */
export type System = 'BM25' | 'vectors' | 'fusion';

/** What the product asks of each list. */
export const hitsPerList = 50;

export const metrics = {
  'nDCG@10': (ranked: readonly string[], { relevance }: Question) => ndcgAt(10, ranked, relevance),
  'Recall@5': (ranked: readonly string[], { relevance }: Question) => recallAt(5, ranked, relevance),
  'MRR@10': (ranked: readonly string[], { relevance }: Question) => reciprocalRankAt(10, ranked, relevance),
} as const;
export type Metric = keyof typeof metrics;
export const metricNames = Object.keys(metrics) as Metric[];

/** The ids of the passages, best first. */
export function rankedBy(system: System, hits: KnowledgeHits): string[] {
  const ordered = { BM25: () => hits.lexical, vectors: () => hits.vector, fusion: () => fuse(hits) }[system]();
  return ordered.map(({ passageId }) => passageId);
}
