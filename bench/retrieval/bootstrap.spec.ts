import { describe, expect, it } from '@jest/globals';
import { createRandom } from '../../libs/testing/src/seeded-random.ts';
import { bootstrap, meanOf } from './bootstrap.ts';

describe('bootstrap', () => {
  it('gives the same interval for the same seed and another one for another', () => {
    const values = Array.from({ length: 50 }, (_, number) => (number * 7) % 11);
    expect(bootstrap(values, createRandom(1).next)).toEqual(bootstrap(values, createRandom(1).next));
    expect(bootstrap(values, createRandom(1).next).low).not.toBe(bootstrap(values, createRandom(2).next).low);
  });

  it('comes near the interval of the normal distribution', () => {
    const { next: random } = createRandom(3);
    const values = Array.from({ length: 200 }, () => random());
    const { mean, low, high } = bootstrap(values, createRandom(1).next);
    const deviation = Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)));
    const half = (1.96 * deviation) / Math.sqrt(values.length);
    expect(mean).toBe(meanOf(values));
    expect(Math.abs(low - (mean - half))).toBeLessThan(half / 10);
    expect(Math.abs(high - (mean + half))).toBeLessThan(half / 10);
  });

  it('has no width when all values are equal', () => {
    expect(bootstrap([0.5, 0.5, 0.5], createRandom(1).next)).toEqual({ mean: 0.5, low: 0.5, high: 0.5 });
  });

  it('is NaN of no values', () => {
    expect(bootstrap([], createRandom(1).next).mean).toBeNaN();
  });
});
