import { Transient } from '@answerline/errors';
import { fuse, type FusedPassage, type IndexVersion, type KnowledgeIndex } from '@answerline/knowledge-index';
import { type AnswerPassage, type Embedder } from '@answerline/language-model';
import { type Logger } from '@answerline/logging';
import { type Database } from '@answerline/persistence';
import { isSameVersion, toVersion } from '../index-versions.ts';
import { type ReceiptPassage } from '../make-answer/receipt.ts';

/** Whose passages, and whether the answer may show where they come from. */
export interface SearchedChatbot {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly showSources: boolean;
}

/** A found passage as the answerer takes it, and as the receipt keeps it. `score` orders the list and says nothing beyond it. */
export interface FoundPassage {
  readonly passage: AnswerPassage;
  readonly sourceId: string;
  readonly score: number;
  readonly receipt: Omit<ReceiptPassage, 'cited'>;
}

/** Why a search went by words only: no model is set, it did not answer in time, or the vectors there are of another one. */
export type LexicalReason = 'no_embedding_model' | 'embedder_unavailable' | 'index_being_rebuilt';

/** What a search found, best first, how it searched, and how long its steps took. */
export interface PassageSearch {
  readonly passages: readonly FoundPassage[];
  readonly mode: 'hybrid' | 'lexical';
  /** Null when the mode is `hybrid`. */
  readonly lexicalReason: LexicalReason | null;
  readonly timings: { readonly embedMs: number; readonly searchMs: number; readonly readMs: number };
}

/** Passages of a search unless told. */
export const SEARCH_SIZE = 10;
/** Of each list: enough that a passage which only one of them knows well gets into the fused best. */
const LIST_SIZE = 50;
/** A question is one short text, which a model that is well embeds in under a second; a turn has 25 s for everything. */
const EMBED_WITHIN_MS = 3_000;
/** A build ends in one swap; two within one search are already a coincidence. */
const MAX_TRIES = 3;
/** Some hundred bytes each. */
const MAX_REMEMBERED = 10_000;

type QuestionVector =
  | { readonly vector: readonly number[]; readonly missing: null }
  | { readonly vector: null; readonly missing: LexicalReason };
const withoutVector = (missing: LexicalReason): QuestionVector => ({ vector: null, missing });

/**
 * The best passages of a chatbot for a text. The index ranks, Postgres has the texts: what was deleted is not said.
 *
 * Which version is live stands in Postgres, but is not asked for beforehand: the search takes the version that was live the last
 * time, and the statement that reads the texts says which one is. Only if that is another one, once after a swap, is searched again.
 * So a search costs one statement, and what it returns was live when its texts were read.
 */
export class FindPassages {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #embedder: Embedder | null;
  readonly #logger: Logger;
  readonly #embedWithinMs: number;
  /** The last seen live version by chatbot, oldest first. */
  readonly #remembered = new Map<string, IndexVersion>();

  constructor(parts: {
    readonly database: Database;
    readonly index: KnowledgeIndex;
    readonly embedder: Embedder | null;
    readonly logger: Logger;
    /** Shorter, for tests. */
    readonly embedWithinMs?: number;
  }) {
    this.#database = parts.database;
    this.#index = parts.index;
    this.#embedder = parts.embedder;
    this.#logger = parts.logger;
    this.#embedWithinMs = parts.embedWithinMs ?? EMBED_WITHIN_MS;
  }

