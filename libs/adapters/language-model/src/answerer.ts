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
  /** Ends the work early; the promise then rejects with its reason. */
  readonly signal: AbortSignal;
}

/** `model` and `usage` are for the receipt. An `answer` is Markdown; what an `abstain` says to the contact is the caller's. */
export type Answer =
  | {
      readonly kind: 'answer';
      readonly text: string;
      readonly citedPassageIds: readonly string[];
      readonly model: string;
      readonly usage: TokenUsage;
    }
  | { readonly kind: 'abstain'; readonly model: string; readonly usage: TokenUsage };

/**
 * Answers a question from passages, or abstains. Port and DI token in one. Never says what does not stand in a passage. Throws what
 * its {@link ChatModel} throws, if it has one.
 */
export abstract class Answerer {
  abstract answer(request: AnswerRequest): Promise<Answer>;
}
