import { type ModelUse } from '@answerline/language-model';

/** How a reply came about. Tokens and cost are of all calls that were made for it. */
export interface Receipt extends ModelUse {
  readonly question: string;
  /** What was searched for instead, when the question was a follow-up. */
  readonly rewrittenQuestion: string | null;
  readonly searchMode: 'hybrid' | 'lexical';
  readonly passages: readonly ReceiptPassage[];
  readonly promptVersion: string | null;
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
