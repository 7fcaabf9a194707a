/**
 * A knowledge base that makes answers tell what they were made from. Each message asks about one of twelve goods, in a round
 * for each sender. For every run of neighbours in that round there is one passage with exactly their words and a code of its
 * own, so BM25 puts the passage of exactly the messages of the turn first: a message that got lost, or one too many, gives
 * another code. Shops have the same words and different codes, so an answer also tells whose knowledge it came from.
 */

/** Rare words of one shape, that no stemmer brings together. */
export const goods = [
  'linen',
  'copper',
  'walnut',
  'velvet',
  'saffron',
  'granite',
  'juniper',
  'amber',
  'marble',
  'pepper',
  'cotton',
  'bamboo',
] as const;
/** A word that stands in no passage: asking for it must be answered with the abstain text. */
export const missingGood = 'zither';

/** The code of the passage about `length` neighbours from place `start` of the round on; all of them from twelve on. */
export function codeOf(shop: number, start: number, length: number): string {
  const isAll = length >= goods.length;
  const [from, count] = isAll ? [0, goods.length] : [start % goods.length, length];
  return `C${[shop, from, count].map((number) => number.toString(36).toUpperCase()).join('')}Q`;
}

/** Every code that stands in a text. */
export function codesIn(text: string): string[] {
  return text.match(/\bC[0-9A-Z]{3}Q\b/g) ?? [];
}

/** The Markdown of a shop's only source: 133 passages, one below each heading. */
export function catalogueOf(shop: number): string {
  const passages: string[] = [];
  for (let length = 1; length <= goods.length; length += 1) {
    for (let start = 0; start < (length === goods.length ? 1 : goods.length); start += 1) {
      const words = Array.from({ length }, (_, index) => goods[(start + index) % goods.length]);
      passages.push(`## Shelf\n\n${words.join(' ')}: ${codeOf(shop, start, length)}`);
    }
  }
  return passages.join('\n\n');
}

/** What a sender writes at place `place` of their round. */
export function questionAbout(place: number | null): string {
  return `Please tell me about ${place === null ? missingGood : (goods[place % goods.length] ?? '')}`;
}
