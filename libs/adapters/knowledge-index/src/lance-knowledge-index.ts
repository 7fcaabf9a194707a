import { mkdir } from 'node:fs/promises';
import { AppError, Transient, Unexpected } from '@answerline/errors';
import {
  BooleanQuery,
  connect,
  Index,
  MatchQuery,
  Occur,
  Session,
  type Connection,
  type FtsOptions,
  type Table,
} from '@lancedb/lancedb';
import { stopwords as englishStopWords } from '@orama/stopwords/english';
import { stopwords as spanishStopWords } from '@orama/stopwords/spanish';
import { Field, FixedSizeList, Float32, Schema, Utf8 } from 'apache-arrow';
import { indexVersionName, parseIndexVersionName, type IndexVersion } from './index-version.ts';
import {
  KnowledgeIndex,
  maxSearchResults,
  type IndexedPassage,
  type KnowledgeHits,
  type KnowledgeQuery,
  type RankedPassage,
} from './knowledge-index.ts';
import { searchableQuery, searchableText } from './searchable-text.ts';
import { lockForWriting } from './writer-lock.ts';

/** Where the index lives, and whether this process writes it. One process writes, any number read. */
export interface LanceOptions {
  readonly folder: string;
  readonly mode: 'read' | 'write';
}

/** Rows of one commit. Larger batches gain nothing, and a killed process loses at most one. */
const batchSize = 500;

/** Tables kept open. One costs some kilobytes; opening it again about a millisecond. */
const maxOpenTables = 200;

/** LanceDB's own bounds are 6 GiB and 1 GiB, which grow for as long as a process runs. */
const indexCacheBytes = 256n * 1024n * 1024n;
const metadataCacheBytes = 64n * 1024n * 1024n;

/** Tries of a commit that met another one, and of a read whose files were pruned away under it. */
const maxTries = 3;

const textColumns = ['english', 'other'] as const;

const ftsBase: Partial<FtsOptions> = { stem: true, removeStopWords: true, asciiFolding: true, withPosition: false };

/**
 * The text is indexed twice and a passage's score is the sum of both: stemmed as English, and stemmed as Spanish with both languages'
 * stop words removed. Measured, nDCG@10 / recall@5 of the English column alone and of the sum: product-docs .749 / .722 and
 * .769 / .755, mtrag (last turn) .596 / .598 and .601 / .598, 40 questions on a Spanish shop .883 / .925 and .941 / .975; about 1 ms
 * more a search at 1,000 passages. `icu/split` costs nothing and finds words where a language has no blanks (Chinese, Japanese, Thai).
 */
const ftsOptions: Readonly<Record<(typeof textColumns)[number], Partial<FtsOptions>>> = {
  english: { ...ftsBase, language: 'English' },
  other: {
    ...ftsBase,
    language: 'Spanish',
    baseTokenizer: 'icu/split',
    customStopWords: [...new Set([...englishStopWords, ...spanishStopWords].map(withoutAccents))],
  },
};

/** {@link KnowledgeIndex} in a folder on disk: one LanceDB table a version. */
export class LanceKnowledgeIndex extends KnowledgeIndex {
  readonly mapping = 1;

  /** Open tables, least recently used first. A promise, so that two callers share one opening. */
  readonly #tables = new Map<string, Promise<Table | undefined>>();
  /** End of the last write of each version: writes of one version follow each other. */
  readonly #writes = new Map<string, Promise<void>>();
  #closing: Promise<void> | undefined;

  readonly #connection: Connection;
  readonly #mode: LanceOptions['mode'];
  readonly #release: () => Promise<void>;

  private constructor(connection: Connection, mode: LanceOptions['mode'], release: () => Promise<void>) {
    super();
    this.#connection = connection;
    this.#mode = mode;
    this.#release = release;
  }

