// Elements of HTML. `<order number>` is none of them: it is a writer's blank, and stays.
const ELEMENTS =
  /^\/?(?:a|abbr|address|article|aside|b|big|blockquote|body|br|button|center|cite|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main|mark|meta|nav|ol|option|p|pre|q|s|samp|script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr)(?![\w-])/i;
const BREAKS = /^(?:br|\/(?:p|div|li|tr|h[1-6]|table|ul|ol|blockquote))(?![\w-])/i;
const SPECIAL = /<!--[\s\S]*?(?:-->|$)|<(script|style)\b[\s\S]*?(?:<\/\1\s*>|$)/gi;
const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#39;': "'",
  '&nbsp;': ' ',
};

/**
 * The text that a piece of HTML shows: tags gone, line breaks kept, comments, scripts and styles gone with their
 * content.
 */
export function textOfHtml(html: string): string {
  return html
    .replace(SPECIAL, '')
    .replace(/<([^<>]*)>/g, (tag, inside: string) => {
      if (BREAKS.test(inside)) return '\n';
      return ELEMENTS.test(inside) ? '' : tag;
    })
    .replace(/&(?:amp|lt|gt|quot|#39|nbsp);/g, (entity) => ENTITIES[entity] ?? entity)
    .replace(/\n{3,}/g, '\n\n');
}
