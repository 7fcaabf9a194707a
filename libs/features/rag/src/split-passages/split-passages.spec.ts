import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { passageLengths } from './passage.ts';
import { splitMarkdown, splitPlainText } from './split-passages.ts';

const split = (markdown: string, title = 'Handbook') => splitMarkdown(markdown, { title });
const shapes = (markdown: string, title?: string) =>
  split(markdown, title).map(({ headingPath, text }) => [headingPath.join(' > '), text]);
const sentences = (count: number, word = 'Rye') =>
  Array.from({ length: count }, (_, i) => `${word} number ${i} is baked in the stone oven.`).join(' ');

describe('splitMarkdown', () => {
  it('keeps each section apart, with the headings above it', () => {
    const markdown =
      '# Handbook\nHello.\n\n## Bread\n\n### Rye\nDark.\n\nHeavy.\n\n### Spelt\nLight.\n\n## Cakes\nSweet.';
    expect(shapes(markdown)).toEqual([
      ['', 'Hello.'],
      ['Bread > Rye', 'Dark.\n\nHeavy.'],
      ['Bread > Spelt', 'Light.'],
      ['Cakes', 'Sweet.'],
    ]);
  });

  it('numbers passages and gives the sha256 of their text', () => {
    const [first, second] = split('# A\none\n# B\ntwo');
    expect([first?.ordinal, second?.ordinal]).toEqual([0, 1]);
    expect(second?.sha256).toBe(createHash('sha256').update('two').digest('hex'));
  });

  it('keeps a heading that has nothing below it as text, and one that is not the title in the path', () => {
    expect(shapes('# Open *daily*\n\n## Closed on Mondays\n\n## Parking\nFree.')).toEqual([
      ['Open daily', 'Closed on Mondays'],
      ['Open daily > Parking', 'Free.'],
    ]);
    expect(shapes('# Only a heading')).toEqual([['', 'Only a heading']]);
    expect(shapes('Text first.\n\n# Handbook\nAgain.')).toEqual([
      ['', 'Text first.'],
      ['Handbook', 'Again.'],
    ]);
  });

  it('keeps tables and code whole beyond the target, with the words around them where they fit', () => {
    const table = `| day | open |\n| --- | --- |\n${'| Monday | from seven to three |\n'.repeat(40)}`.trim();
    const code = `\`\`\`sh\n${'echo rye\n\n'.repeat(100)}\`\`\``;
    expect(table.length).toBeGreaterThan(passageLengths.target);
    expect(code.length).toBeGreaterThan(passageLengths.target);
    expect(shapes(`Our hours:\n\n${table}\n\nSee you.\n\n${code}`).map(([, text]) => text)).toEqual([
      'Our hours:',
      table,
      'See you.',
      code,
    ]);
  });

  it('splits a table beyond the cap between rows and repeats its head', () => {
    const rows = Array.from({ length: 300 }, (_, i) => `| loaf ${i} | ${i} euros |`);
    const passages = split(['| name | price |', '| --- | --- |', ...rows].join('\n'));
    expect(passages.length).toBeGreaterThan(1);
    for (const { text } of passages) {
      expect(text).toMatch(/^\| name \| price \|\n\| --- \| --- \|\n\| loaf/);
      expect(text.length).toBeLessThanOrEqual(passageLengths.max);
    }
    expect(passages.flatMap(({ text }) => text.split('\n').slice(2))).toEqual(rows);
  });

  it('splits code beyond the cap between lines, in fences that its own backticks do not close', () => {
    const lines = Array.from({ length: 400 }, (_, i) => `line ${i} \`\`\``);
    const passages = split(`~~~~text\n${lines.join('\n')}\n~~~~`);
    expect(passages.length).toBeGreaterThan(1);
    for (const { text } of passages) expect(text).toMatch(/^````text\nline [^]*\n````$/);
    expect(passages.flatMap(({ text }) => text.split('\n').slice(1, -1))).toEqual(lines);
  });

  it('breaks a long paragraph between sentences and repeats the last one, within its section only', () => {
    const passages = split(`# One\n${sentences(40)}\n\n# Two\n${sentences(1, 'Spelt')}`);
    expect(passages.length).toBeGreaterThan(2);
    for (const { text } of passages) expect(text).toMatch(/^(Rye|Spelt) number [^]*oven\.$/);
    const texts = passages.map(({ text }) => text);
    for (const [i, text] of texts.slice(1, -1).entries()) {
      const last = /[^.]+\.$/.exec(texts[i] ?? '')?.[0].trim() ?? '';
      expect(text.startsWith(last)).toBe(true);
    }
    expect(texts.at(-1)).toBe(sentences(1, 'Spelt'));
  });

  it('does not tear a link whose text holds a full stop', () => {
    const link = '[Read this. Then that. It is worth it](https://example.com/a.b)';
    const texts = split(`${sentences(19)} ${link} ${sentences(19)}`).map(({ text }) => text);
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.some((text) => text.includes(link))).toBe(true);
  });

  it('splits a long list between its items', () => {
    const items = Array.from({ length: 60 }, (_, i) => `- loaf number ${i} with seeds`);
    const passages = split(`We bake:\n\n${items.join('\n')}`);
    expect(passages.length).toBeGreaterThan(1);
    expect(passages[0]?.text).toMatch(/^We bake:\n\n- loaf number 0 with seeds\n- loaf number 1/);
    for (const item of items) expect(passages.some(({ text }) => text.split('\n').includes(item))).toBe(true);
  });

  it('caps a sentence without end and a word without end, not cutting a character in two', () => {
    const passages = split(`${'rye '.repeat(2_000)}\n\n${'🥐'.repeat(5_000)}`);
    for (const { text } of passages) {
      expect(text.length).toBeLessThanOrEqual(passageLengths.max);
      expect(text).not.toMatch(/^[\udc00-\udfff]|[\ud800-\udbff]$/);
    }
    expect(
      passages
        .map(({ text }) => text)
        .join('')
        .replaceAll(/[^🥐]/gu, ''),
    ).toBe('🥐'.repeat(5_000));
  });

  it('makes nothing of nothing, and bears odd line ends and characters', () => {
    for (const markdown of ['', '   \n\n', '---\n\n***', '#', '\ufeff']) expect(split(markdown)).toEqual([]);
    expect(shapes('# A\r\nrye\r\rspelt\r\n')).toEqual([['A', 'rye\n\nspelt']]);
    expect(shapes('a\0b')).toEqual([['', 'a\ufffdb']]);
  });

  it.each([
    ['quotes', '>'.repeat(20_000)],
    ['brackets', '['.repeat(20_000)],
    ['lists', '- '.repeat(2_000)],
    ['emphasis', '*a_ '.repeat(10_000)],
    ['links', '[a]('.repeat(10_000)],
    ['headings', '# *a_ `[x]( \n'.repeat(3_000)],
    ['definitions', '[a]: b\n'.repeat(5_000)],
    ['markup', '<a '.repeat(10_000)],
    ['backticks', Array.from({ length: 300 }, (_, i) => '`'.repeat(i)).join(' ')],
    ['sections', '## A\n\nx\n\n'.repeat(100_000)],
    ['items', '- a\n'.repeat(250_000)],
    ['items in items', `${'- '.repeat(100_000)}a`],
    ['indented items', Array.from({ length: 900 }, (_, depth) => `${'  '.repeat(depth)}- a`).join('\n')],
    ['cells', `|${'a|'.repeat(150_000)}\n|${'-|'.repeat(150_000)}\n|${'b|'.repeat(150_000)}`],
    ['escapes', '\\!'.repeat(450_000)],
    ['a table row', `|${'a|'.repeat(5_000)}\n|${'-|'.repeat(5_000)}\n|${'b|'.repeat(5_000)}`],
  ])('ends soon on hostile %s', (_, markdown) => {
    const start = performance.now();
    const passages = split(markdown);
    expect(performance.now() - start).toBeLessThan(5_000);
    for (const { text } of passages) expect(text.length).toBeLessThanOrEqual(passageLengths.max + 200);
  });

  it('takes a heading that is as long as a text for one: each passage below repeats its headings', () => {
    const long = 'We bake rye and spelt every day but Sunday. '.repeat(5_000);
    const passages = split(`# Bread\n\n## ${long}\n\n${'### Rye\n\nFresh.\n\n'.repeat(1_000)}`);
    expect(passages.at(-1)?.headingPath.map((heading) => heading.slice(0, 20))).toEqual(['Bread', 'Rye']);
    expect(passages.filter(({ text }) => text.includes('spelt')).length).toBeGreaterThan(200);
  });

  it('loses no word and keeps their order, whatever the document', () => {
    fc.assert(
      fc.property(documents, fc.constantFrom(...lengthChoices), ({ markdown, words }, lengths) => {
        const passages = splitMarkdown(markdown, { title: 'T', lengths });
        let path: readonly string[] = [];
        const seen = passages.flatMap(({ headingPath, text }) => {
          const fresh = headingPath.slice(firstDifference(path, headingPath));
          path = headingPath;
          return markersOf([...fresh, text].join('\n'));
        });
        // A table's head and an overlap may come again.
        expect([...new Set(seen)]).toEqual(words);
        for (const { text } of passages) {
          expect(text.trim()).not.toBe('');
          expect(text.length).toBeLessThanOrEqual(lengths.max);
        }
        expect(passages.map(({ ordinal }) => ordinal)).toEqual(passages.map((_, i) => i));
      }),
      { numRuns: 300 },
    );
  });

  it('bears any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const kept = [...split(text), ...splitPlainText(text)].map(({ text }) => text);
        for (const passage of kept) expect(passage.trim()).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });
});