  /**
   * Opens the index in `folder`, which is made if missing. Throws `Transient`: `knowledge_index_locked` when another process writes it
   * and `mode` is `write`, `knowledge_index_unavailable` when the folder cannot be used.
   */
  static async open({ folder, mode }: LanceOptions): Promise<LanceKnowledgeIndex> {
    let release = async () => {};
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (mode === 'write') release = await lockForWriting(folder);
      // Interval 0: without it an open table never sees what another process adds.
      const connection = await connect(folder, {
        readConsistencyInterval: 0,
        session: new Session(indexCacheBytes, metadataCacheBytes),
      });
      return new LanceKnowledgeIndex(connection, mode, release);
    } catch (error) {
      await release();
      throw unavailable(error);
    }
  }

  async ensure(version: IndexVersion): Promise<void> {
    await this.#write(version, async (name) => {
      await this.#ensureTable(name, version);
    });
  }

  async addPassages(version: IndexVersion, passages: readonly IndexedPassage[]): Promise<void> {
    for (const { vector } of passages) requireVector(version, vector);
    await this.#write(version, async (name) => {
      const table = await this.#ensureTable(name, version);
      const rows = [...new Map(passages.map((passage) => [passage.passageId, toRow(passage)])).values()];
      if (rows.length === 0) return;
      let replaced = 0;
      for (let start = 0; start < rows.length; start += batchSize) {
        const batch = rows.slice(start, start + batchSize);
        // Not mergeInsert: it doubled keys.
        replaced += await deleteWhere(
          table,
          isOneOf(
            'passage_id',
            batch.map(({ passage_id }) => passage_id),
          ),
        );
        await retry(table, () => table.add(batch));
      }
      if (replaced > 0) await forgetDeleted(table);
      else await tidy(table);
    });
  }

  async deleteBySource(version: IndexVersion, sourceId: string): Promise<void> {
    await this.#delete(version, [isOneOf('source_id', [sourceId])]);
  }

  async deletePassages(version: IndexVersion, passageIds: readonly string[]): Promise<void> {
    const predicates = [];
    for (let start = 0; start < passageIds.length; start += batchSize) {
      predicates.push(isOneOf('passage_id', passageIds.slice(start, start + batchSize)));
    }
    await this.#delete(version, predicates);
  }

  async search(version: IndexVersion, { text, vector, k }: KnowledgeQuery): Promise<KnowledgeHits> {
    if (!Number.isInteger(k) || k < 1 || k > maxSearchResults) {
      throw new Unexpected('search_limit_invalid', `A search wants 1 to ${maxSearchResults} passages.`);
    }
    if (vector !== undefined) requireVector(version, vector);
    const query = searchableQuery(text);
    const hits = await this.#read(version, async (table) => {
      const [lexical, nearest] = await Promise.all([
        searchText(table, query, k),
        vector === undefined ? [] : searchVector(table, vector, k),
      ]);
      return { lexical, vector: nearest };
    });
    return hits ?? { lexical: [], vector: [] };
  }

  async count(version: IndexVersion): Promise<number> {
    return (await this.#read(version, (table) => table.countRows())) ?? 0;
  }

  async drop(version: IndexVersion): Promise<void> {
    await this.#write(version, async (name) => {
      this.#tables.delete(name);
      if ((await this.#tableNames()).includes(name)) await this.#connection.dropTable(name);
    });
  }

  async listVersions(chatbotId?: string): Promise<IndexVersion[]> {
    this.#requireOpen();
    const names = await this.#tableNames().catch((error: unknown) => {
      throw unavailable(error);
    });
    return names
      .toSorted()
      .map(parseIndexVersionName)
      .filter((version) => version !== undefined)
      .filter((version) => chatbotId === undefined || version.chatbotId === chatbotId);
  }

  async health(): Promise<void> {
    await this.listVersions();
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all(this.#writes.values());
      this.#tables.clear();
      this.#connection.close();
      await this.#release();
    })();
    return this.#closing;
  }

  async #delete(version: IndexVersion, predicates: readonly string[]): Promise<void> {
    await this.#write(version, async (name) => {
      const table = await this.#table(name);
      if (table === undefined) return;
      let deleted = 0;
      for (const predicate of predicates) deleted += await deleteWhere(table, predicate);
      if (deleted > 0) await forgetDeleted(table);
    });
  }

  /** Runs `work` after the earlier writes of this version. */
  async #write(version: IndexVersion, work: (name: string) => Promise<void>): Promise<void> {
    this.#requireOpen();
    if (this.#mode === 'read')
      throw new Unexpected('knowledge_index_read_only', 'This process opened the index to read.');
    const name = indexVersionName(version);
    const before = this.#writes.get(name) ?? Promise.resolve();
    const written = before.then(() => work(name));
    const settled = written
      .catch(() => {})
      .finally(() => {
        if (this.#writes.get(name) === settled) this.#writes.delete(name);
      });
    this.#writes.set(name, settled);
    await written.catch((error: unknown) => {
      // What went wrong may be the open table; the next call opens it anew.
      this.#tables.delete(name);
      throw unavailable(error);
    });
  }

  /**
   * Runs `work` on the version's table, or gives `undefined` when there is none. A reader may hold files that the writer has just
   * pruned or a table that was dropped and made again: it opens the table anew and tries once more.
   */
  async #read<T>(version: IndexVersion, work: (table: Table) => Promise<T>): Promise<T | undefined> {
    const name = indexVersionName(version);
    for (let tries = 1; ; tries += 1) {
      this.#requireOpen();
      try {
        const table = await this.#table(name);
        return table === undefined ? undefined : await work(table);
      } catch (error) {
        this.#tables.delete(name);
        if (tries === maxTries) throw unavailable(error);
      }
    }
  }

  #requireOpen(): void {
    if (this.#closing !== undefined)
      throw new Transient('knowledge_index_unavailable', 'The knowledge index is closed.');
  }

  /** The open table, or `undefined` when there is none of this name. Keeps the last {@link maxOpenTables} open. */
  async #table(name: string): Promise<Table | undefined> {
    const open = this.#tables.get(name) ?? this.#openTable(name);
    this.#tables.delete(name);
    this.#tables.set(name, open);
    const oldest = this.#tables.keys().next().value;
    // Not closed: a search may still be using it. It closes itself when collected.
    if (this.#tables.size > maxOpenTables && oldest !== undefined) this.#tables.delete(oldest);
    const table = await open;
    if (table === undefined) this.#tables.delete(name);
    return table;
  }

  async #openTable(name: string): Promise<Table | undefined> {
    try {
      return await this.#connection.openTable(name);
    } catch (error) {
      if ((await this.#tableNames()).includes(name)) throw error;
      return undefined;
    }
  }

  async #ensureTable(name: string, version: IndexVersion): Promise<Table> {
    const table =
      (await this.#table(name)) ??
      (await this.#connection.createEmptyTable(name, schemaOf(version), { existOk: true }));
    const indexed = new Set((await table.listIndices()).flatMap(({ columns }) => columns));
    for (const column of textColumns) {
      if (!indexed.has(column)) await retry(table, () => indexText(table, column));
    }
    return table;
  }

  async #tableNames(): Promise<string[]> {
    const names: string[] = [];
    let pageToken: string | undefined;
    do {
      const page = await this.#connection.listTables(pageToken === undefined ? {} : { pageToken });
      names.push(...page.tables);
      pageToken = page.pageToken;
    } while (pageToken !== undefined && pageToken !== '');
    return names;
  }
}

