import { stemmer as stemEnglish } from '@orama/stemmers/english';
import { stemmer as stemSpanish } from '@orama/stemmers/spanish';
import { stopwords as englishStopWords } from '@orama/stopwords/english';
import { stopwords as spanishStopWords } from '@orama/stopwords/spanish';

/** A language whose stop words and word endings are known here. */
export type KnownLanguage = 'en' | 'es';

/** Words of greeting, politeness and asking: a question is about none of them. */
const chatWords: Readonly<Record<KnownLanguage, string>> = {
  en: `a hi hello hey dear good morning afternoon evening bye goodbye ok okay yes no please thanks thank cheers sorry tell know want
    need like love wonder wondering ask asking question let get got give say mean much many lot also just really there here one
    something anything everything thing things someone anyone possible able sure well yet ever`,
  es: `hola buenas buenos dias tardes noches adios vale gracias favor perdon perdone disculpe disculpa oiga oye ok dime diga digame
    decirme saber quiero quisiera queria quieren necesito gustaria pregunta preguntar duda alguien cosa cosas oye por favor ahi
    cuanto cuanta cuantos cuantas tenes tendrian podrian puedes pueden`,
};

/** Words that the stop-word list counts as empty but that carry the meaning of what a customer asks ("¿Hay trabajo?"). */
const meaningful = new Set(
  words(`acuerdo ayer breve cerca conocer cuenta debajo dia dias diferente diferentes emplear empleo enfrente estado estados final
    general grandes gran hablar habla hablan horas hoy informo lado largo lejos lugar mayor medio mejor menos momento nueva nuevas
    nuevo nuevos ocho cinco cuatro dos seis siete tres pais parte partir peor primer primera primero primeros proximo proximos
    segunda segundo siguiente sola solas solos tarde temprano tercera tiempo total trabajo trabajar trabaja trabajan ultimo ultima
    ultimos ultimas usar uso valor verdad`),
);

const stopWords: Readonly<Record<KnownLanguage, ReadonlySet<string>>> = {
  en: new Set([...englishStopWords.flatMap(words), ...words(chatWords.en)]),
  es: new Set([...spanishStopWords.flatMap(words).filter((word) => !meaningful.has(word)), ...words(chatWords.es)]),
};

const stem: Readonly<Record<KnownLanguage, (word: string) => string>> = { en: stemEnglish, es: stemSpanish };

/** The words of a text in lower case and NFKC, without accents, digits kept (`7:00` is `7` and `00`). */
export function words(text: string): string[] {
  const folded = text
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/['’]/g, '')
    .normalize('NFD')
    .replaceAll(/\p{M}/gu, '');
  return folded.match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** What {@link overlapShare} reads of a passage. */
export interface PassageWords {
  readonly title: string;
  readonly headingPath: readonly string[];
  readonly text: string;
}

/** The different words of a text that say what it is about: stemmed, without stop words and words of chatting, in their order. */
export function contentWords(text: string, language: KnownLanguage): string[] {
  const meant = words(text).filter(
    (word) => !stopWords[language].has(word) && (word.length > 1 || /\p{N}/u.test(word)),
  );
  return [...new Set(meant.map(stem[language]))];
}

/**
 * Which share of the question's content words stands in the passage's text, title or headings: 0 to 1, and 0 for a question without
 * a content word. Both sides are stemmed in the question's language.
 */
export function overlapShare(question: string, passage: PassageWords, language: KnownLanguage): number {
  const asked = contentWords(question, language);
  if (asked.length === 0) return 0;
  const said = new Set(words([passage.title, ...passage.headingPath, passage.text].join('\n')).map(stem[language]));
  return asked.filter((word) => said.has(word)).length / asked.length;
}

/**
 * The language of a short text by its stop words and Spanish letters; `undefined` when neither language has more, as in `ok`, a
 * number or one rare word.
 */
export function detectLanguage(text: string): KnownLanguage | undefined {
  const found = words(text);
  const hits = (language: KnownLanguage) => found.filter((word) => stopWords[language].has(word)).length;
  const spanishLetters = /[¿¡ñ]|[áéíóú]/iu.test(text.normalize('NFC')) ? 1 : 0;
  const difference = hits('es') + spanishLetters - hits('en');
  if (difference === 0) return undefined;
  return difference > 0 ? 'es' : 'en';
}
