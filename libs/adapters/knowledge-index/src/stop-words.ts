import { stopwords as english } from '@orama/stopwords/english';
import { stopwords as spanish } from '@orama/stopwords/spanish';

/** Words that say nothing about what is asked, in English and Spanish, in small letters without accents. */
export const stopWords: ReadonlySet<string> = new Set([...english, ...spanish].map(withoutAccents));

/** `panadería` becomes `panaderia`. Only Latin letters: elsewhere a mark can make another letter (й, が). */
export function withoutAccents(text: string): string {
  return text
    .normalize('NFD')
    .replaceAll(/(?<=\p{Script=Latin}\p{M}*)[\u0300-\u036f]/gu, '')
    .normalize('NFKC');
}
