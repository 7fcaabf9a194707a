import type { Embedding, IndexVersion } from './index-version.ts';

/** A passage as the index takes it. The text itself is read from Postgres again: the index answers with ids. */
export interface IndexedPassage {
  readonly passageId: string;
  readonly sourceId: string;
  /** Title of the source. */
  readonly title: string;
  /** The headings above the passage, outermost first. */
  readonly headingPath: readonly string[];
  readonly text: string;
  /** As many finite numbers as the version's embedding has dimensions, of any length but 0; left out in a lexical version. */
  readonly vector?: readonly number[];
}

/** `k`: how many passages of each list are wanted, at most {@link maxSearchResults}. */
export interface KnowledgeQuery {
  readonly text: string;
  readonly vector?: readonly number[];
  readonly k: number;
}

/** `rank` counts from 1. `score` is BM25, or the cosine: comparable within one list only. */
export interface RankedPassage {
  readonly passageId: string;
  readonly rank: number;
  readonly score: number;
}

/** Both lists best first. `vector` is empty for a lexical version or a query without a vector. Fusing them is the caller's. */
export interface KnowledgeHits {
  readonly lexical: readonly RankedPassage[];
  readonly vector: readonly RankedPassage[];
}

/** What keeps an index. Which one holds a chatbot's live version stands in Postgres. */
export type KnowledgeEngine = 'lancedb' | 'elasticsearch';

/** Most passages a list of one search may have. */
export const maxSearchResults = 1_000;

/**
 * Searches a chatbot's passages. Port and DI token in one. Each chatbot's versions stand apart, so that what another tenant writes
 * changes no score. The index holds no truth: it can be filled again from Postgres at any time.
 *
 * Every text is data: no query language, no escape a caller must know. Methods throw `Transient` `knowledge_index_unavailable` when
 * the index cannot be reached or read, and `Unexpected` for a caller's bug (`index_version_invalid`, `vector_invalid`,
 * `search_limit_invalid`, `knowledge_index_read_only`, `knowledge_index_refused`).
 */
export abstract class KnowledgeIndex {
  abstract readonly engine: KnowledgeEngine;

  /** Number of this implementation's field design, raised when passages must be indexed anew. */
  abstract readonly mapping: number;

  /** The version to read and write now for this chatbot. */
  versionFor(chatbotId: string, embedding?: Embedding): IndexVersion {
    return { chatbotId, mapping: this.mapping, ...(embedding === undefined ? {} : { embedding }) };
  }

  /** Makes the version if it is not there. Safe to repeat, and repairs one whose making was cut short. */
  abstract ensure(version: IndexVersion): Promise<void>;

  /**
   * Adds passages, replacing those with the same id; the next search finds them, in this process and in others. The version is made
   * if need be. Cut short it has stored whole batches: repeating it is safe.
   */
  abstract addPassages(version: IndexVersion, passages: readonly IndexedPassage[]): Promise<void>;

  /**
   * Fills the version anew, beside what it holds: `batches` go into a fresh copy, which takes the version's place in one step when they
   * end. Until then searches find the old passages. What is written to the version meanwhile may be lost: whoever calls this compares
   * with Postgres afterwards. When `batches` throws, which this then throws too, or the process dies, the old copy stands and the
   * half-made one is cleared away later. A version that is dropped meanwhile stays dropped.
   */
  abstract rebuild(version: IndexVersion, batches: AsyncIterable<readonly IndexedPassage[]>): Promise<void>;

  /** Deletes every passage of a source, from the disk too (Elasticsearch: a minute later). Nothing happens when there is none. */
  abstract deleteBySource(version: IndexVersion, sourceId: string): Promise<void>;

  /** Deletes these passages, from the disk too as {@link deleteBySource}. Unknown ids are passed over. */
  abstract deletePassages(version: IndexVersion, passageIds: readonly string[]): Promise<void>;

  /** The best passages for a text and a vector. Empty lists for a version that does not exist, and for a text without a word. */
  abstract search(version: IndexVersion, query: KnowledgeQuery): Promise<KnowledgeHits>;

  /** How many passages the version holds; 0 when it does not exist. */
  abstract count(version: IndexVersion): Promise<number>;

  /** Deletes the version and its files. Nothing happens when it does not exist. */
  abstract drop(version: IndexVersion): Promise<void>;

  /** All versions, or those of one chatbot, ordered by name. */
  abstract listVersions(chatbotId?: string): Promise<IndexVersion[]>;

  /** Resolves when the index answers, for readiness; else throws `Transient` `knowledge_index_unavailable`. */
  abstract health(): Promise<void>;

  /** Waits for writes under way and gives everything back. Later calls are refused; closing again does nothing. */
  abstract close(): Promise<void>;
}
