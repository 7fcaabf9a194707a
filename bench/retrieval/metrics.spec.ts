import { describe, expect, it } from '@jest/globals';
import { ndcgAt, recallAt, reciprocalRankAt } from './metrics.ts';

const relevance = new Map([
  ['best', 3],
  ['good', 2],
  ['fair', 1],
  ['bad', 0],
]);

describe('ndcgAt', () => {
  it('is 1 for the best order and 0 when nothing relevant is found', () => {
    expect(ndcgAt(10, ['best', 'good', 'fair', 'bad'], relevance)).toBe(1);
    expect(ndcgAt(10, ['bad', 'unknown'], relevance)).toBe(0);
    expect(ndcgAt(10, [], relevance)).toBe(0);
  });

  it('takes the relevance itself as the gain, discounted by log2(rank + 1)', () => {
    const ideal = 3 + 2 / Math.log2(3) + 1 / 2;
    expect(ndcgAt(10, ['unknown', 'fair', 'best'], relevance)).toBeCloseTo((1 / Math.log2(3) + 3 / 2) / ideal, 12);
  });

  it('cuts both what was found and the best order', () => {
    expect(ndcgAt(1, ['good', 'best'], relevance)).toBeCloseTo(2 / 3, 12);
    expect(ndcgAt(2, ['unknown', 'unknown', 'best'], relevance)).toBe(0);
  });

  it('compares with all relevant passages, found or not', () => {
    const many = new Map(Array.from({ length: 12 }, (_, number) => [`p${number}`, 1]));
    const ten = Array.from({ length: 10 }, (_, number) => `p${number}`);
    expect(ndcgAt(10, ten, many)).toBeCloseTo(1, 12);
    expect(ndcgAt(10, ten.slice(0, 1), many)).toBeLessThan(0.25);
  });

  it('is 0 when nothing is relevant', () => {
    expect(ndcgAt(10, ['bad'], new Map([['bad', 0]]))).toBe(0);
  });
});

describe('recallAt', () => {
  it('is the share of the relevant passages before the cut', () => {
    expect(recallAt(2, ['bad', 'best', 'good'], relevance)).toBeCloseTo(1 / 3, 12);
    expect(recallAt(3, ['bad', 'best', 'good'], relevance)).toBeCloseTo(2 / 3, 12);
    expect(recallAt(5, ['fair', 'good', 'best'], relevance)).toBe(1);
  });

  it('counts a passage once and is 0 when nothing is relevant', () => {
    expect(recallAt(5, ['best', 'best', 'best'], relevance)).toBeCloseTo(1 / 3, 12);
    expect(recallAt(5, ['bad'], new Map([['bad', 0]]))).toBe(0);
  });
});

describe('reciprocalRankAt', () => {
  it('is one over the rank of the first relevant passage', () => {
    expect(reciprocalRankAt(10, ['fair', 'best'], relevance)).toBe(1);
    expect(reciprocalRankAt(10, ['bad', 'unknown', 'good'], relevance)).toBeCloseTo(1 / 3, 12);
  });

  it('is 0 when the first one stands behind the cut', () => {
    expect(reciprocalRankAt(2, ['bad', 'unknown', 'good'], relevance)).toBe(0);
    expect(reciprocalRankAt(10, [], relevance)).toBe(0);
  });
});
