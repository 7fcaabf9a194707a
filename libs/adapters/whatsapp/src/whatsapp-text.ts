import type { Blockquote, Definition, List, ListItem, Nodes, PhrasingContent, RootContent, Table } from 'mdast';
import { fromMarkdown } from 'mdast-util-from-markdown';
import { gfmFromMarkdown } from 'mdast-util-gfm';
import { gfm } from 'micromark-extension-gfm';
import { literal, settleMarks, span, withoutMarks, type SpanMark } from './whatsapp-marks.ts';
import { alignColumns } from './text-table.ts';
import { textOfHtml } from './html-text.ts';

/**
 * Markdown as WhatsApp's text format (faq.whatsapp.com/539178204879377; META 9), by its syntax tree:
 *
 * | markdown            | WhatsApp                                                             |
 * | ------------------- | -------------------------------------------------------------------- |
 * | bold, italic, strike| `*x*`, `_x_`, `~x~`; inside a word the signs would show and are left out |
 * | code, fence         | the same, without the language, which WhatsApp would show            |
 * | heading             | a bold line                                                          |
 * | list                | `- x`, `1. x`; deeper levels indented by two spaces each; ☐ and ☑ for tasks |
 * | quote               | `> x`, one level                                                     |
 * | rule                | ━━━                                                                  |
 * | table               | a fence with aligned columns                                         |
 * | link, image         | `text (url)`, the bare url once; only http, https, mailto and tel    |
 * | HTML                | its text                                                             |
 *
 * WhatsApp has no escape: a literal `*`, `_`, `~` or backtick stays where it cannot format and becomes a look-alike
 * where it would. A line that begins with `-`, `1.` or `>` looks the same either way and is left. Three backticks
 * inside code become apostrophes. Pure; never throws.
 */
export function toWhatsAppText(markdown: string): string {
  const { plain, rest } = withoutPlainStart(withoutMarks(markdown));
  return [...plain, fromSyntaxTree(rest)].filter((text) => text !== '').join(BETWEEN_BLOCKS);
}

function fromSyntaxTree(source: string): string {
  if (source.trim() === '') return '';
  const asItIs = (): string => settleMarks(literal(source)).trim();
  if (TOO_DEEP.test(source)) return asItIs();
  try {
    return settleMarks(convert(source)).trim();
  } catch (error) {
    // Spans nested deeper than the stack.
    if (error instanceof RangeError) return asItIs();
    throw error;
  }
}

/** The paragraphs that a text begins with and that need no parser, which takes about a millisecond for a usual answer. */
function withoutPlainStart(source: string): { plain: string[]; rest: string } {
  const plain: string[] = [];
  let rest = source;
  for (;;) {
    const end = rest.indexOf(BETWEEN_BLOCKS);
    const paragraph = end === -1 ? rest : rest.slice(0, end);
    if (!PLAIN.test(paragraph)) return { plain, rest };
    plain.push(paragraph.trim());
    rest = end === -1 ? '' : rest.slice(end).replace(/^\n+/, '');
  }
}

