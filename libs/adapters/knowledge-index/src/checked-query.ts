import { Unexpected } from '@answerline/errors';
import type { IndexVersion } from './index-version.ts';
import { maxSearchResults } from './knowledge-index.ts';

/** Throws `Unexpected` `search_limit_invalid` unless a search may want `k` passages. */
export function requireSearchLimit(k: number): void {
  if (Number.isInteger(k) && k >= 1 && k <= maxSearchResults) return;
  throw new Unexpected('search_limit_invalid', `A search wants 1 to ${maxSearchResults} passages.`);
}

/**
 * The vector brought to length 1, which changes no cosine and keeps huge and tiny numbers within 32 bits. Throws `Unexpected`
 * `vector_invalid` when the version is lexical or has other dimensions, for numbers that are not finite, and for zeros alone, which
 * point nowhere.
 */
export function unitVector({ embedding }: IndexVersion, vector: readonly number[]): number[] {
  const largest = vector.reduce((most, number) => Math.max(most, Math.abs(number)), 0);
  if (vector.length !== embedding?.dimensions || !(largest > 0 && largest < Infinity)) {
    throw new Unexpected(
      'vector_invalid',
      "A vector must have the version's dimensions, in finite numbers, not all 0.",
    );
  }
  const length = Math.hypot(...vector.map((number) => number / largest));
  return vector.map((number) => number / largest / length);
}

/** {@link unitVector} of a passage, which has a vector exactly when its version has an embedding. */
export function passageVector(version: IndexVersion, vector: readonly number[] | undefined): number[] | undefined {
  return vector === undefined && version.embedding === undefined ? undefined : unitVector(version, vector ?? []);
}
