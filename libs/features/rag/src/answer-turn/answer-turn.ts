import { TURN_LEASE_RENEWAL_MS } from '@answerline/conversation-rules';
import { toAppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { countTokens, type Database } from '@answerline/persistence';
import { startLease } from '@answerline/work-queue';
import { ANSWER_WITHIN_MS, type MakeAnswer } from '../make-answer/make-answer.ts';
import { type Receipt } from '../make-answer/receipt.ts';
import { Spending } from '../make-answer/spending.ts';
import { claimTurns, giveBack, renewLease, stepBack, type Standing } from './claim-turns.ts';
import { commitTurn } from './commit-turn.ts';
import { decideWithoutAnswer, languageOf, questionOf, resultOf, type TurnResult } from './decide-turn.ts';
import { readHistory } from './read-history.ts';
import { readTurns, type Turn } from './read-turn.ts';

/** Postgres was away when the turn was to be stored; the lease would lapse later than this. */
const GIVE_BACK_FOR_MS = 2_000;

/** What became of a claimed turn. `handed_off`: committed, and a human is to be told. */
export type TurnEnd = 'committed' | 'handed_off' | 'stopped' | 'stepped_back' | 'given_back';

/** Answers claimed turns. Each ends in one stored outcome, or is given back. */
export class AnswerTurn {
  readonly #database: Database;
  readonly #makeAnswer: MakeAnswer;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #renewEveryMs: number;
  readonly #answerWithinMs: number;
  /** Claimed turns that are not over, by workspace. */
  readonly #held = new Map<string, number>();

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

  /** Takes up to `limit` due turns, so that nobody else does. Each that is returned has to be executed. */
  async claim(limit: number): Promise<Turn[]> {
    const claims = await claimTurns(this.#database, limit, this.#held);
    const turns = claims.length === 0 ? [] : await readTurns(this.#database, claims);
    for (const { workspaceId } of turns) this.#hold(workspaceId, 1);
    return turns;
  }

  /**
   * Answers one claimed turn. `signal` ends it early and gives it back. Throws only what is unexpected, after giving it back.
   */
  async execute(claimed: Turn, signal: AbortSignal): Promise<TurnEnd> {
    const endsAt = this.#now() + this.#answerWithinMs;
    const spending = new Spending();
    let isCounted = false;
    try {
      for (let turn: Turn | undefined = claimed; turn; [turn] = await readTurns(this.#database, [turn])) {
        const { standing, result, receipt } = await this.#decide(turn, signal, endsAt, spending);
        if (standing === 'stop') return 'stopped';
        const verdict =
          standing === 'again' ? standing : await commitTurn(this.#database, turn, result, receipt, spending.total);
        isCounted = verdict === 'committed';
        this.#logger.info(
          { conversationId: turn.conversationId, first: turn.first, last: turn.read, outcome: result.outcome, verdict },
          'Turn decided',
        );
        if (verdict === 'committed') return result.outcome === 'handed_off' ? 'handed_off' : 'committed';
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
    } finally {
      this.#hold(claimed.workspaceId, -1);
      if (!isCounted) await this.#countWasted(claimed, spending);
    }
  }

  #hold(workspaceId: string, change: 1 | -1): void {
    const held = (this.#held.get(workspaceId) ?? 0) + change;
    if (held > 0) this.#held.set(workspaceId, held);
    else this.#held.delete(workspaceId);
  }

  /** What was spent on an answer that was thrown away counts all the same. */
  async #countWasted(turn: Turn, { total }: Spending): Promise<void> {
    if (total === null) return;
    await this.#database
      .query(...countTokens(turn, total))
      .catch((error: unknown) => this.#logger.warn({ err: error, ...total }, 'Tokens could not be counted'));
  }

  async #decide(
    turn: Turn,
    signal: AbortSignal,
    endsAt: number,
    spending: Spending,
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
      const { result, receipt } = await this.#answer(
        turn,
        AbortSignal.any([signal, superseded.signal]),
        endsAt,
        spending,
      );
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
    spending: Spending,
  ): Promise<{ result: TurnResult; receipt: Receipt | null }> {
    const made = await this.#makeAnswer.execute(
      {
        workspaceId: turn.workspaceId,
        chatbotId: turn.chatbotId,
        question: questionOf(turn),
        language: languageOf(turn),
        instructions: turn.instructions,
        showSources: turn.showSources,
        mayHandOff: turn.hasHandoff && turn.handoffByModel,
        readHistory: () => readHistory(this.#database, turn),
        onSpent: spending.add,
      },
      signal,
      endsAt - this.#now(),
    );
    if (made === undefined) return { result: resultOf(turn, 'fallback'), receipt: null };
    const { answer, receipt } = made;
    switch (answer.kind) {
      case 'answer':
        return { result: { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: answer.text } }, receipt };
      case 'handoff':
        return { result: resultOf(turn, 'handed_off'), receipt };
      case 'abstain':
        return { result: resultOf(turn, 'abstained'), receipt };
    }
  }
}