describe('splitPlainText', () => {
  it('packs paragraphs, and takes no mark for structure', () => {
    expect(
      splitPlainText('# not a heading\n\n| not | a table').map(({ text, headingPath }) => [headingPath, text]),
    ).toEqual([[[], '# not a heading\n\n| not | a table']]);
    expect(splitPlainText(' \n ')).toEqual([]);
  });

  it('loses nothing but white space, in order', () => {
    const texts = fc.array(fc.constantFrom('rye', 'bread.', 'Spelt!', '\n', '\n\n', ' ', 'x'.repeat(70), '🥐'), {
      maxLength: 80,
    });
    fc.assert(
      fc.property(texts, (parts) => {
        const text = parts.join(' ');
        const passages = splitPlainText(text, { target: 50, max: 60, overlap: 0 });
        expect(
          passages
            .map((passage) => passage.text)
            .join('')
            .replaceAll(/\s/g, ''),
        ).toBe(text.replaceAll(/\s/g, ''));
        for (const passage of passages) expect(passage.text.length).toBeLessThanOrEqual(60);
      }),
    );
  });
});

const lengthChoices = [
  { target: 80, max: 240, overlap: 0 },
  { target: 80, max: 240, overlap: 40 },
  { ...passageLengths, overlap: 0 },
  passageLengths,
];