/** One line without a sign that could mean anything: no list, no link or address to be found in it. */
const PLAIN = /^(?![-+\d\s])(?!.*www\.)[^\\`*_~<>&[\]!|#@/\p{C}\p{Zl}\p{Zp}]+$/iu;

// Thirty list and quote signs in a row: no answer looks like that, and the parser's time grows with their square.
const TOO_DEEP = /^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])[ \t])){30}/m;

function convert(source: string): string {
  const root = fromMarkdown(source, {
    // One tilde is "about", as in ~5 to ~10.
    extensions: [gfm({ singleTilde: false })],
    mdastExtensions: [gfmFromMarkdown()],
  });
  const definitions = new Map<string, Definition>();
  for (const node of root.children) {
    if (node.type === 'definition' && !definitions.has(node.identifier)) definitions.set(node.identifier, node);
  }
  return new Writer(definitions).blocks(root.children);
}

const BETWEEN_BLOCKS = '\n\n';
const INDENT = '  ';
const FENCE = '```';

class Writer {
  readonly #definitions: ReadonlyMap<string, Definition>;

  constructor(definitions: ReadonlyMap<string, Definition>) {
    this.#definitions = definitions;
  }

  blocks(nodes: readonly RootContent[], between = BETWEEN_BLOCKS): string {
    return nodes
      .map((node) => this.#block(node))
      .filter((text) => text.trim() !== '')
      .join(between);
  }

  #block(node: RootContent): string {
    switch (node.type) {
      case 'paragraph':
        return this.#inline(node.children);
      case 'heading':
        return span('*', this.#inline(node.children, ['*']).trim());
      case 'thematicBreak':
        return '━━━';
      case 'list':
        return this.#list(node);
      case 'blockquote':
        return this.#quote(node);
      case 'code':
        return fence(node.value);
      case 'table':
        return this.#table(node);
      case 'html':
        return literal(textOfHtml(node.value)).trim();
      case 'footnoteDefinition':
        return `[${literal(node.label ?? node.identifier)}] ${this.blocks(node.children, '\n')}`;
      case 'definition':
      case 'yaml':
        return '';
      default:
        return this.#inline([node as PhrasingContent]);
    }
  }

  #list(list: List): string {
    const start = list.start ?? 1;
    return list.children
      .map((item, i) => this.#listItem(item, list.ordered === true ? `${start + i}. ` : '- '))
      .join('\n');
  }

  #listItem(item: ListItem, bullet: string): string {
    const box = typeof item.checked === 'boolean' ? (item.checked ? '☑ ' : '☐ ') : '';
    const [first, ...rest] = item.children;
    const isText = first?.type === 'paragraph';
    const head = isText ? this.#inline(first.children) : '';
    const others = (isText ? rest : item.children).map((node) => ({ node, text: this.#block(node) }));
    // A fence would show its indentation, and a quote has to begin its line.
    const below = others
      .filter(({ text }) => text.trim() !== '')
      .map(({ node, text }) => (node.type === 'list' || node.type === 'paragraph' ? indent(text) : text));
    return [`${bullet}${box}${indent(head).trimStart()}`.trimEnd(), ...below].join('\n');
  }

  #quote(quote: Blockquote): string {
    return quote.children
      .map((node) => ({ node, text: this.#block(node) }))
      .filter(({ text }) => text.trim() !== '')
      .map(({ node, text }) => (isFenced(node) || node.type === 'blockquote' ? text : text.replace(/^(?=.)/gm, '> ')))
      .join('\n');
  }

  #table(table: Table): string {
    const rows = table.children.map((row) => row.children.map((cell) => this.#plain(cell.children)));
    return fence(alignColumns(rows, table.align ?? []));
  }

  /** Without formatting, on one line: inside a fence signs would show. */
  #plain(nodes: readonly PhrasingContent[]): string {
    return nodes
      .map((node): string => {
        if (node.type === 'inlineCode' || node.type === 'text') return node.value;
        if (node.type === 'break') return ' ';
        if (node.type === 'html') return textOfHtml(node.value);
        if (node.type === 'link') return withUrl(this.#plain(node.children), node.url, this.#plain(node.children));
        return 'children' in node ? this.#plain(node.children) : settleMarks(this.#inlineNode(node, []));
      })
      .join('')
      .replace(/\s+/g, ' ')
      .trim();
  }

  #inline(nodes: readonly PhrasingContent[], active: readonly SpanMark[] = []): string {
    return nodes.map((node) => this.#inlineNode(node, active)).join('');
  }

  #inlineNode(node: PhrasingContent, active: readonly SpanMark[]): string {
    switch (node.type) {
      case 'text':
        return literal(node.value);
      case 'strong':
        return this.#span('*', node.children, active);
      case 'emphasis':
        return this.#span('_', node.children, active);
      case 'delete':
        return this.#span('~', node.children, active);
      case 'inlineCode':
        return inlineCode(node.value);
      case 'break':
        return '\n';
      case 'html':
        return literal(textOfHtml(node.value));
      case 'link':
        return this.#link(node.children, node.url, active);
      case 'linkReference':
        return this.#link(node.children, this.#definitions.get(node.identifier)?.url ?? '', active);
      case 'image':
        return shownUrl(node.url) ?? literal(node.alt ?? '');
      case 'imageReference':
        return shownUrl(this.#definitions.get(node.identifier)?.url ?? '') ?? literal(node.alt ?? '');
      case 'footnoteReference':
        return `[${literal(node.label ?? node.identifier)}]`;
    }
  }

  #link(children: readonly PhrasingContent[], url: string, active: readonly SpanMark[]): string {
    return withUrl(this.#inline(children, active), url, this.#plain(children));
  }

  #span(mark: SpanMark, children: readonly PhrasingContent[], active: readonly SpanMark[]): string {
    if (active.includes(mark)) return this.#inline(children, active);
    return span(mark, this.#inline(children, [...active, mark]));
  }
}

function isFenced(node: Nodes): boolean {
  return node.type === 'code' || node.type === 'table';
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, INDENT);
}

function fence(text: string): string {
  if (text.trim() === '') return '';
  return `${FENCE}\n${text.replaceAll(FENCE, "'''")}\n${FENCE}`;
}

function inlineCode(code: string): string {
  if (!code.includes('`')) return `\`${code}\``;
  return `${FENCE}${code.replaceAll(FENCE, "'''").replace(/^`|`$/g, "'")}${FENCE}`;
}

/** The address as it is shown, or undefined where it is none that a contact can open. */
function shownUrl(url: string): string | undefined {
  if (/^https?:\/\//i.test(url)) return url;
  return /^(?:mailto|tel):(.+)$/i.exec(url)?.[1];
}

const withoutScheme = (url: string): string => url.replace(/^https?:\/\//i, '').replace(/\/$/, '');

/**
 * The label with its url behind it; the url alone when the label says nothing else. `words` is the label without marks.
 */
function withUrl(label: string, url: string, words: string): string {
  const shown = shownUrl(url);
  if (shown === undefined) return label;
  if (words === '' || withoutScheme(words) === withoutScheme(shown)) return shown;
  return `${label} (${shown})`;
}
