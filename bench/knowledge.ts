import { createRandom } from '../libs/testing/src/seeded-random.ts';

/** A knowledge base of made-up products, the same in every run. */
export interface Knowledge {
  /** Markdown documents; each heading is one passage. */
  readonly documents: readonly { readonly title: string; readonly text: string }[];
  /** Texts that customers send: most have their answer in a passage, some in none. */
  readonly questions: readonly string[];
}

const sectionsPerDocument = 10;
const wordsPerSection = 90;
/** As much as a small business writes about itself. */
const vocabularySize = 2_500;
/** Every eighth question has no answer. */
const unanswerableEvery = 8;
const topics = [
  'warranty',
  'delivery',
  'price',
  'colours',
  'repair',
  'returns',
  'assembly',
  'storage',
  'cleaning',
  'weight',
];

/** @param passages a multiple of 10 */
export function makeKnowledge(passages: number): Knowledge {
  const { next: random } = createRandom(7);
  const pick = <Value>(values: readonly Value[], skew = 1): Value =>
    values[Math.floor(random() ** skew * values.length)]!;
  const vocabulary = Array.from({ length: vocabularySize }, () => madeUpWord(pick));
  const questions: string[] = [];
  const documents = Array.from({ length: passages / sectionsPerDocument }, (_, number) => {
    const product = `${madeUpWord(pick)}${number}`;
    const sections = topics.slice(0, sectionsPerDocument).map((topic) => {
      const detail = pick(vocabulary);
      // Skewed, as words are: a few stand everywhere.
      const words = Array.from({ length: wordsPerSection }, () => pick(vocabulary, 2.5)).join(' ');
      questions.push(`What about the ${topic} of the ${product} with ${detail}?`);
      return `## ${topic} of the ${product}\n\nThe ${topic} of the ${product} with ${detail}: ${words}.`;
    });
    return { title: product, text: sections.join('\n\n') };
  });
  return {
    documents,
    questions: questions.map((question, number) =>
      number % unanswerableEvery === 0 ? `Can I pay the ${madeUpWord(pick)} ${madeUpWord(pick)} by cheque?` : question,
    ),
  };
}

const syllables = [
  'ba',
  'co',
  'di',
  'fer',
  'gan',
  'ho',
  'jul',
  'ki',
  'lor',
  'mi',
  'nes',
  'pol',
  'qua',
  'ri',
  'sta',
  'tum',
];

function madeUpWord(pick: (values: readonly string[]) => string): string {
  return pick(syllables) + pick(syllables) + pick(syllables);
}
