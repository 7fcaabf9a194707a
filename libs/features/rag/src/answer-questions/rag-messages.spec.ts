import { describe, expect, it } from '@jest/globals';
import { type FoundPassage } from '../find-passages/find-passages.ts';
import { toSearchResponse } from './rag-messages.ts';

describe('toSearchResponse', () => {
  const passage = { passageId: 'p', title: 'T', headingPath: ['H'], text: 'x' };
  const found = (places: Partial<FoundPassage['receipt']>): FoundPassage => ({
    passage,
    sourceId: 's',
    score: 0,
    receipt: {
      passageId: 'p',
      sha256: '',
      lexicalRank: null,
      lexicalScore: null,
      vectorRank: null,
      vectorScore: null,
      ...places,
    },
  });

  it('gives the places in both lists, a score of 0 among them, and none where a passage was in none', () => {
    const passages = [found({ lexicalRank: 2, lexicalScore: 4.5 }), found({ vectorRank: 1, vectorScore: 0 })];
    const timings = { embedMs: 0, searchMs: 0, readMs: 0 };
    expect(toSearchResponse({ mode: 'hybrid', lexicalReason: null, passages, timings })).toEqual({
      mode: 'SEARCH_MODE_HYBRID',
      lexicalReason: '',
      passages: [
        { ...passage, sourceId: 's', score: 0, lexical: { rank: 2, score: 4.5 }, vector: undefined },
        { ...passage, sourceId: 's', score: 0, lexical: undefined, vector: { rank: 1, score: 0 } },
      ],
    });
  });
});
