/** Tokens of one call, as the model counted them. */
export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The model did not count, at least not all of them: this is a guess by the length of the texts. */
  readonly isEstimated?: true;
}

/** One message to the model. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** `signal` ends the call early: what came by then is thrown away, the promise rejects with the signal's reason. */
export interface ChatRequest {
  readonly messages: readonly ChatMessage[];
  readonly maxOutputTokens: number;
  readonly signal: AbortSignal;
  /** Hears the text piece by piece; without it the answer is fetched as a whole, which costs less. */
  readonly onText?: (piece: string) => void;
  /** Hears what a call cost whose answer cannot be used; the promise then rejects. */
  readonly onWasted?: (usage: TokenUsage) => void;
}

/** `model` is the id that answered, which an endpoint may choose itself. */
export interface ChatCompletion {
  readonly text: string;
  readonly model: string;
  readonly usage: TokenUsage;
  readonly finishReason: 'stop' | 'length' | 'content_filter' | 'other';
}

/**
 * A chat model. Port and DI token in one. Throws `Transient` `model_unavailable` when it cannot be reached, is busy or too slow, and
 * `InvalidInput` `model_refused` when it will never take this request.
 */
export abstract class ChatModel {
  /** Id that is asked for. */
  abstract readonly model: string;

  abstract complete(request: ChatRequest): Promise<ChatCompletion>;
}
