/** What the texts are: some models embed what is searched and what searches for it in two ways. */
export type EmbeddingPurpose = 'passage' | 'question';

export interface EmbedOptions {
  readonly purpose: EmbeddingPurpose;
  /** Ends the work early; the promise then rejects with its reason. */
  readonly signal: AbortSignal;
}

/**
 * Turns texts into vectors. Port and DI token in one; a process without an embedding model injects `null` and searches by words only.
 *
 * Methods throw `Transient` `embedder_unavailable` when the model cannot be reached, is busy (with `retryAfterMs` when it said so) or too
 * slow, and `InvalidInput` `embedder_refused` when it will never take this request (unknown model, wrong key).
 */
export abstract class Embedder {
  /** Public id of the model: vectors of two ids never meet. */
  abstract readonly model: string;

  /** How many numbers a vector has. Asks the model once, and remembers. */
  abstract dimensions(signal: AbortSignal): Promise<number>;

  /** One vector a text, in their order, each of {@link dimensions} finite numbers. Any number of texts; it makes batches of them. */
  abstract embed(texts: readonly string[], options: EmbedOptions): Promise<number[][]>;
}
