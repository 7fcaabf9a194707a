import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
import { Field, FixedSizeList, Float32, Schema, Utf8 } from 'apache-arrow';
import { passageVector, requireSearchLimit, unitVector } from './checked-query.ts';
import { indexVersionName, parseIndexVersionName, type IndexVersion } from './index-version.ts';
import {
  KnowledgeIndex,
  type IndexedPassage,
  type KnowledgeHits,
  type KnowledgeQuery,
  type RankedPassage,
} from './knowledge-index.ts';
import { ranked } from './ranked.ts';
import { searchableQuery, searchableText } from './searchable-text.ts';
import { stopWords } from './stop-words.ts';
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
    customStopWords: [...stopWords],
  },
};

/** A table filled by a rebuild has the version's name and an ending of its own. */
const builtTable = /^(.+)\.b[0-9a-f]{12}$/;

/** Ends the name of the file that says which built table holds a version; without it that is the table of the version's name. */
const pointerEnding = '.current';

/**
 * {@link KnowledgeIndex} in a folder on disk: one LanceDB table a version. Nearest vectors are found by looking at all of them: up to
 * 50,000 passages that costs less than an index, of which each `optimize` took 50 s.
 */
export class LanceKnowledgeIndex extends KnowledgeIndex {
  readonly engine = 'lancedb';
  readonly mapping = 1;

  /** Open tables, least recently used first. A promise, so that two callers share one opening. */
  readonly #tables = new Map<string, Promise<Table | undefined>>();
  /** End of the last write of each version, and of each table being built: writes of one follow each other. */
  readonly #writes = new Map<string, Promise<void>>();
  /** Tables that rebuilds under way fill. */
  readonly #building = new Set<string>();
  #closing: Promise<void> | undefined;

  readonly #folder: string;
  readonly #connection: Connection;
  readonly #mode: LanceOptions['mode'];
  readonly #release: () => Promise<void>;

