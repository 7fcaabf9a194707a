import { createHash } from 'node:crypto';

/** A piece of a document that is found, judged and cited as one. */
export interface Passage {
  /** Place in the document, from 0. */
  readonly ordinal: number;
  /** Plain text of the headings above it, outermost first. */
  readonly headingPath: readonly string[];
  /** Markdown, as it stands in the document. */
  readonly text: string;
  /** SHA-256 of the text in UTF-8, in hex. */
  readonly sha256: string;
}

/** Lengths in characters. */
export interface PassageLengths {
  /** Up to here neighbours of one section share a passage. */
  readonly target: number;
  /** No passage is longer, whatever the document holds. Tables and code stay whole up to here. */
  readonly max: number;
  /** A sentence up to this length is repeated at the start of the section's next passage. */
  readonly overlap: number;
}

/**
 * 900 characters are about 200 tokens, below the 256 of the usual sentence models, and a comfortable chat message. 3,000 fit one
 * WhatsApp message (4,096, META 4) together with what an answer adds.
 */
export const passageLengths: PassageLengths = { target: 900, max: 3_000, overlap: 150 };

/** A part of a section that is not taken apart again. `joint` stands between it and the piece before it. */
export interface Piece {
  readonly text: string;
  readonly joint: '\n\n' | '\n' | ' ' | '';
  /** Running text, whose last sentence can be repeated. */
  readonly isProse: boolean;
}

/** Blocks under one heading. */
export interface Section {
  readonly headingPath: readonly string[];
  readonly pieces: readonly Piece[];
}

/** Packs the pieces of each section into passages up to the target length; a longer piece stands alone. Sections never mix. */
export function toPassages(sections: readonly Section[], { target, overlap }: PassageLengths): Passage[] {
  return sections
    .flatMap(({ headingPath, pieces }) => pack(pieces, target, overlap).map((text) => ({ headingPath, text })))
    .map(({ headingPath, text }, ordinal) => ({
      ordinal,
      headingPath,
      text,
      sha256: createHash('sha256').update(text).digest('hex'),
    }));
}

function pack(pieces: readonly Piece[], target: number, overlap: number): string[] {
  const texts: string[] = [];
  let text = '';
  let previous: Piece | undefined;
  for (const piece of pieces) {
    if (previous === undefined) {
      text = piece.text;
    } else if (text.length + piece.joint.length + piece.text.length <= target) {
      text += piece.joint + piece.text;
    } else {
      texts.push(text);
      const repeated = previous.isProse && piece.isProse ? lastSentence(previous.text) : '';
      text = repeated !== '' && repeated.length <= overlap ? repeated + piece.joint + piece.text : piece.text;
    }
    previous = piece;
  }
  return previous === undefined ? texts : [...texts, text];
}

const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });

/** Where sentences begin in a text, the first at 0. */
export function sentenceStarts(text: string): number[] {
  return Array.from(segmenter.segment(text), ({ index }) => index);
}

function lastSentence(text: string): string {
  return text.slice(sentenceStarts(text).at(-1)).trim();
}

/**
 * Takes a text apart until no piece is longer than `limit`: by paragraphs, lines, sentences, words and at last characters, going no
 * further than needed. The pieces joined are the text again, apart from white space.
 */
export function breakDown(text: string, limit: number, first: Piece['joint'] = '\n\n'): Piece[] {
  return breakInto(text.trim(), limit, first, 0);
}

const levels: readonly { readonly joint: Piece['joint']; readonly split: (text: string) => string[] }[] = [
  { joint: '\n\n', split: (text) => text.split(/\n[^\S\n]*\n/) },
  { joint: '\n', split: (text) => text.split('\n') },
  { joint: ' ', split: (text) => splitAt(text, sentenceStarts(text)) },
  { joint: ' ', split: (text) => text.split(/\s+/) },
];

function breakInto(text: string, limit: number, first: Piece['joint'], depth: number): Piece[] {
  if (text === '') return [];
  if (text.length <= limit) return [{ text, joint: first, isProse: true }];
  const level = levels[depth];
  if (level === undefined) return byCharacters(text, limit, first);
  return level
    .split(text)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .flatMap((part, i) => breakInto(part, limit, i === 0 ? first : level.joint, depth + 1));
}

/** Cuts at a fixed length, but not within a character. */
function byCharacters(text: string, limit: number, first: Piece['joint']): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < text.length;) {
    let end = start + limit;
    const isInsideCharacter = /^[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(end - 1, end + 1));
    if (isInsideCharacter) end -= 1;
    pieces.push({ text: text.slice(start, end), joint: start === 0 ? first : '', isProse: false });
    start = end;
  }
  return pieces;
}

/** The parts of a text between these places. */
export function splitAt(text: string, starts: readonly number[]): string[] {
  return starts.map((start, i) => text.slice(start, starts[i + 1]));
}
