import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { toWhatsAppText } from './whatsapp-text.ts';

const cases: Record<string, readonly [markdown: string, whatsApp: string][]> = {
  spans: [
    ['**bold** and *italic* and ~~gone~~', '*bold* and _italic_ and ~gone~'],
    ['__bold__ and _italic_', '*bold* and _italic_'],
    ['***both***', '_*both*_'],
    ['**a *b* c**', '*a _b_ c*'],
    ['**a** *b*', '*a* _b_'],
    ['**outer __inner__ outer**', '*outer inner outer*'],
    ['**two\nlines**', '*two*\n*lines*'],
    ['(**bold**), **bold**!', '(*bold*), *bold*!'],
    // Inside a word WhatsApp shows the signs, so they are left out.
    ['un**bold**ed', 'unbolded'],
    ['**5**km', '5km'],
  ],
  code: [
    ['`a * b * c`', '`a * b * c`'],
    ['``a`b``', '```a`b```'],
    ['```js\nconst a = "*x*";\n```', '```\nconst a = "*x*";\n```'],
    ['````\n```\n````', "```\n'''\n```"],
    ['```\n\n```', ''],
    ['`snake_case_name`', '`snake_case_name`'],
  ],
  headings: [
    ['# Title', '*Title*'],
    ['## A **bold** and *slanted* title', '*A bold and _slanted_ title*'],
    ['Title\n=====\n\nText', '*Title*\n\nText'],
    ['#', ''],
  ],
  lists: [
    ['- a\n- b', '- a\n- b'],
    ['* a\n\n* b', '- a\n- b'],
    ['3. c\n4. d', '3. c\n4. d'],
    ['- a\n  - b\n    - c\n- d', '- a\n  - b\n    - c\n- d'],
    ['1. a\n   - b\n2. c', '1. a\n  - b\n2. c'],
    ['- [x] done\n- [ ] open', '- ☑ done\n- ☐ open'],
    ['- a\n\n  more\n- b', '- a\n  more\n- b'],
    ['- a\n\n  ```\n  x\n  ```', '- a\n```\nx\n```'],
    ['- **Price**: 3', '- *Price*: 3'],
    ['-', '-'],
  ],
  quotes: [
    ['> a\n> b', '> a\n> b'],
    ['> a\n>\n> b', '> a\n> b'],
    ['> > a', '> a'],
    ['> - a\n> - b', '> - a\n> - b'],
    ['> ```\n> x\n> ```', '```\nx\n```'],
  ],
  links: [
    ['[our page](https://a.example/x_y_z)', 'our page (https://a.example/x_y_z)'],
    ['[https://a.example](https://a.example)', 'https://a.example'],
    ['<https://a.example/_a_>', 'https://a.example/_a_'],
    ['see https://a.example/_a_ now', 'see https://a.example/_a_ now'],
    ['www.a.example', 'http://www.a.example'],
    ['[a.example](https://a.example/)', 'https://a.example/'],
    ['[](https://a.example)', 'https://a.example'],
    ['[**bold**](https://a.example)', '*bold* (https://a.example)'],
    ['[call us](tel:+15550100001)', 'call us (+15550100001)'],
    ['hello@a.example', 'hello@a.example'],
    ['[up](#top) [bad](javascript:alert) [near](/x)', 'up bad near'],
    ['[text][ref]\n\n[ref]: https://a.example/ref', 'text (https://a.example/ref)'],
    ['[text][missing]', '[text][missing]'],
    ['![alt](https://a.example/a.png)', 'https://a.example/a.png'],
    ['![alt](data:image/png;base64,AAAA)', 'alt'],
  ],
  tables: [
    [
      '| Bread | Price |\n|:--|--:|\n| **Rye** | 3.50 |\n| [Oat](https://a.example) | 12 |',
      '```\nBread                   | Price\n------------------------+------\nRye                     |  3.50\nOat (https://a.example) |    12\n```',
    ],
    ['| a | b |\n|---|---|\n| 面包 | x |\n| `*` |', '```\na    | b\n-----+--\n面包 | x\n*    |\n```'],
  ],
  html: [
    ['one<br>two', 'one\ntwo'],
    ['<b>bold</b> text', 'bold text'],
    ['<div>\n<p>Hello &amp; welcome</p>\n</div>', 'Hello & welcome'],
    ['<!-- hidden -->', ''],
    ['<script>\nalert(1)\n</script>', ''],
    ['Say <order number> please', 'Say <order number> please'],
    ['a < b and c > d', 'a < b and c > d'],
  ],
  'signs that mean themselves': [
    ['2 * 3 * 4 = 24', '2 * 3 * 4 = 24'],
    ['snake_case_name', 'snake_case_name'],
    ['a single * star, one_underscore, ~5 to ~10', 'a single * star, one_underscore, ~5 to ~10'],
    ['\\*not bold\\*', '∗not bold∗'],
    ['\\_not slanted\\_ and \\~not gone\\~', 'ˍnot slantedˍ and ∼not gone∼'],
    ['\\`not code\\`', 'ˋnot codeˋ'],
    ['~single~', '∼single∼'],
    ['**a \\* b**', '*a * b*'],
    ['**a \\*b\\* c**', '*a ∗b∗ c*'],
    ['\\*one line\n\\*another', '*one line\n*another'],
    ['\\# no heading', '# no heading'],
    ['a\uFDD0b\uFDD4c', 'abc'],
  ],
  'the whole': [
    ['a\nb\n\n\n\nc', 'a\nb\n\nc'],
    ['a  \nb', 'a\nb'],
    ['a\n\n---\n\nb', 'a\n\n━━━\n\nb'],
    [`a\n\n${'-'.repeat(40)}`, 'a\n\n━━━'],
    ['Yes[^1].\n\n[^1]: Since May.', 'Yes[1].\n\n[1] Since May.'],
    ['', ''],
    ['  \n ', ''],
  ],
};

