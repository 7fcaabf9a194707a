import {
  searchableText,
  type IndexedPassage,
  type IndexVersion,
  type KnowledgeIndex,
} from '@answerline/knowledge-index';
import { type Embedder } from '@answerline/language-model';
import { type Database } from '@answerline/persistence';
import { EmbeddingCache } from './embedding-cache.ts';
import { type ChatbotIds, type IndexParts } from './index-versions.ts';

/** Passages of one read from Postgres and one write to the index: at most 1.5 MB of text and 12 MB of vectors. */
const PAGE_SIZE = 500;

/** A source, and whose it is. */
export interface SourceIds extends ChatbotIds {
  readonly sourceId: string;
}

/** Passages in the order of their documents. A document comes whole, unless it was deleted meanwhile. */
export interface PassagePage {
  readonly passages: readonly IndexedPassage[];
  /** The document of each source in this page. */
  readonly documents: ReadonlyMap<string, string>;
}

/**
 * Brings passages from Postgres, where the truth is, into versions of the index. Any number may write at once, in any process, under
 * one rule: write what Postgres says, then look again; if Postgres says something else now, write again.
 */
export class PassageWriter {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #embedder: Embedder | null;
  readonly #cache: EmbeddingCache | undefined;

  constructor({ database, index, embedder }: IndexParts) {
    this.#database = database;
    this.#index = index;
    this.#embedder = embedder;
    this.#cache = embedder === null ? undefined : new EmbeddingCache(database, embedder);
  }

  /** Whether this process can put passages into the version: it has its field design and its model. */
  async canFill({ mapping, embedding }: IndexVersion, signal: AbortSignal): Promise<boolean> {
    if (mapping !== this.#index.mapping) return false;
    if (embedding === undefined) return true;
    if (this.#embedder?.model !== embedding.model) return false;
    return (await this.#embedder.dimensions(signal)) === embedding.dimensions;
  }

  /** Puts the vectors of these texts into the cache. */
  async embed(
    workspaceId: string,
    texts: readonly string[],
    { embedding }: IndexVersion,
    signal: AbortSignal,
  ): Promise<void> {
    for (let start = 0; embedding && start < texts.length; start += PAGE_SIZE) {
      const page = texts.slice(start, start + PAGE_SIZE);
      await this.#cache?.vectorsOf(workspaceId, page, { dimensions: embedding.dimensions, signal });
    }
  }

  /** The passages of a chatbot, or of one of its documents, with the vectors that `version` wants. */
  async *pages(
    version: IndexVersion,
    { workspaceId, chatbotId, documentId }: ChatbotIds & { readonly documentId?: string },
    signal: AbortSignal,
  ): AsyncGenerator<PassagePage> {
    let after: readonly [documentId: string, ordinal: number] = ['00000000-0000-0000-0000-000000000000', 0];
    for (;;) {
      signal.throwIfAborted();
      const rows = await this.#database.query<{
        id: string;
        source_id: string;
        document_id: string;
        ordinal: number;
        title: string;
        heading_path: string[];
        text: string;
      }>(
        `SELECT p.id, p.source_id, p.document_id, p.ordinal, p.title, p.heading_path, p.text
         FROM passages p JOIN sources s ON s.id = p.source_id AND s.state <> 'deleting'
         WHERE p.workspace_id = $1 AND p.chatbot_id = $2 AND (p.document_id, p.ordinal) > ($3::uuid, $4::int)
           ${documentId === undefined ? '' : 'AND p.document_id = $6::uuid'}
         ORDER BY p.document_id, p.ordinal LIMIT $5`,
        [workspaceId, chatbotId, ...after, PAGE_SIZE, ...(documentId === undefined ? [] : [documentId])],
      );
      const last = rows.at(-1);
      if (last === undefined) return;
      after = [last.document_id, last.ordinal];
      const plain = rows.map((row) => ({
        passageId: row.id,
        sourceId: row.source_id,
        title: row.title,
        headingPath: row.heading_path,
        text: row.text,
      }));
      yield {
        passages: await this.#withVectors(workspaceId, plain, version, signal),
        documents: new Map(rows.map((row) => [row.source_id, row.document_id])),
      };
      if (rows.length < PAGE_SIZE) return;
    }
  }

  /**
   * Makes the version hold what Postgres says of this source, and returns the document that it read; `undefined` when the source is gone
   * or going, and now out of the index. The caller looks again.
   */
  async writeSource(version: IndexVersion, source: SourceIds, signal: AbortSignal): Promise<string | undefined> {
    const documentId = (await this.documents(source)).get(source.sourceId);
    await this.#index.deleteBySource(version, source.sourceId);
    if (documentId === undefined) return undefined;
    for await (const { passages } of this.pages(version, { ...source, documentId }, signal)) {
      await this.#index.addPassages(version, passages);
    }
    return documentId;
  }

  /** The document of each of the chatbot's sources that is to be found, or of this source alone. */
  async documents({
    workspaceId,
    chatbotId,
    sourceId,
  }: ChatbotIds & { readonly sourceId?: string }): Promise<Map<string, string>> {
    const rows = await this.#database.query<{ source_id: string; document_id: string }>(
      `SELECT s.id AS source_id, d.id AS document_id
       FROM sources s JOIN documents d ON d.workspace_id = s.workspace_id AND d.source_id = s.id
       WHERE s.workspace_id = $1 AND s.chatbot_id = $2 AND s.state <> 'deleting'
         ${sourceId === undefined ? '' : 'AND s.id = $3::uuid'}`,
      [workspaceId, chatbotId, ...(sourceId === undefined ? [] : [sourceId])],
    );
    return new Map(rows.map((row) => [row.source_id, row.document_id]));
  }

  async #withVectors(
    workspaceId: string,
    passages: readonly IndexedPassage[],
    { embedding }: IndexVersion,
    signal: AbortSignal,
  ): Promise<readonly IndexedPassage[]> {
    if (embedding === undefined || this.#cache === undefined) return passages;
    const texts = passages.map(searchableText);
    const vectors = await this.#cache.vectorsOf(workspaceId, texts, { dimensions: embedding.dimensions, signal });
    return passages.map((passage, i) => ({ ...passage, vector: vectors[i] ?? [] }));
  }
}
