/** Writing without blanks between words: there a phrase stands wherever it stands. */
const WITHOUT_BLANKS =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * Whether one of the phrases stands in a text as whole words. Case, accents, punctuation, invisible signs, compatibility forms (full width,
 * ligatures) and the words around it make no difference. Pure.
 */
export function asksFor(text: string, phrases: readonly string[]): boolean {
  const words = plainWords(text);
  return phrases.some((phrase) => {
    const plain = plainWords(phrase);
    return plain !== '' && placesOf(plain, words).some((at) => isWhole(words, at, plain.length));
  });
}

/** Whether a text is one of the words and nothing else, by the same measure as {@link asksFor}. Pure. */
export function isOneOf(text: string, words: readonly string[]): boolean {
  const plain = plainWords(text);
  return plain !== '' && words.some((word) => plainWords(word) === plain);
}

function placesOf(part: string, whole: string): number[] {
  const places: number[] = [];
  for (let at = whole.indexOf(part); at >= 0; at = whole.indexOf(part, at + 1)) places.push(at);
  return places;
}

function isWhole(words: string, at: number, length: number): boolean {
  const ends = (outside: string | undefined, inside: string | undefined): boolean =>
    outside === undefined || outside === ' ' || (inside !== undefined && WITHOUT_BLANKS.test(inside));
  return ends(words[at - 1], words[at]) && ends(words[at + length], words[at + length - 1]);
}

/** NFKC and beyond: no accents, no case (ß as ss), one blank between words and no other sign. */
function plainWords(text: string): string {
  return text
    .normalize('NFKD')
    .replaceAll(/[\p{M}\p{Cf}]/gu, '')
    .toUpperCase()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
}
