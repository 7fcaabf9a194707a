import { Embedder, type EmbedOptions } from '@answerline/language-model';

/** An embedding model that can be held up: what happens while it works is then up to the test. */
export class GatedEmbedder extends Embedder {
  readonly #model: Embedder;
  #gate: { readonly reached: PromiseWithResolvers<void>; readonly open: PromiseWithResolvers<void> } | undefined;

  constructor(model: Embedder) {
    super();
    this.#model = model;
  }

  get model(): string {
    return this.#model.model;
  }

  /** The next call waits. `reached` resolves when it has come; `open` lets it go on. */
  hold(): { readonly reached: Promise<void>; readonly open: () => void } {
    const gate = { reached: Promise.withResolvers<void>(), open: Promise.withResolvers<void>() };
    this.#gate = gate;
    return { reached: gate.reached.promise, open: () => gate.open.resolve() };
  }

  dimensions(signal: AbortSignal): Promise<number> {
    return this.#model.dimensions(signal);
  }

  async embed(texts: readonly string[], options: EmbedOptions): Promise<number[][]> {
    const gate = this.#gate;
    this.#gate = undefined;
    if (gate) {
      const { signal } = options;
      signal.addEventListener('abort', () => gate.open.reject(signal.reason as Error), { once: true });
      gate.reached.resolve();
      await gate.open.promise;
    }
    return this.#model.embed(texts, options);
  }
}
