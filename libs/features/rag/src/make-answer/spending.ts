import { type TokenUsage } from '@answerline/language-model';
import { type TokenSpend } from '@answerline/persistence';

/** What one call of a model cost, or several. */
export interface ModelCost {
  readonly usage: TokenUsage;
  /** Millionths of the currency of the price settings; null without prices. */
  readonly costMicros: number | null;
}

/** Adds up what was spent. */
export class Spending {
  #inputTokens = 0;
  #outputTokens = 0;
  #costMicros: number | null = 0;

  readonly add = ({ usage, costMicros }: ModelCost): void => {
    this.#inputTokens += usage.inputTokens;
    this.#outputTokens += usage.outputTokens;
    this.#costMicros = this.#costMicros === null || costMicros === null ? null : this.#costMicros + costMicros;
  };

  /** Null when no token was spent. */
  get total(): TokenSpend | null {
    if (this.#inputTokens + this.#outputTokens === 0) return null;
    return { inputTokens: this.#inputTokens, outputTokens: this.#outputTokens, costMicros: this.#costMicros };
  }
}
