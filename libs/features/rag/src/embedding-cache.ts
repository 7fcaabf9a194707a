import { createHash } from 'node:crypto';
import { Unexpected } from '@answerline/errors';
import { type Embedder } from '@answerline/language-model';
import { type Database, type Sql } from '@answerline/persistence';

/**
 * Texts of one request to the model, stored when it answers: what is lost when a process dies. About 15,000 tokens, well below what
 * endpoints take (OpenAI: 300,000), and a few seconds of a model on the same machine.
 */
const TEXTS_AT_ONCE = 64;
/** How long a vector without a passage is kept: a model that is changed back within a week costs nothing. */
const UNUSED_DAYS = 7;
/** Rows of one statement of the sweep. */
const SWEEP_SIZE = 1_000;
const BYTES_PER_NUMBER = Float32Array.BYTES_PER_ELEMENT;

/**
 * Vectors of passages by workspace, model and text: a text that was embedded once is never paid for again while a passage has it.
 * Workspaces share nothing, so that nobody learns from a speed or a bill what another one has stored.
 */
export class EmbeddingCache {
  readonly #database: Database;
  readonly #embedder: Embedder;

  constructor(database: Database, embedder: Embedder) {
    this.#database = database;
    this.#embedder = embedder;
  }

  /**
   * A vector of `dimensions` numbers for each text, in their order: from the cache, else from the model, stored batch by batch.
   * Throws what the model throws, and Unexpected `embedding_invalid` when it gives vectors of another size.
   */
  async vectorsOf(
    workspaceId: string,
    texts: readonly string[],
    { dimensions, signal }: { readonly dimensions: number; readonly signal: AbortSignal },
  ): Promise<number[][]> {
    const textByHash = new Map(texts.map((text) => [hashOf(text).toString('hex'), text]));
    const vectors = await this.#cached(workspaceId, [...textByHash.keys()], dimensions);
    const missing = [...textByHash].filter(([hash]) => !vectors.has(hash));
    for (let start = 0; start < missing.length; start += TEXTS_AT_ONCE) {
      signal.throwIfAborted();
      const batch = missing.slice(start, start + TEXTS_AT_ONCE);
      const made = await this.#embedder.embed(
        batch.map(([, text]) => text),
        { purpose: 'passage', signal },
      );
      if (made.length !== batch.length || made.some(({ length }) => length !== dimensions)) {
        throw new Unexpected('embedding_invalid', 'The model gave other vectors than it says it makes.');
      }
      const entries = batch.map(([hash], i) => ({ hash, vector: Float32Array.from(made[i] ?? []) }));
      await this.#store(workspaceId, entries);
      // As they come out of the cache, so that the first and every later build hold the same numbers.
      for (const { hash, vector } of entries) vectors.set(hash, [...vector]);
    }
    return texts.map((text) => vectors.get(hashOf(text).toString('hex')) ?? []);
  }

  async #cached(workspaceId: string, hashes: readonly string[], dimensions: number): Promise<Map<string, number[]>> {
    const rows = await this.#database.query<{ hash: string; vector: Buffer }>(
      `SELECT encode(sha256, 'hex') AS hash, vector FROM embeddings
       WHERE workspace_id = $1 AND model = $2 AND sha256 = ANY(ARRAY(SELECT decode(h, 'hex') FROM unnest($3::text[]) AS h))
         AND length(vector) = $4`,
      [workspaceId, this.#embedder.model, hashes, dimensions * BYTES_PER_NUMBER],
    );
    return new Map(rows.map(({ hash, vector }) => [hash, toNumbers(vector)]));
  }

  /** In the order of the hashes, so that two who store the same texts do not lock each other out. */
  async #store(workspaceId: string, entries: readonly { hash: string; vector: Float32Array }[]): Promise<void> {
    const sorted = entries.toSorted((a, b) => (a.hash < b.hash ? -1 : 1));
    await this.#database.query(
      `INSERT INTO embeddings (workspace_id, model, sha256, vector)
       SELECT $1, $2, decode(e.hash, 'hex'), e.vector FROM unnest($3::text[], $4::bytea[]) AS e(hash, vector)
       ON CONFLICT (workspace_id, sha256, model) DO UPDATE SET vector = excluded.vector, last_used_at = now()`,
      [workspaceId, this.#embedder.model, sorted.map(({ hash }) => hash), sorted.map(({ vector }) => toBytes(vector))],
    );
  }
}

/** SHA-256 of a text as it is embedded. */
export function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Forgets the vectors of these documents' texts that no other passage of the workspace has. To be called before they are deleted. */
export async function forgetEmbeddings(sql: Sql, workspaceId: string, documentIds: readonly string[]): Promise<void> {
  await sql.query(
    `DELETE FROM embeddings e USING passages p
     WHERE p.workspace_id = $1 AND p.document_id = ANY($2::uuid[])
       AND e.workspace_id = $1 AND e.sha256 = p.embedded_sha256
       AND NOT EXISTS (SELECT 1 FROM passages other
                       WHERE other.workspace_id = $1 AND other.embedded_sha256 = p.embedded_sha256
                         AND other.document_id <> ALL($2::uuid[]))`,
    [workspaceId, documentIds],
  );
}

/**
 * Looks at vectors that nobody looked at for a week: those without a passage (their source was given up) and those of a model that no
 * index version of the workspace has are deleted. Returns whether there may be more.
 */
export async function sweepEmbeddings(sql: Sql): Promise<boolean> {
  const rows = await sql.query(
    `WITH old AS (
       SELECT e.workspace_id, e.sha256, e.model,
              EXISTS (SELECT 1 FROM passages p WHERE p.workspace_id = e.workspace_id AND p.embedded_sha256 = e.sha256)
              AND EXISTS (SELECT 1 FROM index_versions v WHERE v.workspace_id = e.workspace_id AND v.model = e.model) AS is_used
       FROM embeddings e WHERE e.last_used_at < now() - $1::int * interval '1 day'
       ORDER BY e.last_used_at LIMIT $2 FOR UPDATE OF e SKIP LOCKED),
     kept AS (
       UPDATE embeddings e SET last_used_at = now() FROM old
       WHERE old.is_used AND e.workspace_id = old.workspace_id AND e.sha256 = old.sha256 AND e.model = old.model),
     forgotten AS (
       DELETE FROM embeddings e USING old
       WHERE NOT old.is_used AND e.workspace_id = old.workspace_id AND e.sha256 = old.sha256 AND e.model = old.model)
     SELECT 1 FROM old`,
    [UNUSED_DAYS, SWEEP_SIZE],
  );
  return rows.length === SWEEP_SIZE;
}

/** Little-endian on every machine. */
function toBytes(vector: Float32Array): Buffer {
  const bytes = Buffer.alloc(vector.length * BYTES_PER_NUMBER);
  vector.forEach((number, i) => bytes.writeFloatLE(number, i * BYTES_PER_NUMBER));
  return bytes;
}

function toNumbers(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / BYTES_PER_NUMBER }, (_, i) => bytes.readFloatLE(i * BYTES_PER_NUMBER));
}