function schemaOf({ embedding }: IndexVersion): Schema {
  const required = ['passage_id', 'source_id', ...textColumns].map((name) => new Field(name, new Utf8(), false));
  if (embedding === undefined) return new Schema(required);
  const numbers = new FixedSizeList(embedding.dimensions, new Field('item', new Float32(), true));
  return new Schema([...required, new Field('vector', numbers, false)]);
}

function toRow(passage: IndexedPassage) {
  const text = searchableText(passage);
  const row = { passage_id: passage.passageId, source_id: passage.sourceId, english: text, other: text };
  return passage.vector === undefined ? row : { ...row, vector: [...passage.vector] };
}

function requireVector({ embedding }: IndexVersion, vector: readonly number[] | undefined): void {
  if (vector?.length !== embedding?.dimensions || vector?.some((number) => !Number.isFinite(number))) {
    throw new Unexpected('vector_invalid', "A vector must have the version's dimensions, in finite numbers.");
  }
}

async function searchText(table: Table, query: string, k: number): Promise<RankedPassage[]> {
  if (query.trim() === '') return [];
  const either = new BooleanQuery(textColumns.map((column) => [Occur.Should, new MatchQuery(query, column)]));
  const found = table.query().fullTextSearch(either).select(['passage_id', '_score']).limit(k);
  const rows = (await found.toArray().catch((error: unknown) => {
    throw withoutQuery(error, query);
  })) as { passage_id: string; _score: number }[];
  return ranked(rows.map(({ passage_id, _score }) => ({ passageId: passage_id, score: _score })));
}

