import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { splitForWhatsApp } from './split-text.ts';

const letters = (count: number, letter = 'a'): string => letter.repeat(count);

describe('splitForWhatsApp', () => {
  it.each(['', ' ', '\n\n'])('has no parts for %j', (text) => {
    expect(splitForWhatsApp(text)).toEqual([]);
  });

  it('leaves what fits alone', () => {
    expect(splitForWhatsApp(letters(4096))).toEqual([letters(4096)]);
    expect(splitForWhatsApp('a\n\nb')).toEqual(['a\n\nb']);
  });

  it.each([
    [
      'a paragraph',
      'First. Part.\nLine.\n\nSecond paragraph is here.',
      ['First. Part.\nLine.', 'Second paragraph is here.'],
    ],
    ['a line', 'First. Sentence here.\n  - indented item here', ['First. Sentence here.', '  - indented item here']],
    [
      'a sentence',
      'One sentence is here. Another sentence is here.',
      ['One sentence is here.', 'Another sentence is here.'],
    ],
    ['a word', `${letters(20)} ${letters(20, 'b')}`, [letters(20), letters(20, 'b')]],
    ['a word at the very limit', `${letters(32)} ${letters(4, 'b')}`, [letters(32), letters(4, 'b')]],
    ['inside a word', letters(40), [letters(32), letters(8)]],
  ])('cuts at %s', (_name, text, parts) => {
    expect(splitForWhatsApp(text, 32)).toEqual(parts);
  });

  it('does not cut inside a grapheme or a surrogate pair', () => {
    expect(splitForWhatsApp(`${letters(31)}😀x`, 32)).toEqual([letters(31), '😀x']);
    expect(splitForWhatsApp(`${letters(30)}👩‍👩‍👧‍👦x`, 32)).toEqual([letters(30), '👩‍👩‍👧‍👦x']);
    expect(splitForWhatsApp(`${letters(30)}👍🏽x`, 32)).toEqual([letters(30), '👍🏽x']);
    expect(splitForWhatsApp(`${letters(31)}e\u0301`, 32)).toEqual([letters(31), 'e\u0301']);
  });

  it('cuts even a grapheme that is longer than a message, between code points', () => {
    const parts = splitForWhatsApp(`a${letters(60, '\u{1D165}')}`, 32);

    expect(parts.join('')).toBe(`a${letters(60, '\u{1D165}')}`);
    for (const part of parts) expect(part.isWellFormed()).toBe(true);
  });

  it('moves a fence to the next part as a whole', () => {
    const fence = '```\nsome code\n\nmore\n```';

    expect(splitForWhatsApp(`Text before it.\n${fence}\nText behind it.`, 32)).toEqual([
      'Text before it.',
      fence,
      'Text behind it.',
    ]);
  });

  it('closes a fence that is too long, and opens it again', () => {
    const lines = ['line one of it', '  line two', 'line three', letters(40, 'x')];

    expect(splitForWhatsApp(`  \`\`\`\n${lines.join('\n')}\n\`\`\` and on`, 40)).toEqual([
      '```\nline one of it\n  line two\n```',
      '```\nline three\n```',
      `\`\`\`\n${letters(32, 'x')}\n\`\`\``,
      `\`\`\`\n${letters(8, 'x')}\n\`\`\` and on`,
    ]);
  });

  it('takes backticks that nothing closes as text', () => {
    expect(splitForWhatsApp(`\`\`\` ${letters(30)} ${letters(10, 'b')}`, 36)).toEqual([
      `\`\`\` ${letters(30)}`,
      letters(10, 'b'),
    ]);
  });

  it('refuses a limit with no room', () => {
    expect(() => splitForWhatsApp('x', 31)).toThrow(expect.objectContaining({ code: 'split_limit_too_small' }));
  });

  it('keeps all words in order, within the limit, with fences closed, for any text', () => {
    const prose = fc
      .array(
        fc.oneof(
          { weight: 8, arbitrary: fc.stringMatching(/^[a-zé0-9*_.,!?]{1,12}$/) },
          fc.constantFrom('\n', '\n\n', '\n \n', '. ', '😀', '👩‍👩‍👧‍👦', '面包', ' ', '  ', letters(90)),
        ),
        { maxLength: 80 },
      )
      .map((words) => words.join(' '));
    const fence = prose.map((code) => `\n\`\`\`\n${code}\n\`\`\`\n`);
    const text = fc.array(fc.oneof(prose, fence), { maxLength: 8 }).map((pieces) => pieces.join(''));
    const words = (part: string): string => part.replace(/```|\s/g, '');

    fc.assert(
      fc.property(text, fc.integer({ min: 32, max: 300 }), (whole, limit) => {
        const parts = splitForWhatsApp(whole, limit);

        expect(parts.map(words).join('')).toBe(words(whole));
        for (const part of parts) {
          expect(part.length).toBeLessThanOrEqual(limit);
          expect(part.trim()).not.toBe('');
          expect((part.match(/```/g) ?? []).length % 2).toBe(0);
          expect(part.isWellFormed()).toBe(true);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes a long text in a time that grows with it', () => {
    const text = 'Some words make a sentence. '.repeat(20_000);

    expect(splitForWhatsApp(text).join(' ').length).toBe(text.trimEnd().length);
  });
});
