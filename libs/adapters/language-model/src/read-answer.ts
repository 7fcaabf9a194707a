import { isAskingNothing } from './asking-nothing.ts';
import type { ChatCompletion } from './chat-model.ts';
import { RULES_SENTENCE, type AgainReason } from './grounded-prompt.ts';

/** What is made of what a model said: `cited` are numbers of passages that it was given, in the order in which it cites them. */
export type Reading =
  | { readonly verdict: 'answer'; readonly text: string; readonly cited: readonly number[] }
  | { readonly verdict: 'abstain' }
  | { readonly verdict: 'handoff' }
  | { readonly verdict: 'again'; readonly reason: AgainReason }
  | { readonly verdict: 'unusable'; readonly reason: string };

/** What one WhatsApp message holds (4,096), and many times what the prompt asks for: a model that goes on and on is not passed on. */
const maxAnswerCharacters = 4_000;
/** A courtesy is one or two sentences. */
const maxCourtesyCharacters = 200;
/** More of them than this share are no text but something that was decoded wrongly. */
const maxStrangeShare = 0.02;

/** `[1]`, `[1, 2]`, `[2-4]`, `[^1]`, `[passage 1]`, `【1†source】`, and a link whose text is only that. */
const mark = String.raw`(?:\[\^?(?:passages?|sources?)? ?(\d{1,2}(?: ?[,;–-] ?\d{1,2}){0,9})\]|【(\d{1,2})[^】\n]{0,20}】)(?:\([^)\s[【]*\))?`;
/** With the blanks before them, and those behind them that would stand before a full stop. */
const marks = new RegExp(String.raw`(?<![ \t])[ \t]*${mark}(?:[ \t]+(?=[.,;:!?…]))?`, 'giu');
/** Also as Markdown escapes it. */
const noAnswer = /(?:\[ {0,3})?NO\\?_ANSWER/i;
/** In its brackets anywhere, else as all there is: models forget brackets, and people of a business speak of handoffs. */
const handoff = /\[ {0,3}HANDOFF {0,3}\]|^\W*HANDOFF\W*$/i;
/** The end of a text that may become a mark, a link of one or the no-answer token, with the blanks before it. */
const unfinished = new RegExp(
  String.raw`(?<![ \t])[ \t]*(?:[[【][^\]】\n]{0,60}|${mark}\([^)\s[【]{0,300}|N(?:O(?:\\?_?|\\?_[A-Z]{1,6})?)?)?$`,
  'iu',
);
const sentenceEnds = new RegExp(String.raw`[.!?…。！？]["')»”]*(?:\s*${mark})*(?=\s|$)`, 'giu');

/**
 * Judges what a model replied to a prompt with `passageCount` passages. An answer cites one of them; without that only a courtesy to
 * a courtesy is let through.
 */
export function readAnswer(
  { text, finishReason }: Pick<ChatCompletion, 'text' | 'finishReason'>,
  asked: {
    readonly question: string;
    readonly passageCount: number;
    readonly codes: readonly string[];
    readonly mayHandOff?: boolean;
  },
): Reading {
  if (asked.mayHandOff === true && handoff.test(text)) return { verdict: 'handoff' };
  if (finishReason === 'content_filter' || noAnswer.test(text)) return { verdict: 'abstain' };
  if (strangeShare(text) > maxStrangeShare) return { verdict: 'unusable', reason: 'not_text' };
  if ([RULES_SENTENCE, ...asked.codes].some((own) => text.includes(own))) {
    return { verdict: 'unusable', reason: 'prompt_repeated' };
  }
  const whole = finishReason === 'length' ? wholeSentences(text) : text;
  const spoken = withoutMarks(whole).trim();
  const cited = citedNumbers(whole).filter((number) => number >= 1 && number <= asked.passageCount);
  if (spoken.length > maxAnswerCharacters) return { verdict: 'again', reason: 'too_long' };
  const hasWords = /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(spoken);
  if (cited.length > 0 && hasWords) return { verdict: 'answer', text: spoken, cited };
  if (finishReason === 'length') return { verdict: 'again', reason: 'too_long' };
  if (!hasWords) return { verdict: 'unusable', reason: 'no_words' };
  const isCourtesy = isAskingNothing(asked.question) && promisesNothing(spoken);
  return isCourtesy ? { verdict: 'answer', text: spoken, cited: [] } : { verdict: 'again', reason: 'uncited' };
}

/**
 * What of a text that is still being written can be shown: without marks, and without an end that may become one. What it returns for
 * a text is the beginning of what it returns for a longer one.
 */
export function spokenSoFar(text: string): string {
  const end = text.search(noAnswer);
  return withoutMarks(end < 0 ? text.replace(unfinished, '') : text.slice(0, end)).trimEnd();
}

/** The text as the contact sees it. */
export function withoutMarks(text: string): string {
  return text.replaceAll(marks, '').replaceAll(/^ (?=\S)/gm, '');
}

function citedNumbers(text: string): number[] {
  const found = [...text.matchAll(marks)].flatMap(([, list, single]) => (list ?? single ?? '').split(/\s*[,;]\s*/));
  const numbers = found.flatMap((part) => {
    const [first = NaN, last = first] = part.split(/\s*[–-]\s*/).map(Number);
    return Array.from({ length: Math.max(0, last - first + 1) || 0 }, (_, step) => first + step);
  });
  return [...new Set(numbers)];
}

function wholeSentences(text: string): string {
  const last = [...text.matchAll(sentenceEnds)].at(-1);
  return last === undefined ? '' : text.slice(0, last.index + last[0].length);
}

function strangeShare(text: string): number {
  const strange = text.match(/(?![\n\r\t])[\uFFFD\p{Cc}\p{Co}\p{Cn}]/gu) ?? [];
  return strange.length / Math.max(1, text.length);
}

function promisesNothing(text: string): boolean {
  return text.length <= maxCourtesyCharacters && !/\p{N}|https?:|www\.|@|\w\.[a-z]{2,}/iu.test(text);
}