  private constructor({ folder, mode }: LanceOptions, connection: Connection, release: () => Promise<void>) {
    super();
    this.#folder = folder;
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
      const index = new LanceKnowledgeIndex({ folder, mode }, connection, release);
      if (mode === 'write') await index.#clearLeftovers();
      return index;
    } catch (error) {
      await release();
      throw unavailable(error);
    }
  }

  async ensure(version: IndexVersion): Promise<void> {
    await this.#write(indexVersionName(version), async (name) => {
      await this.#ensureTable(await this.#tableOf(name), version);
    });
  }

  async addPassages(version: IndexVersion, passages: readonly IndexedPassage[]): Promise<void> {
    const rows = toRows(version, passages);
    await this.#write(indexVersionName(version), async (name) => {
      const table = await this.#ensureTable(await this.#tableOf(name), version);
      if (rows.length > 0) await finishWrite(table, await addRows(table, rows));
    });
  }

  async rebuild(version: IndexVersion, batches: AsyncIterable<readonly IndexedPassage[]>): Promise<void> {
    const name = indexVersionName(version);
    const copy = `${name}.b${randomBytes(6).toString('hex')}`;
    let replaced = 0;
    this.#building.add(copy);
    try {
      await this.#write(copy, async () => {
        await this.#ensureTable(copy, version);
      });
      for await (const passages of batches) {
        const rows = toRows(version, passages);
        await this.#write(copy, async () => {
          replaced += await addRows(await this.#built(copy), rows);
        });
      }
      await this.#write(copy, async () => finishWrite(await this.#built(copy), replaced));
      await this.#write(name, async () => {
        await this.#built(copy);
        await this.#point(name, copy);
        // What is left here is cleared away at the next opening.
        await this.#dropTables(name, (table) => !this.#building.has(table)).catch(() => undefined);
      });
    } catch (error) {
      await this.#write(copy, () => this.#dropTables(name, (table) => table === copy)).catch(() => undefined);
      throw error;
    } finally {
      this.#building.delete(copy);
    }
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
    requireSearchLimit(k);
    const direction = vector === undefined ? undefined : unitVector(version, vector);
    const query = searchableQuery(text);
    const hits = await this.#read(version, async (table) => {
      const [lexical, nearest] = await Promise.all([
        searchText(table, query, k),
        direction === undefined ? [] : searchVector(table, direction, k),
      ]);
      return { lexical, vector: nearest };
    });
    return hits ?? { lexical: [], vector: [] };
  }

  async count(version: IndexVersion): Promise<number> {
    return (await this.#read(version, (table) => table.countRows())) ?? 0;
  }

  async drop(version: IndexVersion): Promise<void> {
    await this.#write(indexVersionName(version), async (name) => {
      await this.#dropTables(name, () => true);
      // Last: without it an older table of this name would be the version again.
      await rm(this.#pointerOf(name), { force: true });
    });
  }

  async listVersions(chatbotId?: string): Promise<IndexVersion[]> {
    this.#requireOpen();
    const names = await this.#versionNames().catch((error: unknown) => {
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
    await this.#write(indexVersionName(version), async (name) => {
      const table = await this.#table(await this.#tableOf(name));
      if (table === undefined) return;
      let deleted = 0;
      for (const predicate of predicates) deleted += await deleteWhere(table, predicate);
      if (deleted > 0) await forgetDeleted(table);
    });
  }

  /** Runs `work` after the earlier writes of this name. */
  async #write(name: string, work: (name: string) => Promise<void>): Promise<void> {
    this.#requireOpen();
    if (this.#mode === 'read')
      throw new Unexpected('knowledge_index_read_only', 'This process opened the index to read.');
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
      this.#forgetTables(name);
      throw unavailable(error);
    });
  }

  /**
   * Runs `work` on the version's table, or gives `undefined` when there is none. A reader may hold files that the writer has just
   * pruned or a table that was dropped, replaced or made again: it looks which table it is, opens that anew and tries once more.
   */
  async #read<T>(version: IndexVersion, work: (table: Table) => Promise<T>): Promise<T | undefined> {
    const name = indexVersionName(version);
    for (let tries = 1; ; tries += 1) {
      this.#requireOpen();
      try {
        const current = await this.#tableOf(name);
        const table = await this.#table(current);
        if (table !== undefined) return await work(table);
        if ((await this.#tableOf(name)) === current) return undefined;
        throw new Error('The table was replaced by another.');
      } catch (error) {
        this.#forgetTables(name);
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

  /** The table that a rebuild fills; it is gone when the version was dropped meanwhile. */
  async #built(copy: string): Promise<Table> {
    const table = await this.#table(copy);
    if (table === undefined) throw new Error('The version was dropped while it was rebuilt.');
    return table;
  }

  #pointerOf(name: string): string {
    return join(this.#folder, `${name}${pointerEnding}`);
  }

  /** The name of the version's table. Read each time, since another process may have replaced it (0.05 ms). */
  async #tableOf(name: string): Promise<string> {
    try {
      return await readFile(this.#pointerOf(name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return name;
      throw error;
    }
  }

  /** Makes this table the version's, in one step: whoever reads the pointer sees the old one or the new one. */
  async #point(name: string, table: string): Promise<void> {
    const draft = `${this.#pointerOf(name)}.new`;
    await writeFile(draft, table, { flush: true });
    await rename(draft, this.#pointerOf(name));
  }

  async #versionNames(): Promise<string[]> {
    const tables = (await this.#tableNames()).filter((table) => !builtTable.test(table));
    const pointers = (await readdir(this.#folder)).filter((file) => file.endsWith(pointerEnding));
    return [...new Set([...tables, ...pointers.map((file) => file.slice(0, -pointerEnding.length))])];
  }

  /** Deletes what a killed process has left: half-filled tables, replaced ones, and pointers to none. */
  async #clearLeftovers(): Promise<void> {
    const tables = await this.#tableNames();
    for (const table of tables) {
      if (table !== (await this.#tableOf(versionNameOf(table)))) await this.#connection.dropTable(table);
    }
    for (const name of await this.#versionNames()) {
      if (!tables.includes(await this.#tableOf(name))) await rm(this.#pointerOf(name), { force: true });
    }
  }

  /** Deletes those tables of a version, live or being built, that fit. */
  async #dropTables(name: string, fits: (table: string) => boolean): Promise<void> {
    const tables = (await this.#tableNames()).filter((table) => versionNameOf(table) === name);
    for (const table of tables.filter(fits)) {
      this.#tables.delete(table);
      await this.#connection.dropTable(table);
    }
  }

  #forgetTables(name: string): void {
    for (const table of this.#tables.keys())
      if (versionNameOf(table) === versionNameOf(name)) this.#tables.delete(table);
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

function versionNameOf(table: string): string {
  return builtTable.exec(table)?.[1] ?? table;
}

/** Rows of the passages; of several with one id the last. Throws `vector_invalid`. */
function toRows(version: IndexVersion, passages: readonly IndexedPassage[]) {
  const rows = passages.map((passage) => {
    const text = searchableText(passage);
    const vector = passageVector(version, passage.vector);
    const row = { passage_id: passage.passageId, source_id: passage.sourceId, english: text, other: text };
    return vector === undefined ? row : { ...row, vector };
  });
  return [...new Map(rows.map((row) => [row.passage_id, row])).values()];
}

/** Adds rows in batches, in place of those with the same id; returns how many that were. */
async function addRows(table: Table, rows: ReturnType<typeof toRows>): Promise<number> {
  let replaced = 0;
  for (let start = 0; start < rows.length; start += batchSize) {
    const batch = rows.slice(start, start + batchSize);
    const ids = batch.map(({ passage_id }) => passage_id);
    // Not mergeInsert: it doubled keys.
    replaced += await deleteWhere(table, isOneOf('passage_id', ids));
    await retry(table, () => table.add(batch));
  }
  return replaced;
}

async function finishWrite(table: Table, replaced: number): Promise<void> {
  if (replaced > 0) await forgetDeleted(table);
  else await tidy(table);
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
