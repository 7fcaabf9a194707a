// WhatsApp's text formatting (faq.whatsapp.com/539178204879377): *bold* _italic_ ~strike~ `code` ```block```,
// "- " or "* " bullets, "1. " numbers, "> " quotes. Links are recognised as they stand. Parsing gives plain data, and
// drawing makes nodes with text in them, so nothing in a message is ever read as HTML.

const fence = /```([\s\S]*?)```/g;
const bullet = /^\s*[-*•]\s+(.*)$/;
const numbered = /^\s*(\d{1,3})[.)]\s+(.*)$/;
const quoted = /^>\s?(.*)$/;
const link = /^https?:\/\/[^\s<>"']+/i;
const marks = { '*': 'bold', _: 'italic', '~': 'strike' };

/** Blocks of a message: {type, inlines} | {type: 'code', text} | {type: 'bullets' | 'numbers', items, start}. */
export function parseFormat(text) {
  const blocks = [];
  let from = 0;
  for (const match of text.matchAll(fence)) {
    parseLines(text.slice(from, match.index), blocks);
    blocks.push({ type: 'code', text: match[1].replace(/^\n|\n$/g, '') });
    from = match.index + match[0].length;
  }
  parseLines(text.slice(from), blocks);
  return blocks;
}

function parseLines(text, blocks) {
  if (text === '' || (blocks.length > 0 && text.trim() === '')) return;
  let paragraph = [];
  const endParagraph = () => {
    const body = paragraph.join('\n').replace(/^\n+|\n+$/g, '');
    if (body !== '') blocks.push({ type: 'paragraph', inlines: parseInlines(body) });
    paragraph = [];
  };
  const addItem = (type, item, start) => {
    endParagraph();
    const last = blocks.at(-1);
    if (last?.type === type) last.items.push(parseInlines(item));
    else blocks.push({ type, start, items: [parseInlines(item)] });
  };
  for (const line of text.split('\n')) {
    const number = numbered.exec(line);
    const item = bullet.exec(line);
    const quote = quoted.exec(line);
    if (number) addItem('numbers', number[2], Number(number[1]));
    else if (item) addItem('bullets', item[1]);
    else if (quote) {
      endParagraph();
      blocks.push({ type: 'quote', inlines: parseInlines(quote[1]) });
    } else paragraph.push(line);
  }
  endParagraph();
}

/** Inlines of a line: {type: 'text' | 'code', text} | {type: 'link', href} | {type: 'bold' | …, inlines}. */
export function parseInlines(text) {
  const inlines = [];
  let plain = '';
  const push = (inline) => {
    if (plain !== '') inlines.push({ type: 'text', text: plain });
    plain = '';
    inlines.push(inline);
  };
  let at = 0;
  while (at < text.length) {
    const sign = text[at];
    const rest = text.slice(at);
    const opens = at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1]);
    const url = opens && link.exec(rest)?.[0].replace(/[.,;:!?)\]*_~]+$/, '');
    if (url) {
      push({ type: 'link', href: url });
      at += url.length;
      continue;
    }
    const end = sign === '`' || (marks[sign] && opens) ? closing(text, at) : -1;
    if (end > 0) {
      const inside = text.slice(at + 1, end);
      push(sign === '`' ? { type: 'code', text: inside } : { type: marks[sign], inlines: parseInlines(inside) });
      at = end + 1;
      continue;
    }
    plain += sign;
    at += 1;
  }
  if (plain !== '') inlines.push({ type: 'text', text: plain });
  return inlines;
}

/** Where the mark at `at` ends: on the same line, not after a space, not before a letter. -1 when it does not. */
function closing(text, at) {
  const sign = text[at];
  if (text[at + 1] === undefined || /\s/.test(text[at + 1])) return -1;
  for (let end = at + 2; end < text.length && text[end] !== '\n'; end += 1) {
    if (text[end] !== sign) continue;
    if (sign === '`') return end;
    const after = text[end + 1];
    if (!/\s/.test(text[end - 1]) && (after === undefined || !/[\p{L}\p{N}]/u.test(after))) return end;
  }
  return -1;
}

/** The text without its marks, on one line. */
export function plainText(text) {
  const ofInline = (inline) => inline.inlines?.map(ofInline).join('') ?? inline.text ?? inline.href;
  const ofInlines = (inlines) => inlines.map(ofInline).join('');
  return parseFormat(text)
    .flatMap((block) => (block.items ?? [block.inlines ?? [block]]).map(ofInlines))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();
}

const tags = { bold: 'strong', italic: 'em', strike: 's' };

/** Nodes of a message's text. */
export function drawFormat(text) {
  return parseFormat(text).map((block) => {
    if (block.type === 'code') return element('pre', [element('code', [block.text])]);
    if (block.type === 'paragraph') return element('p', block.inlines.map(drawInline));
    if (block.type === 'quote') return element('blockquote', block.inlines.map(drawInline));
    const list = element(
      block.type === 'numbers' ? 'ol' : 'ul',
      block.items.map((item) => element('li', item.map(drawInline))),
    );
    if (block.type === 'numbers') list.start = block.start;
    return list;
  });
}

function drawInline(inline) {
  if (inline.type === 'text') return document.createTextNode(inline.text);
  if (inline.type === 'code') return element('code', [inline.text]);
  if (inline.type === 'link') {
    const anchor = element('a', [inline.href]);
    anchor.href = inline.href;
    anchor.target = '_blank';
    anchor.rel = 'noopener noreferrer nofollow';
    return anchor;
  }
  return element(tags[inline.type], inline.inlines.map(drawInline));
}

/** An element with children, strings among them as text. */
export function element(tag, children = [], attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}
