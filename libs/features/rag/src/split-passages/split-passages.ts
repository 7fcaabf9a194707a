import type { Code, Heading, Nodes, RootContent } from 'mdast';
import { fromMarkdown } from 'mdast-util-from-markdown';
import { gfmTableFromMarkdown } from 'mdast-util-gfm-table';
import { toString } from 'mdast-util-to-string';
import { gfmTable } from 'micromark-extension-gfm-table';
import {
  breakDown,
  passageLengths,
  sentenceStarts,
  splitAt,
  toPassages,
  type Passage,
  type PassageLengths,
  type Piece,
  type Section,
} from './passage.ts';

/**
 * Markup within lines is not parsed: passages keep it as it stands, and emphasis and brackets take quadratic time on hostile input
 * (10 s for 40 kB).
 */
const blocksOnly = {
  extensions: [
    gfmTable(),
    { disable: { null: ['attention', 'codeText', 'labelEnd', 'labelStartImage', 'labelStartLink', 'htmlText'] } },
  ],
  mdastExtensions: [gfmTableFromMarkdown()],
};

/** Quotes and lists in each other take quadratic time (2,000 of them 1 s, 20,000 minutes), and nobody writes fifty. */
const nestedTooDeep = /^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t]))){50}|^[ \t]{100}/m;

/**
 * The parser holds about 30 kB for a short line and 10 for a table's bar, an escape or an entity: 900,000 characters of little sections
 * took it 2.6 GB and 40 s, in which the process does nothing else. So it gets 15,000 lines, which the longest text has with 67 characters
 * in each, or three times as many signs.
 */
const maxParts = 45_000;
const partsOfLine = 3;

/** A heading up to this many characters loses its markup in the heading path. */
const maxParsedHeading = 500;

/**
 * A longer heading is a text that was marked as one. Every passage below a heading repeats it, so that one of 300,000 characters made
 * 130 million of a source of 700,000.
 */
const maxHeading = 200;

