import { setTimeout as delay } from 'node:timers/promises';
import { TURN_LEASE_RENEWAL_MS } from '@answerline/conversation-rules';
import { toAppError } from '@answerline/errors';
import { type KnowledgeIndex } from '@answerline/knowledge-index';
import { type Answerer } from '@answerline/language-model';
import { type Logger } from '@answerline/logging';
import { type Database } from '@answerline/persistence';
import { startLease } from '@answerline/work-queue';
import { claimTurns, giveBack, renewLease, stepBack, type Standing } from './claim-turns.ts';
import { commitTurn } from './commit-turn.ts';
import { decideWithoutAnswer, languageOf, questionOf, resultOf, type TurnResult } from './decide-turn.ts';
import { findPassages } from './find-passages.ts';
import { readTurns, type Turn } from './read-turn.ts';
import { type Receipt } from './receipt.ts';

/** How long things may take, in ms. */
const LIMITS = {
  /** A turn that could not be answered this long after its claim gets the honest fallback. */
  answerWithinMs: 25_000,
  /** Pause before an answer that failed for want of the index or the model is tried again. */
  retryAfterMs: 1_000,
  renewLeaseEveryMs: TURN_LEASE_RENEWAL_MS,
} as const;
/** Postgres was away when the turn was to be stored; the lease would lapse later than this. */
const GIVE_BACK_FOR_MS = 2_000;

/** What became of a claimed turn. */
export type TurnEnd = 'committed' | 'stopped' | 'stepped_back' | 'given_back';

/** Answers claimed turns. Each ends in one stored outcome, or is given back. */
export class AnswerTurn {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #answerer: Answerer;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #limits: Readonly<Record<keyof typeof LIMITS, number>>;

  constructor(parts: {
    readonly database: Database;
    readonly index: KnowledgeIndex;
    readonly answerer: Answerer;
    readonly logger: Logger;
    /** Milliseconds from any start; for durations only. */
    readonly now?: () => number;
    /** Shorter ones, for tests. */
    readonly limits?: Partial<Record<keyof typeof LIMITS, number>>;
  }) {
    this.#database = parts.database;
    this.#index = parts.index;
    this.#answerer = parts.answerer;
    this.#logger = parts.logger;
    this.#now = parts.now ?? (() => performance.now());
    this.#limits = { ...LIMITS, ...parts.limits };
  }

  /** Takes up to `limit` due turns, so that nobody else does. */
  async claim(limit: number): Promise<Turn[]> {
    const claims = await claimTurns(this.#database, limit);
    return claims.length === 0 ? [] : readTurns(this.#database, claims);
  }

  /**
   * Answers one claimed turn. `signal` ends it early and gives it back. Throws only what is unexpected, after giving it back.
   */
  async execute(claimed: Turn, signal: AbortSignal): Promise<TurnEnd> {
    const deadline = AbortSignal.timeout(this.#limits.answerWithinMs);
    try {
      for (let turn: Turn | undefined = claimed; turn; [turn] = await readTurns(this.#database, [turn])) {
        const { standing, result, receipt } = await this.#decide(turn, signal, deadline);
        if (standing === 'stop') return 'stopped';
        const verdict = standing === 'again' ? standing : await commitTurn(this.#database, turn, result, receipt);
        this.#logger.info(
          { conversationId: turn.conversationId, first: turn.first, last: turn.read, outcome: result.outcome, verdict },
          'Turn decided',
        );
        if (verdict === 'committed') return 'committed';
        if (verdict === 'stop') return 'stopped';
        if (await stepBack(this.#database, turn)) return 'stepped_back';
      }
      return 'stopped';
    } catch (error) {
      await giveBack(this.#database, claimed, signal.aborted ? 0 : GIVE_BACK_FOR_MS).catch(() => undefined);
      if (signal.aborted || toAppError(error).kind === 'transient') {
        this.#logger.warn({ err: error, conversationId: claimed.conversationId }, 'Turn given back');
        return 'given_back';
      }
      throw error;
    }
  }

  async #decide(
    turn: Turn,
    signal: AbortSignal,
    deadline: AbortSignal,
  ): Promise<{ standing: Standing; result: TurnResult; receipt: Receipt | null }> {
    const early = decideWithoutAnswer(turn);
    if (early) return { standing: 'keep', result: early, receipt: null };

    let standing: Standing = 'keep';
    const superseded = new AbortController();
    const lease = startLease({
      everyMs: this.#limits.renewLeaseEveryMs,
      renew: async () => {
        standing = await renewLease(this.#database, turn);
        if (standing === 'again') superseded.abort();
        return standing !== 'stop';
      },
      onLost: () => {
        standing = 'stop';
        superseded.abort();
      },
    });
    try {
      const { result, receipt } = await this.#answer(turn, signal, deadline, superseded.signal);
      return { standing, result, receipt };
    } catch (error) {
      if (superseded.signal.aborted) return { standing, result: resultOf(turn, 'fallback'), receipt: null };
      throw error;
    } finally {
      lease.stop();
    }
  }

  /** The answer, tried again until the deadline; then, or when it fails for good, the honest fallback. */
  async #answer(
    turn: Turn,
    stopping: AbortSignal,
    deadline: AbortSignal,
    superseded: AbortSignal,
  ): Promise<{ result: TurnResult; receipt: Receipt | null }> {
    const signal = AbortSignal.any([stopping, deadline, superseded]);
    for (;;) {
      try {
        return await this.#tryToAnswer(turn, signal);
      } catch (error) {
        if (stopping.aborted || superseded.aborted) throw error;
        const isWorthAnotherTry = toAppError(error).kind === 'transient' && !deadline.aborted;
        const level = isWorthAnotherTry || deadline.aborted ? 'warn' : 'error';
        this.#logger[level]({ err: error, conversationId: turn.conversationId }, 'An answer could not be made');
        if (!isWorthAnotherTry) return { result: resultOf(turn, 'fallback'), receipt: null };
        await delay(this.#limits.retryAfterMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #tryToAnswer(turn: Turn, signal: AbortSignal): Promise<{ result: TurnResult; receipt: Receipt }> {
    const question = questionOf(turn);
    const startedAt = this.#now();
    const found = await abortable(() => findPassages(this.#index, this.#database, turn, question), signal);
    const foundAt = this.#now();
    const answer = await this.#answerer.answer({
      question,
      history: [],
      passages: found.map(({ passage }) => passage),
      language: languageOf(turn),
      instructions: turn.instructions,
      signal,
    });
    const cited = new Set(answer.kind === 'answer' ? answer.citedPassageIds : []);
    const receipt: Receipt = {
      question,
      passages: found.map(({ receipt: passage }) => ({ ...passage, cited: cited.has(passage.passageId) })),
      model: answer.model,
      usage: answer.usage,
      timings: { searchMs: round(foundAt - startedAt), answerMs: round(this.#now() - foundAt) },
    };
    const result: TurnResult =
      answer.kind === 'answer'
        ? { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: answer.text } }
        : resultOf(turn, 'abstained');
    return { result, receipt };
  }
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
