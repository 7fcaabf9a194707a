import { type TokenUsage } from '@answerline/language-model';

/** How a reply came about. */
export interface Receipt {
  readonly question: string;
  readonly passages: readonly ReceiptPassage[];
  readonly model: string;
  readonly usage: TokenUsage;
  /** Milliseconds by step. */
  readonly timings: Readonly<Record<string, number>>;
}

/** A passage that the answer was made from or that stood beside it. */
export interface ReceiptPassage {
  readonly passageId: string;
  /** Of its text, as it was then. */
  readonly sha256: string;
  readonly lexicalRank: number | null;
  readonly lexicalScore: number | null;
  readonly vectorRank: number | null;
  readonly vectorScore: number | null;
  readonly cited: boolean;
}