/** Links, images and code within a line: full stops in them end no sentence. */
const unbreakable = /!?\[[^\][]{0,500}\]\([^()\s]{0,500}[^()]{0,200}\)|`[^`]{1,500}`/g;

/**
 * Splits a Markdown document (CommonMark and GitHub's tables) at its structure: a passage never crosses a
 * heading, tables and fenced code stay whole up to `max` (longer ones repeat the table's head, or the fence), long paragraphs break
 * between sentences. Nothing is lost: every word stands in a passage's text or heading path, in the document's order. A first heading
 * that only repeats `title` is left out of the paths, because the title is indexed beside them. A document that is too much
 * for the parser is split as one without markup.
 */
export function splitMarkdown(
  markdown: string,
  { title, lengths = passageLengths }: { readonly title: string; readonly lengths?: PassageLengths },
): Passage[] {
  const source = withPlainLineEnds(markdown);
  if (nestedTooDeep.test(source) || hasTooManyParts(source)) return splitPlainText(source, lengths);
  return toPassages(sectionsOf(source, title, lengths), lengths);
}

/** Splits a text without markup by paragraphs, lines and sentences. */
export function splitPlainText(text: string, lengths: PassageLengths = passageLengths): Passage[] {
  return toPassages([{ headingPath: [], pieces: breakDown(withPlainLineEnds(text), lengths.target) }], lengths);
}

function hasTooManyParts(source: string): boolean {
  const count = (of: RegExp): number => source.match(of)?.length ?? 0;
  return partsOfLine * count(/\S.*/g) + count(/[|\\&]/g) > maxParts;
}

/** NUL is not a character to Markdown or Postgres. */
function withPlainLineEnds(text: string): string {
  return text.replaceAll(/\r\n?/g, '\n').replaceAll('\0', '\ufffd');
}

function sectionsOf(source: string, title: string, lengths: PassageLengths): Section[] {
  const { children } = fromMarkdown(source, blocksOnly);
  const sections: Section[] = [];
  let headings: { readonly depth: number; readonly text: string }[] = [];
  let pieces: Piece[] = [];

  const closeSection = (next: RootContent | undefined) => {
    const headingPath = headings.map(({ text }) => text);
    const deepest = headings.at(-1);
    if (pieces.length > 0) {
      sections.push({ headingPath, pieces });
    } else if (deepest !== undefined && !(next?.type === 'heading' && next.depth > deepest.depth)) {
      // A heading with nothing below it says something by itself.
      sections.push({ headingPath: headingPath.slice(0, -1), pieces: breakDown(deepest.text, lengths.target) });
    }
    pieces = [];
  };

  for (const node of children) {
    if (node.type !== 'heading') {
      pieces.push(...piecesOf(node, source, lengths));
      continue;
    }
    const text = headingText(node, source);
    if (text.length > maxHeading) {
      pieces.push(...breakDown(text, lengths.target));
      continue;
    }
    closeSection(node);
    headings = headings.filter(({ depth }) => depth < node.depth);
    const isTitle = node === children[0] && sameText(text, title);
    if (text !== '' && !isTitle) headings.push({ depth: node.depth, text });
  }
  closeSection(undefined);
  return sections;
}

function headingText(node: Heading, source: string): string {
  const slice = sliceOf(node, source);
  return toString(slice.length > maxParsedHeading ? node : fromMarkdown(slice)).trim();
}

function sameText(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase();
}

function piecesOf(node: RootContent, source: string, lengths: PassageLengths): Piece[] {
  const text = sliceOf(node, source);
  switch (node.type) {
    case 'thematicBreak':
      return [];
    case 'paragraph':
      return paragraphPieces(text, lengths.target);
    case 'list':
      return node.children.flatMap((item, i) =>
        breakDown(sliceOf(item, source), lengths.target, i === 0 ? '\n\n' : '\n'),
      );
    case 'table':
      return tablePieces(text, lengths.max);
    case 'code':
      return codePieces(node, text, lengths.max);
    default:
      return breakDown(text, lengths.target);
  }
}

function sliceOf(node: Nodes, source: string): string {
  return source.slice(node.position?.start.offset, node.position?.end.offset);
}

/** Sentences of a long paragraph. */
function paragraphPieces(text: string, target: number): Piece[] {
  if (text.length <= target) return breakDown(text, target);
  const whole = Array.from(text.matchAll(unbreakable), ({ index, 0: match }) => [index, index + match.length] as const);
  const starts = sentenceStarts(text).filter((start) => !whole.some(([from, to]) => from < start && start < to));
  return splitAt(text, starts).flatMap((sentence, i) => breakDown(sentence, target, i === 0 ? '\n\n' : ' '));
}

/** The whole table, or groups of rows, each under the table's head. */
function tablePieces(text: string, max: number): Piece[] {
  if (text.length <= max) return [{ text, joint: '\n\n', isProse: false }];
  const lines = text.split('\n');
  return groupLines(lines.slice(2), lines.slice(0, 2), [], max);
}

/** The whole code, or groups of lines, each in a fence of its own. */
function codePieces(node: Code, text: string, max: number): Piece[] {
  if (text.length <= max) return [{ text, joint: '\n\n', isProse: false }];
  const longestRun = Math.max(2, ...Array.from(node.value.matchAll(/`+/g), ([run]) => run.length));
  const fence = '`'.repeat(longestRun + 1);
  return groupLines(
    node.value.split('\n'),
    [`${fence}${[node.lang, node.meta].filter(Boolean).join(' ')}`],
    [fence],
    max,
  );
}

/** Lines in groups between the same first and last lines, no group longer than `max`. Where those leave no room, lines alone. */
function groupLines(lines: readonly string[], head: readonly string[], foot: readonly string[], max: number): Piece[] {
  const frame = [...head, ...foot].join('\n').length + 2;
  const room = max - frame;
  if (room < max / 2) return breakDown([...head, ...lines, ...foot].join('\n'), max);
  const groups: string[][] = [];
  let length = Infinity;
  for (const line of lines.flatMap((whole) => cutLine(whole, room))) {
    if (length + line.length + 1 > room) {
      groups.push([]);
      length = 0;
    }
    groups.at(-1)?.push(line);
    length += line.length + 1;
  }
  return groups.map((group) => ({ text: [...head, ...group, ...foot].join('\n'), joint: '\n\n', isProse: false }));
}

function cutLine(line: string, room: number): string[] {
  return line.length < room ? [line] : breakDown(line, room - 1).map(({ text }) => text);
}
