/**
 * Marks of WhatsApp's text format, while a text is being put together. They are noncharacters of Unicode, which no text
 * may hold, so that a `*` that formats, a `*` that is only a star, and a `*` inside code stay apart until {@link
 * settleMarks} sees what stands around them.
 */
const LITERAL = { '*': '\uFDD0', _: '\uFDD1', '~': '\uFDD2', '`': '\uFDD3' } as const;
const OPENING = { '*': '\uFDD4', _: '\uFDD5', '~': '\uFDD6' } as const;
const CLOSING = { '*': '\uFDD7', _: '\uFDD8', '~': '\uFDD9' } as const;

// What a literal mark becomes where WhatsApp would take it for formatting: WhatsApp knows no escape, so only another
// sign that looks alike helps.
const LOOKALIKE: Readonly<Record<string, string>> = { '*': '\u2217', _: '\u02CD', '~': '\u223C', '`': '\u02CB' };

/** The marks that format a span: bold, italic, strike. */
export type SpanMark = keyof typeof OPENING;

const signOf = new Map<string, string>();
for (const marks of [LITERAL, OPENING, CLOSING])
  for (const [sign, mark] of Object.entries(marks)) signOf.set(mark, sign);
const isSpanMark = new Set<string>([...Object.values(OPENING), ...Object.values(CLOSING)]);
const isLiteral = new Set<string>(Object.values(LITERAL));
const ANY_MARK = /[\uFDD0-\uFDEF]/g;

/** The text without the noncharacters that this file uses. Everything that is to be converted goes through it first. */
export function withoutMarks(text: string): string {
  return text.replace(ANY_MARK, '');
}

/** Text of the writer, whose `*`, `_`, `~` and backticks mean themselves. */
export function literal(text: string): string {
  return text.replace(/[*_~`]/g, (sign) => LITERAL[sign as keyof typeof LITERAL]);
}

/** Formats the text, line by line, since no span of WhatsApp's reaches over a line break; white space stays outside. */
export function span(mark: SpanMark, text: string): string {
  return text.replace(/[^\n]+/g, (line) => {
    const inner = line.trim();
    if (inner === '') return line;
    const start = line.indexOf(inner);
    return line.slice(0, start) + OPENING[mark] + inner + CLOSING[mark] + line.slice(start + inner.length);
  });
}

/**
 * Turns marks into signs. WhatsApp formats what stands between two equal signs on one line when the first has no letter
 * or digit before it and no white space after it, and the second the other way round. Meta publishes no rule (META 9);
 * this is our assumption. So a span inside a word loses its signs, which would show; and a literal sign stays itself
 * where no pair can form, and becomes a look-alike where one could.
 */
export function settleMarks(text: string): string {
  return text.split('\n').map(settleLine).join('\n');
}

function settleLine(line: string): string {
  if (line.search(ANY_MARK) === -1) return line;
  const kept = withoutSpansInWords([...line]);
  return withoutAccidents(kept).join('');
}

const isWordSign = (sign: string | undefined): boolean => sign !== undefined && /[\p{L}\p{N}]/u.test(sign);
const isSpace = (sign: string | undefined): boolean => sign === undefined || /\s/u.test(sign);

function withoutSpansInWords(signs: readonly string[]): string[] {
  const before = neighbours(signs);
  const after = neighbours([...signs].reverse()).reverse();
  const dropped = new Set<number>();
  const open: number[] = [];
  signs.forEach((sign, at) => {
    if (!isSpanMark.has(sign)) return;
    if ((Object.values(OPENING) as string[]).includes(sign)) {
      open.push(at);
      return;
    }
    const start = open.pop();
    if (start !== undefined && (isWordSign(before[start]) || isWordSign(after[at]))) dropped.add(start).add(at);
  });
  return signs.filter((_sign, at) => !dropped.has(at));
}

/** For each place the nearest sign before it that is no span mark. */
function neighbours(signs: readonly string[]): (string | undefined)[] {
  let last: string | undefined;
  return signs.map((sign) => {
    const before = last;
    if (!isSpanMark.has(sign)) last = sign;
    return before;
  });
}

function withoutAccidents(signs: readonly string[]): string[] {
  const plain = signs.map((sign) => signOf.get(sign) ?? sign);
  const result = [...plain];
  for (const [mark, lookalike] of Object.entries(LOOKALIKE)) {
    // A sign inside code or a url is no mark, and pairs with none.
    const places = signs.flatMap((sign, at) => (signOf.get(sign) === mark ? at : []));
    const opens = places.map((at) => !isWordSign(plain[at - 1]) && !isSpace(plain[at + 1]));
    const closes = places.map((at) => !isSpace(plain[at - 1]) && !isWordSign(plain[at + 1]));
    const firstOpen = opens.indexOf(true);
    const lastClose = closes.lastIndexOf(true);
    places.forEach((at, i) => {
      const couldPair =
        (opens[i] === true && lastClose > i) || (closes[i] === true && firstOpen !== -1 && firstOpen < i);
      if (couldPair && isLiteral.has(signs[at] ?? '')) result[at] = lookalike;
    });
  }
  return result;
}