  /**
   * `limit`: most passages, 10 unless told. An embedding model that fails or is slow (3 s) costs the vectors, not the search. Throws
   * Transient `knowledge_index_unavailable` when the index cannot be read or is being filled for the first time, and the signal's
   * reason when it ended the embedding.
   */
  async execute(
    chatbot: SearchedChatbot,
    text: string,
    { signal, limit = SEARCH_SIZE }: { readonly signal: AbortSignal; readonly limit?: number },
  ): Promise<PassageSearch> {
    const timings = { embedMs: 0, searchMs: 0, readMs: 0 };
    const timed = async <Result>(step: keyof typeof timings, work: () => Promise<Result>): Promise<Result> => {
      const startedAt = performance.now();
      const result = await work();
      timings[step] = Math.round((timings[step] + performance.now() - startedAt) * 10) / 10;
      return result;
    };
    let embedded: Promise<QuestionVector> | undefined;
    const embed = () => (embedded ??= timed('embedMs', () => this.#embed(text, signal)));

    let version = this.#expectedVersion(chatbot.chatbotId);
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const { vector, missing } = await this.#vectorFor(version, embed);
      const query = { text, k: Math.max(LIST_SIZE, limit), ...(vector && { vector }) };
      const fused = fuse(await timed('searchMs', () => this.#index.search(version, query)));
      let found = await timed('readMs', () => this.#read(chatbot, version, fused.slice(0, limit)));
      // Some of the best were deleted and are not out of the index yet: look further down.
      if (found.passages.length < Math.min(limit, fused.length)) {
        found = await timed('readMs', () => this.#read(chatbot, version, fused));
      }
      if (isSameVersion(found.live, version)) {
        this.#remember(version);
        const mode = missing === null ? 'hybrid' : 'lexical';
        return { passages: found.passages.slice(0, limit), mode, lexicalReason: missing, timings };
      }
      version = found.live;
    }
    throw new Transient('knowledge_index_unavailable', 'The live version of the index changed during each try.');
  }

  /** What was live the last time; of a chatbot that is new here, what was live of another one: most have the same. */
  #expectedVersion(chatbotId: string): IndexVersion {
    const known = this.#remembered.get(chatbotId);
    if (known) return known;
    const [another] = this.#remembered.values();
    return another ? { ...another, chatbotId } : this.#index.versionFor(chatbotId);
  }

  #remember(version: IndexVersion): void {
    this.#remembered.set(version.chatbotId, version);
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > MAX_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
  }

  async #vectorFor({ embedding }: IndexVersion, embed: () => Promise<QuestionVector>): Promise<QuestionVector> {
    if (this.#embedder === null) return withoutVector('no_embedding_model');
    if (embedding?.model !== this.#embedder.model) return withoutVector('index_being_rebuilt');
    const question = await embed();
    const fits = question.vector === null || question.vector.length === embedding.dimensions;
    return fits ? question : withoutVector('index_being_rebuilt');
  }

  async #embed(text: string, signal: AbortSignal): Promise<QuestionVector> {
    const either = AbortSignal.any([signal, AbortSignal.timeout(this.#embedWithinMs)]);
    try {
      const [vector] = (await this.#embedder?.embed([text], { purpose: 'question', signal: either })) ?? [];
      if (vector) return { vector, missing: null };
    } catch (error) {
      signal.throwIfAborted();
      this.#logger.warn({ err: error }, 'A question could not be embedded; searching by words only');
    }
    return withoutVector('embedder_unavailable');
  }

  /**
   * The texts of these passages in their order, without those that are gone, and the version that is live now. OFFSET 0 makes Postgres
   * look each id up: by itself it reads all passages of the chatbot (0.8 ms at 1,000 of them, instead of 0.2).
   */
  async #read(
    { workspaceId, chatbotId, showSources }: SearchedChatbot,
    searched: IndexVersion,
    fused: readonly FusedPassage[],
  ): Promise<{ live: IndexVersion; passages: FoundPassage[] }> {
    const rows = await this.#database.query<PassageRow>(
      {
        name: 'read-passages',
        text: `SELECT v.mapping, v.model, v.dimensions,
                      v.id IS NULL AND EXISTS (SELECT 1 FROM passages WHERE workspace_id = $1 AND chatbot_id = $2) AS is_unbuilt,
                      p.id, p.source_id, p.title, p.heading_path, p.text, p.sha256, p.url
               FROM (VALUES (1)) AS one
               LEFT JOIN index_versions v
                 ON v.workspace_id = $1 AND v.chatbot_id = $2 AND v.engine = $4 AND v.state = 'live'
               LEFT JOIN LATERAL (
                 SELECT p.*, s.url FROM unnest($3::uuid[]) AS wanted(id)
                 CROSS JOIN LATERAL (SELECT * FROM passages WHERE id = wanted.id OFFSET 0) AS p
                 JOIN sources s ON s.id = p.source_id AND s.state <> 'deleting'
                 WHERE p.workspace_id = $1 AND p.chatbot_id = $2
               ) p ON true`,
      },
      [workspaceId, chatbotId, fused.map(({ passageId }) => passageId), this.#index.engine],
    );
    const [first] = rows;
    if (first?.is_unbuilt) {
      throw new Transient(
        'knowledge_index_unavailable',
        'The index of this chatbot is being filled for the first time.',
      );
    }
    const byId = new Map(rows.map((row) => [row.id, row]));
    const passages = fused.flatMap((hit) => {
      const row = byId.get(hit.passageId);
      return row ? [toFound(hit, row, showSources)] : [];
    });
    // Without a version there is nothing to find, and any is as good.
    return { live: isVersion(first) ? toVersion(chatbotId, first) : searched, passages };
  }
}

interface PassageRow {
  /** Null when the chatbot has no live version. */
  mapping: number | null;
  model: string | null;
  dimensions: number | null;
  is_unbuilt: boolean;
  id: string | null;
  source_id: string;
  title: string;
  heading_path: string[];
  text: string;
  sha256: string;
  url: string | null;
}

const isVersion = (row: PassageRow | undefined): row is PassageRow & { mapping: number } => row?.mapping != null;

function toFound(
  { passageId, score, lexical, vector }: FusedPassage,
  row: PassageRow,
  showSources: boolean,
): FoundPassage {
  const sourceUrl = showSources && row.url !== null ? { sourceUrl: row.url } : {};
  return {
    passage: { passageId, title: row.title, headingPath: row.heading_path, text: row.text, ...sourceUrl },
    sourceId: row.source_id,
    score,
    receipt: {
      passageId,
      sha256: row.sha256,
      lexicalRank: lexical?.rank ?? null,
      lexicalScore: lexical?.score ?? null,
      vectorRank: vector?.rank ?? null,
      vectorScore: vector?.score ?? null,
    },
  };
}
