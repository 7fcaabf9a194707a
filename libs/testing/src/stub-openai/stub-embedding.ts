import { createHash } from 'node:crypto';
import { stemsOf, wordsOf } from './question-words.ts';

/** A word of the question weighs more than three letters of one. */
const weights = { stem: 1, trigram: 0.2 } as const;

/**
 * A vector of length 1 out of the hashed words and letter trigrams of a text: the same text always has the same one, and texts with
 * words in common are near each other.
 */
export function stubEmbedding(text: string, dimensions: number): number[] {
  const vector = new Array<number>(dimensions).fill(0);
  const add = (feature: string, weight: number): void => {
    const hash = createHash('sha256').update(feature).digest();
    const place = hash.readUInt32LE(0) % dimensions;
    vector[place] = (vector[place] ?? 0) + (hash.readUInt8(4) % 2 === 0 ? weight : -weight);
  };
  for (const stem of stemsOf(text)) add(stem, weights.stem);
  for (const word of wordsOf(text)) {
    for (let start = 0; start + 3 <= word.length; start += 1) add(`3:${word.slice(start, start + 3)}`, weights.trigram);
  }
  const length = Math.hypot(...vector);
  // A text without a word, or one whose features cancel each other.
  if (length === 0) return vector.map((_, place) => (place === 0 ? 1 : 0));
  return vector.map((value) => value / length);
}
