import { setTimeout as delay } from 'node:timers/promises';
import { toAppError, Transient } from '@answerline/errors';
import {
  type Answer,
  type Answerer,
  type EarlierMessage,
  type KnownLanguage,
  type RewrittenQuestion,
} from '@answerline/language-model';
import { type Logger } from '@answerline/logging';
import { type FindPassages, type PassageSearch } from '../find-passages/find-passages.ts';
import { type Receipt } from './receipt.ts';
import { Spending, type ModelCost } from './spending.ts';

/** From the claim of a turn, or the arrival of a question, to the honest fallback. */
export const ANSWER_WITHIN_MS = 25_000;
/** Pause before an answer that failed for want of the index or the model is tried again, unless that side asks for more. */
const RETRY_AFTER_MS = 1_000;
/** Answers of the model that cannot be used, until it is given up: unlike one that did not come, each is paid for. */
const UNUSABLE_MAX = 3;

/** A question to a chatbot, and what is known about who asks. */
export interface AskedQuestion {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly question: string;
  readonly language: KnownLanguage;
  readonly instructions: string;
  readonly showSources: boolean;
  /** Whether there is a human to hand over to, if the model finds that one is needed. */
  readonly mayHandOff?: boolean;
  /** What was said before, oldest first; read only for an answerer that can use it. */
  readonly readHistory: () => Promise<readonly EarlierMessage[]>;
  /** Hears the answer as it is written. An attempt that fails after it began to write is not tried again: it was heard. */
  readonly onText?: (piece: string) => void;
  /** Hears what calls of models cost, as soon as it is known: also of tries that came to nothing. */
  readonly onSpent?: (cost: ModelCost) => void;
}

/** An answer and how it came about. */
export interface MadeAnswer {
  readonly answer: Answer;
  readonly receipt: Receipt;
}

/** What an answer is made from. Kept over the tries of one answer: a model that fails is no reason to search again. */
interface Grounds {
  readonly history: readonly EarlierMessage[];
  readonly rewritten: RewrittenQuestion | undefined;
  readonly search: PassageSearch;
  readonly timings: Readonly<Record<string, number>>;
}

/** One of the tries of an answer. */
interface AnswerTry {
  readonly signal: AbortSignal;
  readonly onSpent: (cost: ModelCost) => void;
  /** Of all tries so far. */
  readonly spending: Spending;
  readonly onHeard: () => void;
}

/** Makes answers out of a chatbot's knowledge base: for turns, and for whoever asks over gRPC. */
export class MakeAnswer {
  readonly answerer: Answerer;
  readonly #findPassages: FindPassages;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #retryAfterMs: number;

  constructor(parts: {
    readonly findPassages: FindPassages;
    readonly answerer: Answerer;
    readonly logger: Logger;
    /** Milliseconds from any start; for durations only. */
    readonly now?: () => number;
    /** Shorter, for tests. */
    readonly retryAfterMs?: number;
  }) {
    this.answerer = parts.answerer;
    this.#findPassages = parts.findPassages;
    this.#logger = parts.logger;
    this.#now = parts.now ?? (() => performance.now());
    this.#retryAfterMs = parts.retryAfterMs ?? RETRY_AFTER_MS;
  }

  /**
   * The answer, tried again until `withinMs` are over; `undefined` then, and when it failed for good: the honest fallback is due.
   * Rejects only when `signal` ends the work, with the error that was met.
   */
  async execute(asked: AskedQuestion, signal: AbortSignal, withinMs: number): Promise<MadeAnswer | undefined> {
    const endsAt = this.#now() + withinMs;
    const deadline = AbortSignal.timeout(Math.max(0, Math.ceil(withinMs)));
    const either = AbortSignal.any([signal, deadline]);
    const spending = new Spending();
    const onSpent = (cost: ModelCost): void => {
      spending.add(cost);
      asked.onSpent?.(cost);
    };
    let grounds: Grounds | undefined;
    let unusable = 0;
    for (;;) {
      let wasHeard = false;
      try {
        grounds ??= await this.#prepare(asked, either, onSpent);
        return await this.#answer(asked, grounds, {
          signal: either,
          onSpent,
          spending,
          onHeard: () => (wasHeard = true),
        });
      } catch (error) {
        if (signal.aborted) throw error;
        const pauseMs = Math.max(retryAfterMs(error) ?? 0, this.#retryAfterMs);
        const { kind, code } = toAppError(error);
        const isTransient = deadline.aborted || kind === 'transient';
        if (code === 'model_answer_unusable') unusable += 1;
        this.#logger[isTransient ? 'warn' : 'error'](
          { err: error, chatbotId: asked.chatbotId },
          'An answer could not be made',
        );
        const isOver = wasHeard || unusable >= UNUSABLE_MAX || this.#now() + pauseMs >= endsAt;
        if (!isTransient || isOver) return undefined;
        await delay(pauseMs, undefined, { signal });
      }
    }
  }

  async #prepare(asked: AskedQuestion, signal: AbortSignal, onSpent: (cost: ModelCost) => void): Promise<Grounds> {
    const startedAt = this.#now();
    const history = this.answerer.usesModel ? await asked.readHistory() : [];
    const rewritten =
      history.length === 0
        ? undefined
        : await this.answerer.rewrite({ question: asked.question, history, signal, onWasted: onSpent });
    if (rewritten) onSpent(rewritten);
    const rewrittenAt = this.#now();
    const text = rewritten?.text ?? asked.question;
    const search = await abortable(() => this.#findPassages.execute(asked, text, { signal }), signal);
    return {
      history,
      rewritten,
      search,
      timings: { ...(history.length > 0 && { rewriteMs: round(rewrittenAt - startedAt) }), ...search.timings },
    };
  }

  async #answer(
    asked: AskedQuestion,
    { history, rewritten, search, timings }: Grounds,
    { signal, onSpent, spending, onHeard }: AnswerTry,
  ): Promise<MadeAnswer> {
    const startedAt = this.#now();
    const { onText } = asked;
    const answer = await this.answerer.answer({
      question: asked.question,
      history,
      passages: search.passages.map(({ passage }) => passage),
      language: asked.language,
      instructions: asked.instructions,
      mayHandOff: asked.mayHandOff ?? false,
      signal,
      onWasted: onSpent,
      ...(onText && {
        onText: (piece: string) => {
          onHeard();
          onText(piece);
        },
      }),
    });
    onSpent(answer);
    const { inputTokens = 0, outputTokens = 0, costMicros = answer.costMicros } = spending.total ?? {};
    const cited = new Set(answer.kind === 'answer' ? answer.citedPassageIds : []);
    const receipt: Receipt = {
      question: asked.question,
      rewrittenQuestion: rewritten?.text ?? null,
      searchMode: search.mode,
      passages: search.passages.map(({ receipt: passage }) => ({ ...passage, cited: cited.has(passage.passageId) })),
      promptVersion: answer.promptVersion,
      model: answer.model,
      usage: { inputTokens, outputTokens },
      costMicros,
      timings: { ...timings, answerMs: round(this.#now() - startedAt) },
    };
    return { answer, receipt };
  }
}

function retryAfterMs(error: unknown): number | undefined {
  return error instanceof Transient ? error.retryAfterMs : undefined;
}

const round = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;

/** The work's result, or a rejection as soon as the signal says so: an index that hangs must not hold a turn. */
async function abortable<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
