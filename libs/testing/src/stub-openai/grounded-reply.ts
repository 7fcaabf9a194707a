import { countIn, stemsOf } from './question-words.ts';

/** A message of a chat request. */
export interface PromptMessage {
  readonly role: string;
  readonly content: string;
}

/** Share of the question's words that the chosen passages must hold. */
const minShare = 0.5;
/** A longer passage is answered with its best sentence. */
const maxQuotedCharacters = 400;

/**
 * What a model that keeps to our prompts would say: passages that hold the question's words, each with its number; the no-answer token
 * when they do not; a question that stands by itself when asked to rewrite one. Anything else is echoed.
 */
export function groundedReply(messages: readonly PromptMessage[]): string {
  const last = messages.findLast(({ role }) => role === 'user')?.content ?? '';
  const prompt = messages.findLast(({ role, content }) => role === 'user' && blocksOf(content, 'question').length > 0);
  const conversation = blocksOf(last, 'conversation')[0];
  if (conversation !== undefined) return rewritten(conversation.text, blocksOf(last, 'message')[0]?.text ?? '');
  if (prompt === undefined) return `You said: ${last.slice(0, maxQuotedCharacters)}`;
  const question = blocksOf(prompt.content, 'question')[0]?.text ?? '';
  const before = messages.slice(0, messages.indexOf(prompt)).findLast(({ role }) => role === 'user')?.content ?? '';
  return answer(question, before, blocksOf(prompt.content, 'passage'));
}

interface Block {
  readonly number: string;
  readonly text: string;
}

/** Blocks such as `<passage-code number="1">…</passage-code>`, where the code is the first one of the message. */
function blocksOf(content: string, tag: string): Block[] {
  const code = /tags (?:that )?end in ([0-9a-f]+)\./.exec(content)?.[1];
  if (code === undefined) return [];
  const pattern = new RegExp(`<${tag}-${code}(?: number="(\\d+)")?>\\n([\\s\\S]*?)\\n</${tag}-${code}>`, 'g');
  return [...content.matchAll(pattern)].map(([, number = '', text = '']) => ({ number, text }));
}

function answer(question: string, before: string, passages: readonly Block[]): string {
  const asked = stemsOf(question);
  if (asked.length === 0) return 'Hello! How can I help you?';
  const chosen = covering(asked, passages) ?? covering([...asked, ...stemsOf(before)], passages);
  if (chosen === undefined) return '[NO_ANSWER]';
  return chosen.map(({ number, text }) => `${quoted(text, asked)} [${number}]`).join(' ');
}

/** The fewest passages that hold as many of the words as all of them do; none when that is too few. */
function covering(asked: readonly string[], passages: readonly Block[]): readonly Block[] | undefined {
  let missing = asked;
  const chosen: Block[] = [];
  for (;;) {
    const gains = passages.map(({ text }) => countIn(missing, text));
    const most = Math.max(0, ...gains);
    const best = passages[gains.indexOf(most)];
    if (most === 0 || best === undefined) break;
    chosen.push(best);
    const there = stemsOf(best.text);
    missing = missing.filter((stem) => !there.includes(stem));
  }
  if (1 - missing.length / asked.length < minShare) return undefined;
  return passages.filter((passage) => chosen.includes(passage));
}

function quoted(passage: string, asked: readonly string[]): string {
  // The heading stands before the first empty line.
  const text = passage.includes('\n\n') ? passage.slice(passage.indexOf('\n\n') + 2) : passage;
  if (text.length <= maxQuotedCharacters) return text.trim();
  const sentences = text.split(/(?<=[.!?])\s+/);
  const fits = sentences.map((sentence) => countIn(asked, sentence));
  return (sentences[fits.indexOf(Math.max(...fits))] ?? text).slice(0, maxQuotedCharacters).trim();
}

function rewritten(conversation: string, message: string): string {
  const asked = stemsOf(message);
  // A question about three things stands by itself.
  if (asked.length > 2) return message;
  const lines = conversation.split('\n').map((line) => JSON.parse(line) as { from: string; text: string });
  const before = lines.findLast(({ from }) => from === 'customer')?.text ?? '';
  return `${message} ${before}`.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
}