async function searchVector(table: Table, vector: readonly number[], k: number): Promise<RankedPassage[]> {
  const rows = (await table
    .vectorSearch([...vector])
    .distanceType('cosine')
    .select(['passage_id', '_distance'])
    .limit(k)
    .toArray()) as { passage_id: string; _distance: number }[];
  return ranked(rows.map(({ passage_id, _distance }) => ({ passageId: passage_id, score: 1 - _distance })));
}

/** Best first; equal scores in the order of their ids, so that the same question has the same answer. */
function ranked(hits: { passageId: string; score: number }[]): RankedPassage[] {
  return hits
    .toSorted((a, b) => b.score - a.score || (a.passageId < b.passageId ? -1 : 1))
    .map((hit, position) => ({ ...hit, rank: position + 1 }));
}

async function indexText(table: Table, column: (typeof textColumns)[number]): Promise<void> {
  await table.createIndex(column, { config: Index.fts(ftsOptions[column]), replace: true });
}

/** Deletes what fits and returns how many passages that were; without any, there is no commit. */
async function deleteWhere(table: Table, predicate: string): Promise<number> {
  const found = await table.countRows(predicate);
  if (found > 0) await retry(table, () => table.delete(predicate));
  return found;
}

/** Brings new rows into the indexes, joins small files and removes all older states: until then rows are found by scanning. */
async function tidy(table: Table): Promise<void> {
  await retry(table, () => table.optimize({ cleanupOlderThan: new Date(), deleteUnverified: true }));
}

/**
 * Takes deleted text off the disk. LanceDB only marks rows as deleted, and `optimize` rewrites a file only when a tenth of it is; so
 * every row is written again by an update that changes nothing, the text indexes are built anew, and the old files are removed.
 * Searches go on meanwhile (10,000 passages: 0.6 s).
 */
async function forgetDeleted(table: Table): Promise<void> {
  await retry(table, () => table.update({ valuesSql: { passage_id: 'passage_id' } }));
  for (const column of textColumns) await retry(table, () => indexText(table, column));
  await tidy(table);
}

/** Commits of the same table can meet, for example with a compaction; from the newest state they succeed. */
async function retry<T>(table: Table, commit: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      await table.checkoutLatest();
      return await commit();
    } catch (error) {
      if (tries === maxTries) throw error;
    }
  }
}

/** A filter in SQL. Within quotes only the quote itself has a meaning, and is doubled. */
function isOneOf(column: string, values: readonly string[]): string {
  return `${column} IN (${values.map((value) => `'${value.replaceAll("'", "''")}'`).join(', ')})`;
}

function withoutAccents(word: string): string {
  return word.normalize('NFD').replaceAll(/\p{M}/gu, '');
}

function unavailable(cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  return new Transient('knowledge_index_unavailable', 'The knowledge index cannot be read or written.', { cause });
}

/** The error, unless it quotes what a customer asked: that must not reach a log. */
function withoutQuery(error: unknown, query: string): unknown {
  const quotes =
    error instanceof Error && query.split(/\W+/u).some((word) => word.length > 2 && error.message.includes(word));
  return quotes ? new Error('LanceDB refused a search.') : error;
}