describe('toWhatsAppText', () => {
  for (const [what, rows] of Object.entries(cases)) {
    it.each(rows)(`${what}: %j`, (markdown, whatsApp) => {
      expect(toWhatsAppText(markdown)).toBe(whatsApp);
    });
  }

  it('never throws and leaves no mark of its own, whatever the text', () => {
    const words = fc.constantFrom(
      ...[
        '*',
        '**',
        '_',
        '~~',
        '`',
        '```',
        '\n',
        '\n\n',
        ' ',
        '- ',
        '1. ',
        '> ',
        '# ',
        '|',
        '[a](',
        ')',
        '<b>',
        '\\',
        'word',
      ],
      ...['😀', 'é', '\uFDD0', '\uD800', '\t'],
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 60 }), (pieces) => {
        expect(toWhatsAppText(pieces.join(''))).not.toMatch(/[\uFDD0-\uFDEF]/);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => void toWhatsAppText(text)));
  });

  it('keeps every word of plain text', () => {
    const word = fc.stringMatching(/^[a-zA-Z0-9]{1,8}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1 }), (words) => {
        expect(toWhatsAppText(words.join(' '))).toBe(words.join(' '));
      }),
    );
  });

  it('makes the same of a line at the start, which it may not have to parse, and of one further down', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'www.',
        'a.b',
        'http:',
        '//x.y',
        '@',
        '1.',
        '1)',
        '- ',
        '+',
        '=',
        ':',
        '"',
        "'",
        '(c)',
        '...',
        '-',
        '*',
        '&amp;',
      ),
      fc.constantFrom(' ', '  ', '\t', '\u00A0', '\u2003', 'é', '😀', '¿', '€', '\uFEFF', '\u0085', '\u2028'),
      fc.string({ unit: 'grapheme', maxLength: 3 }),
      fc.stringMatching(/^[a-z]{1,6}$/),
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (pieces) => {
        const line = pieces.join('').replace(/[\n\r]/g, '');
        fc.pre(line.trim() !== '' && !/^\s/.test(line));
        const further = toWhatsAppText(`*c*\n\n${line}`);
        for (const atStart of [toWhatsAppText(line), toWhatsAppText(`plain\n\n${line}`).replace(/^plain(\n\n)?/, '')]) {
          expect(further).toBe(atStart === '' ? '_c_' : `_c_\n\n${atStart}`);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it.each(['> ', '- ', '**', '*_', '[', '![', '1. ', '<div>'])(
    'takes %j nested as deep as a long answer can',
    (piece) => {
      expect(toWhatsAppText(`${piece.repeat(1_500)}x${'_*'.repeat(1_500)}`)).toContain('x');
    },
  );
});
