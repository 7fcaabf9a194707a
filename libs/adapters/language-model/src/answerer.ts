import type { TokenUsage } from './chat-model.ts';
import type { KnownLanguage, PassageWords } from './content-words.ts';

/** One earlier message of the conversation, without names or numbers. `human` is a member of the business's staff. */
export interface EarlierMessage {
  readonly author: 'contact' | 'ai' | 'human';
  readonly text: string;
}

/** A passage that was found. */
export interface AnswerPassage extends PassageWords {
  readonly passageId: string;
  /** Address to show with the answer: set only if the chatbot shows sources and the source has a public one. */
  readonly sourceUrl?: string;
}

/** What an answer is made of. The model sees nothing else. */
export interface AnswerRequest {
  /** What the contact asks, all messages of the turn. */
  readonly question: string;
  /** Oldest first. */
  readonly history: readonly EarlierMessage[];
  /** Best first. */
  readonly passages: readonly AnswerPassage[];
  /** The contact's language if it is known, else the chatbot's. */
  readonly language: KnownLanguage;
  /** The chatbot's own instructions. */
  readonly instructions: string;
  /** A human can be brought in: the answer may be `handoff`. Not so unless told. */
  readonly mayHandOff?: boolean;
  /** Ends the work early; the promise then rejects with its reason. */
  readonly signal: AbortSignal;
  /** Hears the answer's text piece by piece as it is written. What it heard is not yet checked: only the returned answer counts. */
  readonly onText?: (piece: string) => void;
  /** Hears what calls cost of which nothing came, as far as the model counted them. */
  readonly onWasted?: (use: ModelUse) => void;
}

/** A follow-up that is to be understood without what was said before. */
export interface FollowUp {
  readonly question: string;
  /** Oldest first, not empty. */
  readonly history: readonly EarlierMessage[];
  readonly signal: AbortSignal;
  /** As of an {@link AnswerRequest}. */
  readonly onWasted?: (use: ModelUse) => void;
}

/** What making something cost. `costMicros` is in millionths of the currency of the price settings; null without prices. */
export interface ModelUse {
  readonly model: string;
  readonly usage: TokenUsage;
  readonly costMicros: number | null;
}

/** A question that can be searched for as it stands. */
export interface RewrittenQuestion extends ModelUse {
  readonly text: string;
}

/**
 * An `answer` is Markdown; what is said to the contact with an `abstain`, or with a `handoff` to a human, is the caller's. The rest
 * is for the receipt: usage of all calls that were made for it, and the version of the prompt, null without one.
 */
export type Answer = ModelUse & { readonly promptVersion: string | null } & (
    | { readonly kind: 'answer'; readonly text: string; readonly citedPassageIds: readonly string[] }
    | { readonly kind: 'abstain' }
    | { readonly kind: 'handoff' }
  );

/**
 * Answers a question from passages, or abstains. Port and DI token in one. Never says what does not stand in a passage. Throws what
 * its {@link ChatModel} throws, if it has one.
 */
export abstract class Answerer {
  /** Whether a model writes the answers: then what was said before is worth reading, and a turn mostly waits for it. */
  abstract readonly usesModel: boolean;

  /**
   * The question as it would be asked by someone who starts with it, unchanged when it stands by itself; `undefined` when this answerer
   * has no means to, or nothing usable came of it. It is for searching only: what is answered is what was asked. Throws only the
   * signal's reason.
   */
  abstract rewrite(followUp: FollowUp): Promise<RewrittenQuestion | undefined>;

  abstract answer(request: AnswerRequest): Promise<Answer>;
}
