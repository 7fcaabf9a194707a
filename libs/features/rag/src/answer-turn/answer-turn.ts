import { TURN_LEASE_RENEWAL_MS } from '@answerline/conversation-rules';
import { toAppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type Database } from '@answerline/persistence';
import { startLease } from '@answerline/work-queue';
import { ANSWER_WITHIN_MS, type MakeAnswer } from '../make-answer/make-answer.ts';
import { type Receipt } from '../make-answer/receipt.ts';
import { claimTurns, giveBack, renewLease, stepBack, type Standing } from './claim-turns.ts';
import { commitTurn } from './commit-turn.ts';
import { decideWithoutAnswer, languageOf, questionOf, resultOf, type TurnResult } from './decide-turn.ts';
import { readHistory } from './read-history.ts';
import { readTurns, type Turn } from './read-turn.ts';

/** Postgres was away when the turn was to be stored; the lease would lapse later than this. */
const GIVE_BACK_FOR_MS = 2_000;

/** What became of a claimed turn. */
export type TurnEnd = 'committed' | 'stopped' | 'stepped_back' | 'given_back';

/** Answers claimed turns. Each ends in one stored outcome, or is given back. */
export class AnswerTurn {
  readonly #database: Database;
  readonly #makeAnswer: MakeAnswer;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #renewEveryMs: number;
  readonly #answerWithinMs: number;

  constructor(parts: {
    readonly database: Database;
    readonly makeAnswer: MakeAnswer;
    readonly logger: Logger;
    /** Milliseconds from any start; for durations only. */
    readonly now?: () => number;
    /** Shorter ones, for tests. */
    readonly renewEveryMs?: number;
    readonly answerWithinMs?: number;
  }) {
    this.#database = parts.database;
    this.#makeAnswer = parts.makeAnswer;
    this.#logger = parts.logger;
    this.#now = parts.now ?? (() => performance.now());
    this.#answerWithinMs = parts.answerWithinMs ?? ANSWER_WITHIN_MS;
    this.#renewEveryMs = parts.renewEveryMs ?? TURN_LEASE_RENEWAL_MS;
  }

  /** Whether its turns mostly wait for a model. */
  get usesModel(): boolean {
    return this.#makeAnswer.answerer.usesModel;
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
    const endsAt = this.#now() + this.#answerWithinMs;
    try {
      for (let turn: Turn | undefined = claimed; turn; [turn] = await readTurns(this.#database, [turn])) {
        const { standing, result, receipt } = await this.#decide(turn, signal, endsAt);
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
    endsAt: number,
  ): Promise<{ standing: Standing; result: TurnResult; receipt: Receipt | null }> {
    const early = decideWithoutAnswer(turn);
    if (early) return { standing: 'keep', result: early, receipt: null };

    let standing: Standing = 'keep';
    const superseded = new AbortController();
    const lease = startLease({
      everyMs: this.#renewEveryMs,
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
      const { result, receipt } = await this.#answer(turn, AbortSignal.any([signal, superseded.signal]), endsAt);
      return { standing, result, receipt };
    } catch (error) {
      if (superseded.signal.aborted) return { standing, result: resultOf(turn, 'fallback'), receipt: null };
      throw error;
    } finally {
      lease.stop();
    }
  }

  /** The answer of the knowledge base, or the honest fallback. */
  async #answer(
    turn: Turn,
    signal: AbortSignal,
    endsAt: number,
  ): Promise<{ result: TurnResult; receipt: Receipt | null }> {
    const made = await this.#makeAnswer.execute(
      {
        workspaceId: turn.workspaceId,
        chatbotId: turn.chatbotId,
        question: questionOf(turn),
        language: languageOf(turn),
        instructions: turn.instructions,
        showSources: turn.showSources,
        readHistory: () => readHistory(this.#database, turn),
      },
      signal,
      endsAt - this.#now(),
    );
    if (made === undefined) return { result: resultOf(turn, 'fallback'), receipt: null };
    const { answer, receipt } = made;
    return answer.kind === 'answer'
      ? { result: { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: answer.text } }, receipt }
      : { result: resultOf(turn, 'abstained'), receipt };
  }
}
