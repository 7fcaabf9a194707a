import { Unexpected } from '@answerline/errors';

/**
 * The longest text of a message (Meta, "Text messages"). Meta does not say what a character is there, so UTF-16 units
 * are counted, of which there are never fewer than of anything else one could call a character.
 */
export const MAX_TEXT_LENGTH = 4096;

// Room for a reopened fence and some text in it.
const MIN_LIMIT = 32;

const FENCE = '```';
const REOPEN = `${FENCE}\n`;
const CLOSE = `\n${FENCE}`;

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/**
 * Cuts a text of WhatsApp's format into messages of at most `limit` UTF-16 units: at the last paragraph that fits, else
 * the last line, sentence, word, and only then inside a word, never inside a grapheme. Never inside a fence; one that
 * is longer than the limit is closed and opened again. The white space at a cut is dropped; no part is empty, and a
 * blank text has no parts. Throws Unexpected `split_limit_too_small` below 32.
 */
export function splitForWhatsApp(text: string, limit: number = MAX_TEXT_LENGTH): string[] {
  if (limit < MIN_LIMIT) throw new Unexpected('split_limit_too_small', `Texts cannot be cut to ${limit} units.`);
  const parts: string[] = [];
  let rest = trimCut(text);
  while (rest.length > limit) {
    const [part, next] = cutOnce(rest, limit);
    if (part !== '') parts.push(part);
    rest = next;
  }
  if (rest !== '') parts.push(rest);
  return parts;
}

function cutOnce(text: string, limit: number): [part: string, rest: string] {
  const fences = fencesOf(text, limit);
  const first = fences[0];
  const ink = text.search(/\S/);
  if (first?.start === ink && first.end > limit) {
    return cutInsideFence(text.slice(first.start), first.end - first.start, limit);
  }
  const at = lastCut(text, limit, ink, fences);
  return [trimCut(text.slice(0, at)), trimCut(text.slice(at).replace(/^[^\S\n]+/, ''))];
}

// The indentation of a first line belongs to it.
function trimCut(text: string): string {
  return text.trimEnd().replace(/^(?:[^\S\n]*\n)+/, '');
}

interface Fence {
  readonly start: number;
  /** Just behind the closing backticks. */
  readonly end: number;
}

/** The fences that begin before `limit`. Backticks that nothing closes are no fence. */
function fencesOf(text: string, limit: number): Fence[] {
  const found: Fence[] = [];
  let start = text.indexOf(FENCE);
  while (start !== -1 && start < limit) {
    const close = text.indexOf(FENCE, start + FENCE.length);
    if (close === -1) break;
    found.push({ start, end: close + FENCE.length });
    start = text.indexOf(FENCE, close + FENCE.length);
  }
  return found;
}

/** The best place for a cut within `limit`, behind the first sign that shows (at `ink`) and outside the fences. */
function lastCut(text: string, limit: number, ink: number, fences: readonly Fence[]): number {
  const isOutside = (at: number): boolean => !fences.some((fence) => at > fence.start && at < fence.end);
  // Two units more, so that what follows the last place is seen whole.
  const window = text.slice(0, limit + 2);
  const best = (places: Iterable<number>): number => {
    let last = 0;
    for (const at of places) if (at > ink && at <= limit && isOutside(at)) last = at;
    return last;
  };
  return (
    best(ends(window, /\n[^\S\n]*\n/g)) ||
    best([...ends(window, /\n/g), ...fences.flatMap((fence) => [fence.start, fence.end])].sort((a, b) => a - b)) ||
    best(starts(sentences, window)) ||
    best(ends(window, /\s/g)) ||
    best(starts(graphemes, window)) ||
    wholeCodePoints(text, limit)
  );
}

function* ends(text: string, pattern: RegExp): Iterable<number> {
  for (const match of text.matchAll(pattern)) yield match.index;
}

function* starts(segmenter: Intl.Segmenter, text: string): Iterable<number> {
  for (const { index } of segmenter.segment(text)) yield index;
}

/** For one grapheme longer than a message: at most `limit`, and not between the halves of a surrogate pair. */
function wholeCodePoints(text: string, limit: number): number {
  const isHalf = /[\uD800-\uDBFF]/.test(text.charAt(limit - 1)) && /[\uDC00-\uDFFF]/.test(text.charAt(limit));
  return isHalf ? limit - 1 : limit;
}

/** For a text that begins with a fence, which ends at `end`. */
function cutInsideFence(text: string, end: number, limit: number): [string, string] {
  const code = text.slice(FENCE.length, end - FENCE.length);
  const room = limit - REOPEN.length - CLOSE.length;
  const content = code.replace(/^\n/, '');
  const at = content.length <= room ? content.length : lastLineOrGrapheme(content, room);
  const part = `${REOPEN}${content.slice(0, at)}${CLOSE}`;
  const left = content.slice(at).replace(/^\n/, '');
  const behind = text.slice(end);
  return [part, left.trim() === '' ? trimCut(behind) : `${REOPEN}${left.trimEnd()}${CLOSE}${behind}`];
}

function lastLineOrGrapheme(content: string, room: number): number {
  const line = content.lastIndexOf('\n', room);
  if (content.slice(0, Math.max(line, 0)).trim() !== '') return line;
  let last = 0;
  for (const at of starts(graphemes, content.slice(0, room + 2))) if (at <= room) last = at;
  return last || wholeCodePoints(content, room);
}
