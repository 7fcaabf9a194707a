import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { beginningOf, tokensAtMost } from './token-estimate.ts';

describe('tokensAtMost', () => {
  // What o200k and cl100k, the vocabularies of OpenAI, make of the text: the higher of the two.
  it.each([
    ['We open at seven in the morning from Tuesday to Saturday, and close at six.', 17],
    ['Abrimos a las siete de la mañana de martes a sábado y cerramos a las seis.', 21],
    ['我们周二至周六早上七点开门，晚上六点关门。婚礼蛋糕的订单必须提前两周提交。', 47],
  ])('of %j is more than a tokenizer makes of it', (text, tokens) => {
    expect(tokensAtMost(text)).toBeGreaterThan(tokens);
  });
});

describe('beginningOf', () => {
  it('keeps to the budget and cuts no character in two', () => {
    expect(beginningOf('whole', 3)).toBe('whole');
    expect(beginningOf('whole', 2)).toBe('whol');
    expect(beginningOf('🥐🥐', 3)).toBe('🥐');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, tokens) => {
        const beginning = beginningOf(text, tokens);
        expect(text.startsWith(beginning)).toBe(true);
        expect(tokensAtMost(beginning)).toBeLessThanOrEqual(tokens);
      }),
    );
  });
});
