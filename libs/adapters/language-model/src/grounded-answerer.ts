import { Transient } from '@answerline/errors';
import { isAskingNothing } from './asking-nothing.ts';
import {
  Answerer,
  type Answer,
  type AnswerPassage,
  type AnswerRequest,
  type FollowUp,
  type ModelUse,
  type RewrittenQuestion,
} from './answerer.ts';
import type { ChatCompletion, ChatModel, ChatRequest, TokenUsage } from './chat-model.ts';
import { answerPrompt, askAgain, promptVersion, rewritePrompt } from './grounded-prompt.ts';
import { readAnswer, spokenSoFar } from './read-answer.ts';
import { sourceLine, withSourceLines } from './source-lines.ts';

/** The prompt asks for 120 words; scripts that take more tokens a word need three times those of English. */
const maxAnswerTokens = 700;
/** A line of 300 characters. */
const maxRewriteTokens = 200;
const maxRewriteCharacters = 300;
/** A rewritten question only finds better passages: a turn of 25 s has other things to do than to wait for it. */
const rewriteWithinMs = 4_000;

/** Price of a million tokens, in the operator's currency. */
export interface ModelPrices {
  readonly input: number;
  readonly output: number;
}

/**
 * Answers with a chat model that speaks from the passages only: an answer that cites none of them is asked for once more, then
 * it is an abstention. Marks of citation never get to the contact.
 */
export class GroundedAnswerer extends Answerer {
  readonly usesModel = true;
  readonly #model: ChatModel;
  readonly #prices: ModelPrices | undefined;
  readonly #rewriteWithinMs: number;

  constructor(options: {
    readonly model: ChatModel;
    readonly prices?: ModelPrices | undefined;
    /** Shorter, for tests. */
    readonly rewriteWithinMs?: number;
  }) {
    super();
    this.#model = options.model;
    this.#prices = options.prices;
    this.#rewriteWithinMs = options.rewriteWithinMs ?? rewriteWithinMs;
  }

  /** One short call. Whatever comes of it but a question, in time, is `undefined`: then the question is searched for as it is. */
  async rewrite({ question, history, signal, onWasted }: FollowUp): Promise<RewrittenQuestion | undefined> {
    if (question.length > maxRewriteCharacters) return undefined;
    const { messages, codes } = rewritePrompt({ question, history });
    try {
      const completion = await this.#model.complete({
        messages,
        maxOutputTokens: maxRewriteTokens,
        signal: AbortSignal.any([signal, AbortSignal.timeout(this.#rewriteWithinMs)]),
        onWasted: (usage) => onWasted?.(this.#use([{ usage }])),
      });
      const text = completion.text.trim().replace(/^["'“«](.*)["'”»]$/s, '$1');
      const isQuestion = text.length <= maxRewriteCharacters && !/[\n\r]/.test(text) && /[\p{L}\p{N}]/u.test(text);
      if (completion.finishReason !== 'stop' || !isQuestion || codes.some((code) => text.includes(code))) {
        onWasted?.(this.#use([completion]));
        return undefined;
      }
      return { text, ...this.#use([completion]) };
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  /** Also throws Transient `model_answer_unusable`. Of an answer that is asked for again, `onText` hears the first try. */
  async answer(request: AnswerRequest): Promise<Answer> {
    const { question, signal, mayHandOff = false } = request;
    signal.throwIfAborted();
    // Whether a human is wanted has nothing to do with what was found.
    if (request.passages.length === 0 && !mayHandOff && !isAskingNothing(question)) {
      return { kind: 'abstain', promptVersion, ...this.#use([]) };
    }
    const { messages, passages, codes } = answerPrompt(request);
    const asked = { question, passageCount: passages.length, codes, mayHandOff };
    const listener = new Listener(request.onText);
    const waste = (calls: readonly PaidCall[]): void => request.onWasted?.(this.#use(calls));
    const complete = (more: Pick<ChatRequest, 'messages' | 'onText'>) =>
      this.#model.complete({
        maxOutputTokens: maxAnswerTokens,
        signal,
        onWasted: (usage) => waste([{ usage }]),
        ...more,
      });

    const first = await complete({ messages, ...listener.hearing });
    const completions = [first];
    let reading = readAnswer(first, asked);
    if (reading.verdict === 'again') {
      const second = await complete({ messages: askAgain(messages, first.text, reading.reason) }).catch(
        (error: unknown) => {
          waste(completions);
          throw error;
        },
      );
      completions.push(second);
      reading = readAnswer(second, asked);
    }
    const use = { promptVersion, ...this.#use(completions) };
    switch (reading.verdict) {
      case 'unusable':
        waste(completions);
        throw new Transient('model_answer_unusable', 'The chat model gave an answer that cannot be used.', {
          context: { reason: reading.reason },
        });
      case 'handoff':
        return { kind: 'handoff', ...use };
      case 'abstain':
      case 'again':
        return { kind: 'abstain', ...use };
      case 'answer': {
        listener.finish(reading.text);
        const cited = reading.cited.map((number) => passages[number - 1]).filter((passage) => passage !== undefined);
        const text = withSourceLines(reading.text, linksOf(cited));
        return { kind: 'answer', text, citedPassageIds: cited.map(({ passageId }) => passageId), ...use };
      }
    }
  }

  #use(completions: readonly PaidCall[]): ModelUse {
    const usage = completions.reduce<TokenUsage>((sum, { usage: one }) => added(sum, one), {
      inputTokens: 0,
      outputTokens: 0,
    });
    const { input, output } = this.#prices ?? {};
    // A price of a million tokens is millionths of the currency a token.
    const costMicros =
      input === undefined || output === undefined
        ? null
        : Math.round(usage.inputTokens * input + usage.outputTokens * output);
    return { model: completions.at(-1)?.model ?? this.#model.model, usage, costMicros };
  }
}

/** A call as far as its price goes; the model is not known when nothing came of it. */
type PaidCall = Pick<ChatCompletion, 'usage'> & Partial<Pick<ChatCompletion, 'model'>>;

const added = (a: TokenUsage, b: TokenUsage): TokenUsage => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  ...((a.isEstimated || b.isEstimated) && { isEstimated: true }),
});

/** Only of sources that have an address to show: the names of others say nothing to the contact. */
function linksOf(cited: readonly AnswerPassage[]): string[] {
  return cited.filter(({ sourceUrl }) => sourceUrl !== undefined).map(sourceLine);
}

/** Passes on what can be shown of a text that comes in pieces. */
class Listener {
  readonly #onText: AnswerRequest['onText'];
  #text = '';
  #passedOn = '';

  constructor(onText: AnswerRequest['onText']) {
    this.#onText = onText;
  }

  get hearing(): Pick<ChatRequest, 'onText'> {
    if (this.#onText === undefined) return {};
    return { onText: (piece) => this.#show(spokenSoFar((this.#text += piece))) };
  }

  /** The end of the text, which was held back as long as it could have become something else. */
  finish(text: string): void {
    if (this.#onText) this.#show(text);
  }

  #show(text: string): void {
    if (text.length <= this.#passedOn.length || !text.startsWith(this.#passedOn)) return;
    this.#onText?.(text.slice(this.#passedOn.length));
    this.#passedOn = text;
  }
}
