/** Words that say nothing about what is asked, in the languages of the demo. */
const emptyWords = new Set(
  `a about an and any are at be been but by can could did do does for from had has have hello hey hi how i if in is it its me my much
  many no not of on or our please so tell thank thanks that the their them then there these they this those to us was we were what when
  where which who why will with would you your
  al como con cual cuando cuanto cuesta de del desde donde el ella en es esta este estas esto gracias hay hola la las lo los me mi muy o
  para pero por puede que quien se si sin sobre son su sus te tiene tienen un una y ya`.split(/\s+/),
);

/** The words of a text in small letters without accents, cut to a stem. */
export function wordsOf(text: string): string[] {
  const plain = text.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase();
  return plain.match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** The different words that a question is about, as stems. */
export function stemsOf(text: string): string[] {
  const stems = wordsOf(text)
    .filter((word) => !emptyWords.has(word))
    .map(stem);
  return [...new Set(stems)];
}

/** How many of the stems stand in a text. */
export function countIn(stems: readonly string[], text: string): number {
  const there = new Set(stemsOf(text));
  return stems.filter((one) => there.has(one)).length;
}

/** Good enough for plurals and verb forms of English and Spanish. */
function stem(word: string): string {
  const bare = word.length > 4 ? word.replace(/(?:ings?|ed|es|s)$/, '') : word.replace(/s$/, '');
  return bare.slice(0, 6);
}
