import type { AnswerPassage } from './answerer.ts';

/** A link to the passage's source, or its title alone when there is no address to show; `''` when there is neither. Markdown. */
export function sourceLine({ title, sourceUrl }: AnswerPassage): string {
  const name = escapeMarkdown(title.replaceAll(/\s+/g, ' ').trim());
  if (sourceUrl === undefined) return name === '' ? '' : `_${name}_`;
  const target = sourceUrl.replaceAll(/[<>\\\s]/g, encodeURIComponent);
  return `[${name === '' ? escapeMarkdown(sourceUrl) : name}](<${target}>)`;
}

/** The text with lines below it that name its sources; empty lines and repeated ones are left out. */
export function withSourceLines(text: string, lines: readonly string[]): string {
  const shown = [...new Set(lines)].filter((line) => line !== '');
  return shown.length === 0 ? text : `${text}\n\n${shown.join('\n')}`;
}

/** So that a title is shown as it is written, whatever it holds. */
function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\`*_[\]<>~&]/g, '\\$&');
}
