import { percentile } from '../figures.ts';

/** A mean and the bounds that hold 95 % of the means of questions drawn again. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

const draws = 10_000;

/**
 * The mean of values, one a question, with its 95 % percentile bootstrap interval: as many questions are drawn with replacement, 10,000
 * times. Give differences of two systems question by question for a paired comparison. NaN of no values.
 *
 * @param random numbers from 0 up to 1
 */
export function bootstrap(values: readonly number[], random: () => number): Interval {
  const means = Array.from({ length: draws }, () => {
    let sum = 0;
    for (let drawn = 0; drawn < values.length; drawn += 1) sum += values[Math.floor(random() * values.length)]!;
    return sum / values.length;
  });
  return { mean: meanOf(values), low: percentile(means, 0.025), high: percentile(means, 0.975) };
}

/** NaN of none. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
