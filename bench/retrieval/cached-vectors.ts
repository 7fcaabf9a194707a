import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Embedder, EmbeddingPurpose } from '@answerline/language-model';

/** Texts between two writes to the file: what a run that is cut short has to ask for again. */
const batchSize = 16;

/** What a line of the file holds: the vector as float32 in base64. */
interface StoredVector {
  readonly purpose: EmbeddingPurpose;
  readonly sha256: string;
  readonly vector: string;
}

type Asked = Pick<Embedder, 'model' | 'embed'>;

/** An embedder that asks for each text once, ever: vectors stay in a file for each model, by the hash of their text. */
export class CachedVectors {
  readonly model: string;
  readonly #embedder: Asked;
  readonly #file: string;
  readonly #onProgress: (line: string) => void;
  readonly #vectors: Map<string, number[]>;

  private constructor(
    embedder: Asked,
    file: string,
    vectors: Map<string, number[]>,
    onProgress: (line: string) => void,
  ) {
    this.model = embedder.model;
    this.#embedder = embedder;
    this.#file = file;
    this.#vectors = vectors;
    this.#onProgress = onProgress;
  }

  /** @param folder made if missing */
  static async open(
    embedder: Asked,
    folder: string,
    onProgress: (line: string) => void = () => {},
  ): Promise<CachedVectors> {
    await mkdir(folder, { recursive: true });
    const file = join(
      folder,
      `${embedder.model.replaceAll(/[^\w.-]/g, '_')}-${sha256(embedder.model).slice(0, 8)}.jsonl`,
    );
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    // What a killed run wrote half stays a line of its own, which is passed over.
    if (text !== '' && !text.endsWith('\n')) await appendFile(file, '\n');
    const stored = text.split('\n').flatMap(storedVectorIn);
    const vectors = new Map(stored.map((each) => [keyOf(each), fromBase64(each.vector)]));
    return new CachedVectors(embedder, file, vectors, onProgress);
  }

  /** One vector a text, in their order. */
  async of(texts: readonly string[], purpose: EmbeddingPurpose): Promise<number[][]> {
    const wanted = texts.map((text) => ({ text, purpose, sha256: sha256(text) }));
    const missing = [...new Map(wanted.map((each) => [keyOf(each), each])).values()].filter(
      (each) => !this.#vectors.has(keyOf(each)),
    );
    for (let start = 0; start < missing.length; start += batchSize) {
      await this.#ask(missing.slice(start, start + batchSize), purpose);
      if (start % (batchSize * 16) === 0) {
        this.#onProgress(`${Math.min(start + batchSize, missing.length)} of ${missing.length} texts are embedded`);
      }
    }
    return wanted.map((each) => this.#vectors.get(keyOf(each))!);
  }

  async #ask(batch: readonly { text: string; purpose: EmbeddingPurpose; sha256: string }[], purpose: EmbeddingPurpose) {
    const signal = new AbortController().signal;
    const texts = batch.map(({ text }) => text);
    const vectors = await this.#embedder.embed(texts, { purpose, signal });
    const lines = batch.map(({ sha256 }, position) => {
      const line: StoredVector = { purpose, sha256, vector: toBase64(vectors[position]!) };
      this.#vectors.set(keyOf(line), fromBase64(line.vector));
      return `${JSON.stringify(line)}\n`;
    });
    await appendFile(this.#file, lines.join(''));
  }
}

function storedVectorIn(line: string): StoredVector[] {
  try {
    return [JSON.parse(line) as StoredVector];
  } catch {
    return [];
  }
}

function keyOf({ purpose, sha256 }: Pick<StoredVector, 'purpose' | 'sha256'>): string {
  return `${purpose} ${sha256}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function toBase64(vector: readonly number[]): string {
  return Buffer.from(new Float32Array(vector).buffer).toString('base64');
}

/** As float32, so that a first run and a second one compare the same numbers. */
function fromBase64(text: string): number[] {
  const bytes = Buffer.from(text, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, position) => bytes.readFloatLE(position * 4));
}
