import { OpenAIEmbeddings } from '@langchain/openai';
import { Embedder, type EmbedOptions } from './embedder.ts';
import { EndpointCall, type EndpointWords, type OpenAiEndpoint } from './openai-endpoint.ts';

/** What one request may hold. */
const batch = {
  /** OpenAI takes 2,048, and servers of one's own far fewer; more than this gains nothing. */
  texts: 96,
  /** OpenAI takes 300,000 tokens, and none of its tokenizers makes more than 3 tokens of a UTF-16 unit. */
  characters: 100_000,
} as const;
/** Of one text. OpenAI refuses more than 8,192 tokens. A passage has at most 3,000 characters; of a long message this says enough. */
const maxTextCharacters = 8_000;
/** Of one answer: 96 vectors of 4,096 numbers with up to 24 characters each are 9.4 MB. */
const maxBytes = 16 * 1024 * 1024;

const words: EndpointWords = {
  code: 'embedder',
  name: 'embedding model',
  settings: { key: 'EMBEDDING_API_KEY', model: 'EMBEDDING_MODEL', url: 'EMBEDDING_BASE_URL' },
};

/** LangChain's embeddings with their order checked: it takes vectors in the order in which they come. */
class OneRequest extends OpenAIEmbeddings {
  /** The body as it came; floats, because many servers know no base64. */
  async send(input: string[]): Promise<unknown> {
    return this.embeddingWithRetry({ model: this.model, input, encoding_format: 'float' });
  }
}

/** An embedding model behind `/embeddings` of OpenAI, Azure (`…/openai/v1`), vLLM, Ollama and others. */
export class OpenAiEmbedder extends Embedder {
  readonly model: string;
  readonly #endpoint: OpenAiEndpoint;
  #dimensions: number | undefined;

  constructor(options: OpenAiEndpoint & { readonly model: string }) {
    super();
    this.model = options.model;
    this.#endpoint = options;
  }

  async dimensions(signal: AbortSignal): Promise<number> {
    if (this.#dimensions === undefined) await this.embed(['dimensions'], { purpose: 'passage', signal });
    return this.#dimensions ?? 0;
  }

  /** Also throws Transient `embedder_answer_unusable`, for vectors that are none or of another length than before. */
  async embed(texts: readonly string[], { signal }: EmbedOptions): Promise<number[][]> {
    const vectors: number[][] = [];
    for (const part of batchesOf(texts)) vectors.push(...(await this.#embedBatch(part, signal)));
    return vectors;
  }

  async #embedBatch(texts: string[], signal: AbortSignal): Promise<number[][]> {
    const call = new EndpointCall(this.#endpoint, words, { signal, maxBytes });
    const { configuration } = call;
    const request = new OneRequest({ model: this.model, apiKey: configuration.apiKey, configuration, maxRetries: 0 });
    const vectors = vectorsIn(await call.run(() => request.send(texts)), texts.length);
    const dimensions = this.#dimensions ?? vectors?.[0]?.length;
    if (!vectors?.every(({ length }) => length === dimensions)) throw call.unusable('not_the_vectors_asked_for');
    this.#dimensions = dimensions;
    return vectors;
  }
}

/** The texts as they are sent, parted by count and length. */
export function batchesOf(texts: readonly string[]): string[][] {
  const batches: string[][] = [];
  let characters = Infinity;
  for (const text of texts) {
    // An empty text and half a surrogate pair are refused.
    const sent = text.slice(0, maxTextCharacters).toWellFormed() || '-';
    characters += sent.length;
    const last = batches.at(-1);
    if (last === undefined || last.length >= batch.texts || characters > batch.characters) {
      batches.push([sent]);
      characters = sent.length;
    } else last.push(sent);
  }
  return batches;
}

/** The vectors of an answer in the order of the texts; `undefined` when it has not one sound vector for each. */
export function vectorsIn(body: unknown, count: number): number[][] | undefined {
  const data = (body as { data?: unknown } | null | undefined)?.data;
  if (!Array.isArray(data) || data.length !== count) return undefined;
  const vectors = new Map<unknown, number[]>();
  for (const [place, item] of (data as unknown[]).entries()) {
    const { index = place, embedding } = (item ?? {}) as { index?: unknown; embedding?: unknown };
    if (isVector(embedding)) vectors.set(index, embedding);
  }
  const ordered = Array.from({ length: count }, (_, place) => vectors.get(place));
  return ordered.every((vector) => vector !== undefined) ? ordered : undefined;
}

/** A vector of zeros has no direction, so nothing is near it. */
function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(Number.isFinite) && value.some((number) => number !== 0);
}