const markersOf = (text: string) => text.match(/w\d+x/g) ?? [];

function firstDifference(a: readonly string[], b: readonly string[]): number {
  const at = b.findIndex((heading, i) => heading !== a[i]);
  return at === -1 ? b.length : at;
}

/** Documents of random blocks in which every word is unique: w0x, w1x, … */
const documents = fc
  .array(
    fc.record({
      kind: fc.constantFrom('heading', 'paragraph', 'list', 'quote', 'code', 'table', 'html', 'rule'),
      depth: fc.integer({ min: 1, max: 6 }),
      words: fc.integer({ min: 1, max: 60 }),
    }),
    { maxLength: 12 },
  )
  .map((blocks) => {
    let count = 0;
    const words: string[] = [];
    const next = (many: number) =>
      Array.from({ length: many }, () => {
        const word = `w${count++}x`;
        words.push(word);
        return word;
      });
    const markdown = blocks.map(({ kind, depth, words: many }) => {
      switch (kind) {
        case 'heading':
          return `${'#'.repeat(depth)} ${next(many).join(' ')}`;
        case 'list':
          return next(many)
            .map((word, i) => `${' '.repeat(i === 0 ? 0 : (i % 2) * 2)}- ${word} and`)
            .join('\n');
        case 'quote':
          return next(many)
            .map((word) => `> ${word}.`)
            .join('\n');
        case 'code':
          return ['```', ...next(many), '```'].join('\n');
        case 'table':
          return [`| ${next(1).join('')} | b |`, '| - | - |', ...next(many).map((word) => `| ${word} | b |`)].join(
            '\n',
          );
        case 'html':
          return `<div>\n${next(many).join('\n')}\n</div>`;
        case 'rule':
          return '---';
        default:
          return next(many)
            .map((word, i) => (i % 5 === 4 ? `**${word}.** Ends.` : word))
            .join(' ');
      }
    });
    return { markdown: markdown.join('\n\n'), words };
  });
