import { describe, expect, it } from '@jest/globals';
import { batchesOf, vectorsIn } from './openai-embedder.ts';

describe('batchesOf', () => {
  it('keeps the order and the limits of count and length', () => {
    const many = Array.from({ length: 200 }, (_, index) => `text ${String(index)}`);
    expect(batchesOf(many).map(({ length }) => length)).toEqual([96, 96, 8]);
    expect(batchesOf(many).flat()).toEqual(many);
    const long = Array.from({ length: 30 }, () => 'x'.repeat(7_000));
    expect(batchesOf(long).map(({ length }) => length)).toEqual([14, 14, 2]);
    expect(batchesOf([])).toEqual([]);
  });

  it('sends nothing that is refused: no empty text, no endless one, no half character', () => {
    expect(batchesOf(['', 'x'.repeat(9_000), 'a\ud83e'])).toEqual([['-', 'x'.repeat(8_000), 'a\ufffd']]);
  });
});

describe('vectorsIn', () => {
  it('puts them in the order of the texts', () => {
    const data = [
      { index: 1, embedding: [0, 1] },
      { index: 0, embedding: [1, 0] },
    ];
    expect(vectorsIn({ data }, 2)).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(vectorsIn({ data: [{ embedding: [1] }, { embedding: [2] }] }, 2)).toEqual([[1], [2]]);
  });

  it.each([
    ['nothing', undefined],
    ['a text', 'no'],
    ['no data', {}],
    ['too few', { data: [{ index: 0, embedding: [1] }] }],
    ['one twice', { data: [1, 1].map((value) => ({ index: 0, embedding: [value] })) }],
    ['a strange index', { data: [0, 7].map((index) => ({ index, embedding: [1] })) }],
    ['a vector of texts', { data: [0, 1].map((index) => ({ index, embedding: ['1'] })) }],
    ['a hole', { data: [0, 1].map((index) => ({ index, embedding: [1, null] })) }],
    ['zeros', { data: [0, 1].map((index) => ({ index, embedding: [0, 0] })) }],
    ['an empty vector', { data: [0, 1].map((index) => ({ index, embedding: [] })) }],
    ['base64', { data: [0, 1].map((index) => ({ index, embedding: 'AACAPw==' })) }],
    ['null items', { data: [null, null] }],
  ])('refuses %s', (_what, body) => {
    expect(vectorsIn(body, 2)).toBeUndefined();
  });
});
