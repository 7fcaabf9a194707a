import { describe, expect, it } from '@jest/globals';

interface Inline {
  readonly type: string;
  readonly text?: string;
  readonly href?: string;
  readonly inlines?: readonly Inline[];
}
interface Block {
  readonly type: string;
  readonly text?: string;
  readonly inlines?: readonly Inline[];
  readonly items?: readonly (readonly Inline[])[];
}
// The page's own script: it has no build step and no types.
const page = new URL('../public/format.js', import.meta.url).href;
const { parseFormat, plainText } = (await import(page)) as {
  parseFormat: (text: string) => Block[];
  plainText: (text: string) => string;
};

const flat = (inlines: readonly Inline[] = []): string =>
  inlines
    .map(({ type, text, href, inlines: inner }) =>
      type === 'text' ? text : `<${type} ${text ?? href ?? flat(inner)}>`,
    )
    .join('');
const drawn = (text: string) =>
  parseFormat(text).map((block) =>
    block.type === 'code'
      ? `code:${block.text}`
      : `${block.type}:${block.items ? block.items.map(flat).join('|') : flat(block.inlines)}`,
  );

describe('the formatting of the phone', () => {
  it.each([
    ['*bold* and _italic_', ['paragraph:<bold bold> and <italic italic>']],
    ['*bold _both_*', ['paragraph:<bold bold <italic both>>']],
    ['~gone~ `a*b*`', ['paragraph:<strike gone> <code a*b*>']],
    ['2*3*4 and snake_case_name', ['paragraph:2*3*4 and snake_case_name']],
    ['* not bold*, *not\nbold*', ['bullets:not bold*, *not', 'paragraph:bold*']],
    ['a * b * c', ['paragraph:a * b * c']],
    ['- one\n- *two*\n\nthen', ['bullets:one|<bold two>', 'paragraph:then']],
    ['1. one\n2. two', ['numbers:one|two']],
    ['> said\nmine', ['quote:said', 'paragraph:mine']],
    ['see\n```\nlet a = *1*\n```\nend', ['paragraph:see', 'code:let a = *1*', 'paragraph:end']],
    ['https://a.example/b_c_d?x=1.', ['paragraph:<link https://a.example/b_c_d?x=1>.']],
    ['javascript:alert(1) <b>x</b>', ['paragraph:javascript:alert(1) <b>x</b>']],
    ['', []],
    ['one\n\ntwo', ['paragraph:one\n\ntwo']],
  ])('reads %j', (text, expected) => expect(drawn(text)).toEqual(expected));

  it('leaves the marks out where a message stands on one line', () => {
    expect(plainText('Loaf *WL-7319*:\n- _cash_\n- cards\n> see https://example.org\n```\ncode\n```')).toBe(
      'Loaf WL-7319: cash cards see https://example.org code',
    );
  });
});
