import { randomBytes } from 'node:crypto';
import { Transient } from '@answerline/errors';
import { type estypes } from '@elastic/elasticsearch';
import { requireSearchLimit, unitVector } from './checked-query.ts';
import {
  indexDesign,
  indexOperations,
  textSearch,
  vectorSearch,
  wordsOf,
  type SecondAnalyzer,
} from './elasticsearch-fields.ts';
import {
  AskAgain,
  ElasticsearchServer,
  isBusy,
  isMissing,
  reasonOf,
  refused,
  type CallLimits,
  type ServerCall,
} from './elasticsearch-server.ts';
import { indexVersionName, parseIndexVersionName, type IndexVersion } from './index-version.ts';
import { KnowledgeIndex, type IndexedPassage, type KnowledgeHits, type KnowledgeQuery } from './knowledge-index.ts';
import { ranked } from './ranked.ts';

/** Where Elasticsearch is, and what tests set. */
export interface ElasticsearchOptions {
  /** `http` or `https`, with user and password when the server asks for them. */
  readonly url: string;
  /** Time in ms; the system's unless told. */
  readonly now?: () => number;
  /** How long after a write deleted passages are taken off the disk; 45 s unless told. */
  readonly purgeAfterMs?: number;
}

/** Before every name on the server, so that no other application's index is listed or touched. */
const prefix = 'answerline-';

/** Within this a search has answered, or a turn could not be answered in time. */
const readLimits: CallLimits = { deadlineMs: 4_000, tries: 3 };
/** A new index or an alias waits for the master, which may be busy with others. */
const adminLimits: CallLimits = { deadlineMs: 30_000, tries: 4 };
/** Writing may wait for a server that is overrun; with all its tries it waits 9 s between them. */
const writeLimits: CallLimits = { deadlineMs: 60_000, tries: 7 };
/** Readiness is asked every few seconds. */
const healthLimits: CallLimits = { deadlineMs: 3_000, tries: 1 };
/** The server goes on with a merge, or a deletion, that nobody waits for. */
const shortLimits: CallLimits = { deadlineMs: 2_000, tries: 1 };

/**
 * One request of a bulk: the server holds it in memory together with those of others, and refuses (429) when they exceed a tenth of
 * its heap.
 */
const maxBatchBytes = 5_000_000;
const maxBatchOperations = 500;

/** A server keeps what was deleted until it has noted, each 30 s, that no copy wants it: only then can a merge drop it. */
const defaultPurgeAfterMs = 45_000;

/** A copy being filled says that its builder lives; one that has not for longer was left by a dead process. */
const signOfLifeMs = 15_000;
const builderIsDeadMs = 120_000;

/** An index on the server: a copy of a version, led to by the version's alias, by its builder's, or by none when it was replaced. */
interface Copy {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly builderSeenAt: number;
}

/**
 * {@link KnowledgeIndex} on Elasticsearch 9: one index of one shard a version, behind an alias of the version's name. docs/adr/0018 has
 * the figures behind the fields. What was deleted is off the disk about a minute later.
 */
export class ElasticsearchKnowledgeIndex extends KnowledgeIndex {
  readonly engine = 'elasticsearch';
  readonly mapping = 1;

  readonly #server: ElasticsearchServer;
  readonly #now: () => number;
  readonly #purgeAfterMs: number;
  #secondAnalyzer: Promise<SecondAnalyzer> | undefined;
  /** Writes under way. */
  readonly #writes = new Set<Promise<unknown>>();
  /** Copies that this process fills. */
  readonly #building = new Set<string>();
  /** Aliases that were written to: a purge is due, and whether another write came since it was set. */
  readonly #purges = new Map<string, { readonly timer: NodeJS.Timeout; again: boolean }>();
  #closing: Promise<void> | undefined;

  private constructor({ url, now = Date.now, purgeAfterMs = defaultPurgeAfterMs }: ElasticsearchOptions) {
    super();
    this.#server = new ElasticsearchServer(url);
    this.#now = now;
    this.#purgeAfterMs = purgeAfterMs;
  }

  /** Makes a client. The server is asked at the first call, so it may still be away. */
  static open(options: ElasticsearchOptions): ElasticsearchKnowledgeIndex {
    return new ElasticsearchKnowledgeIndex(options);
  }

  async ensure(version: IndexVersion): Promise<void> {
    await this.#write(() => this.#ensure(version));
  }

  async addPassages(version: IndexVersion, passages: readonly IndexedPassage[]): Promise<void> {
    const alias = aliasOf(version);
    const operations = indexOperations(version, passages);
    await this.#write(async () => {
      if (operations.length === 0) return this.#ensure(version);
      await this.#bulk(alias, operations, async () => {
        await this.#ensure(version);
        return 'again';
      });
      await this.#finishWrite(alias);
    });
  }

  async rebuild(version: IndexVersion, batches: AsyncIterable<readonly IndexedPassage[]>): Promise<void> {
    this.#requireOpen();
    const alias = aliasOf(version);
    const copy = `${alias}~${randomBytes(6).toString('hex')}`;
    const builder = `${copy}${builderSuffix}`;
    this.#building.add(copy);
    const signOfLife = setInterval(() => void this.#giveSignOfLife(copy), signOfLifeMs).unref();
    try {
      await this.#write(async () => {
        await this.#clearLeftovers(`${prefix}*~*`);
        await this.#create(version, copy, builder);
      });
      for await (const passages of batches) {
        const operations = indexOperations(version, passages);
        await this.#write(() => this.#bulk(builder, operations, () => Promise.reject(clearedAway())));
      }
      await this.#write(async () => {
        await this.#swap(alias, copy, builder);
        await this.#clearLeftovers(`${alias}~*`);
      });
    } catch (error) {
      if (this.#building.has(copy)) await this.#delete(copy, shortLimits).catch(() => undefined);
      throw error;
    } finally {
      clearInterval(signOfLife);
      this.#building.delete(copy);
    }
  }

  async deleteBySource(version: IndexVersion, sourceId: string): Promise<void> {
    const index = aliasOf(version);
    await this.#write(async () => {
      await this.#server.call(writeLimits, async (client, options) => {
        // What a write that was cut short has stored is not visible yet, and would stay.
        await client.indices.refresh({ index, ignore_unavailable: true }, options);
        const done = await client.deleteByQuery(
          { index, ignore_unavailable: true, conflicts: 'proceed', query: { term: { source_id: sourceId } } },
          options,
        );
        const [failure] = done.failures ?? [];
        if (failure !== undefined) throw new AskAgain(failure.status, reasonOf(failure.cause));
        if ((done.version_conflicts ?? 0) > 0) throw new AskAgain(409, 'version_conflicts');
      });
      await this.#finishWrite(index);
    });
  }

  async deletePassages(version: IndexVersion, passageIds: readonly string[]): Promise<void> {
    if (passageIds.length === 0) return;
    const alias = aliasOf(version);
    const operations = passageIds.map((_id) => JSON.stringify({ delete: { _id } }));
    await this.#write(async () => {
      await this.#bulk(alias, operations, async () => 'give up');
      await this.#finishWrite(alias);
    });
  }

  async search(version: IndexVersion, { text, vector, k }: KnowledgeQuery): Promise<KnowledgeHits> {
    this.#requireOpen();
    requireSearchLimit(k);
    const alias = aliasOf(version);
    const words = wordsOf(text);
    const byWords = words === '' ? [] : [textSearch(words, k)];
    const byVector = vector === undefined ? [] : [vectorSearch(unitVector(version, vector), k)];
    const bodies = [...byWords, ...byVector];
    if (bodies.length === 0) return { lexical: [], vector: [] };
    // The same copy of the shard each time: another may count what was deleted differently.
    const searches = bodies.flatMap((body) => [{ index: alias, preference: `bot-${version.chatbotId}` }, body]);
    const lists = await this.#server.call(readLimits, async (client, options) => {
      const { responses } = await client.msearch({ searches }, options);
      const lists = responses.map((response) => hitsOf(response, alias));
      // A swap may have come between the two.
      if (new Set(lists.flatMap((hits) => hits.map(({ copy }) => copy))).size > 1) throw new AskAgain(409, 'swapped');
      return lists;
    });
    return {
      lexical: ranked(lists.slice(0, byWords.length).flat()),
      // The score of a vector is (1 + cosine) / 2, since Lucene has no negative scores.
      vector: ranked(lists.slice(byWords.length).flat(), (score) => 2 * score - 1),
    };
  }

  async count(version: IndexVersion): Promise<number> {
    const found = await this.#read((client, options) => client.count({ index: aliasOf(version) }, options));
    return found?.count ?? 0;
  }

  async drop(version: IndexVersion): Promise<void> {
    const alias = aliasOf(version);
    await this.#write(async () => {
      for (const { name } of await this.#copies(`${alias}~*`)) await this.#delete(name, adminLimits);
    });
  }

  async listVersions(chatbotId?: string): Promise<IndexVersion[]> {
    const found = await this.#read((client, options) => client.indices.getAlias({ name: `${prefix}*` }, options));
    const aliases = Object.values(found ?? {}).flatMap((index) => Object.keys(index.aliases));
    return [...new Set(aliases)]
      .filter((alias) => alias.startsWith(prefix))
      .map((alias) => alias.slice(prefix.length))
      .toSorted()
      .map(parseIndexVersionName)
      .filter((version) => version !== undefined)
      .filter((version) => chatbotId === undefined || version.chatbotId === chatbotId);
  }

  async health(): Promise<void> {
    this.#requireOpen();
    // Its colour may come from another application's index; what counts is that there is a master who answers.
    await this.#server.call(healthLimits, (client, options) =>
      client.cluster.health({ timeout: '2s', master_timeout: '2s' }, options),
    );
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const { timer } of this.#purges.values()) clearTimeout(timer);
      this.#purges.clear();
      await Promise.allSettled(this.#writes);
      await Promise.allSettled([...this.#building].map((copy) => this.#delete(copy, shortLimits)));
      await this.#server.close();
    })();
    return this.#closing;
  }

  #requireOpen(): void {
    if (this.#closing !== undefined)
      throw new Transient('knowledge_index_unavailable', 'The knowledge index is closed.');
  }

  /** Runs `work`, or gives `undefined` when what it asks for is not there. */
  async #read<T>(work: ServerCall<T>): Promise<T | undefined> {
    this.#requireOpen();
    return this.#server.call(readLimits, async (client, options) => {
      try {
        return await work(client, options);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
  }

  /** Runs `work` as a write, which closing waits for. */
  async #write(work: () => Promise<void>): Promise<void> {
    this.#requireOpen();
    const written = work();
    this.#writes.add(written);
    try {
      await written;
    } finally {
      this.#writes.delete(written);
    }
  }

  /** Makes the version's first copy if no alias leads to one. */
  async #ensure(version: IndexVersion): Promise<void> {
    const alias = aliasOf(version);
    if ((await this.#clearLeftovers(`${alias}~*`)) > 0) return;
    // Always the same name, so that only one of two processes makes it.
    const first = `${alias}~first`;
    await this.#create(version, first, alias);
    // Others may have made a first copy and a rebuilt one since we looked; an empty one beside it goes again.
    const live = (await this.#copies(`${alias}~*`)).filter(({ aliases }) => aliases.includes(alias));
    if (live.length > 1) await this.#delete(first, adminLimits);
  }

  async #create(version: IndexVersion, index: string, alias: string): Promise<void> {
    const second = await this.#askSecondAnalyzer();
    const design = indexDesign(version, second, this.#now());
    await this.#server.call(adminLimits, async (client, options) => {
      try {
        await client.indices.create({ index, aliases: { [alias]: {} }, ...design }, options);
      } catch (error) {
        const reason = reasonOf(error);
        if (reason === 'resource_already_exists_exception') return;
        if (reason === 'validation_exception') throw noRoom();
        throw error;
      }
    });
  }

  /** `spanish` belongs to every packaged server; one that was put together otherwise may have the built-in analyzers only. */
  #askSecondAnalyzer(): Promise<SecondAnalyzer> {
    this.#secondAnalyzer ??= this.#server
      .call(adminLimits, async (client, options): Promise<SecondAnalyzer> => {
        try {
          await client.indices.analyze({ analyzer: 'spanish', text: 'pan' }, options);
          return 'spanish';
        } catch (error) {
          if (reasonOf(error) === 'illegal_argument_exception') return 'standard';
          throw error;
        }
      })
      .catch((error: unknown) => {
        this.#secondAnalyzer = undefined;
        throw error;
      });
    return this.#secondAnalyzer;
  }

  /**
   * Sends operations in requests of bounded size, one after the other; what the server has no room for now is sent again.
   * `whenMissing` is asked when nothing has this name.
   */
  async #bulk(index: string, operations: readonly string[], whenMissing: () => Promise<'again' | 'give up'>) {
    for (const batch of batchesOf(operations)) {
      let pending = batch;
      await this.#server.call(writeLimits, async (client, options) => {
        // Without `require_alias` a missing name would become an index with guessed fields.
        const { items } = await client.bulk(
          { index, operations: pending, require_alias: true, timeout: '20s' },
          options,
        );
        const failures = items.flatMap((item, position) => {
          const { status = 0, error } = item.index ?? item.delete ?? {};
          return error === undefined ? [] : [{ status, reason: reasonOf(error), operation: pending[position] ?? '' }];
        });
        const wrong = failures.find(({ status }) => status !== 404 && !isBusy(status));
        if (wrong !== undefined) throw refused(wrong.status, wrong.reason);
        const [failure] = failures;
        if (failure === undefined) return;
        if (failure.status === 404 && (await whenMissing()) === 'give up') return;
        pending = failures.map(({ operation }) => operation);
        throw new AskAgain(failure.status, failure.reason);
      });
    }
  }

  /** Shows what was written to the next search, and takes it out of the log of operations, where deleted text would stay. */
  async #finishWrite(alias: string): Promise<void> {
    await this.#server.call(writeLimits, async (client, options) => {
      await client.indices.refresh({ index: alias, ignore_unavailable: true }, options);
      await client.indices.flush({ index: alias, ignore_unavailable: true }, options);
    });
    this.#purgeLater(alias);
  }

  /** A deleted passage is only marked; a merge takes it off the disk, with those that an earlier process left marked. */
  #purgeLater(alias: string): void {
    const due = this.#purges.get(alias);
    if (due !== undefined) {
      due.again = true;
      return;
    }
    const timer = setTimeout(() => void this.#purge(alias), this.#purgeAfterMs).unref();
    if (this.#closing === undefined) this.#purges.set(alias, { timer, again: false });
  }

  async #purge(alias: string): Promise<void> {
    const again = this.#purges.get(alias)?.again ?? false;
    this.#purges.delete(alias);
    if (again) this.#purgeLater(alias);
    // When it fails the next write asks for it again.
    await this.#server
      .call(shortLimits, (client, options) =>
        client.indices.forcemerge({ index: alias, only_expunge_deletes: true, ignore_unavailable: true }, options),
      )
      .catch(() => undefined);
  }

  /** Makes the built copy the version's only one, in one step of the cluster. */
  async #swap(alias: string, copy: string, builder: string): Promise<void> {
    await this.#server.call(adminLimits, async (client, options) => {
      await client.indices.refresh({ index: copy }, options);
      const actions = [
        { remove: { index: `${alias}~*`, alias, must_exist: false } },
        // Writes go here even if a late `ensure` of another process adds an empty first copy.
        { add: { index: copy, alias, is_write_index: true } },
        { remove: { index: copy, alias: builder, must_exist: false } },
      ];
      await client.indices.updateAliases({ actions }, options);
    });
    this.#building.delete(copy);
  }

  async #giveSignOfLife(copy: string): Promise<void> {
    const _meta = { builderSeenAt: this.#now() };
    // A lost one is made up for by the next.
    await this.#server
      .call(shortLimits, (client, options) => client.indices.putMapping({ index: copy, _meta }, options))
      .catch(() => undefined);
  }

  /** Deletes replaced copies and those of dead builders; returns how many are live. */
  async #clearLeftovers(pattern: string): Promise<number> {
    const copies = await this.#copies(pattern);
    let live = 0;
    for (const { name, aliases, builderSeenAt } of copies) {
      const isBuilt = aliases.includes(`${name}${builderSuffix}`);
      const builderLives = this.#building.has(name) || this.#now() - builderSeenAt < builderIsDeadMs;
      if (aliases.length > 0 && !isBuilt) live += 1;
      else if (!isBuilt || !builderLives) await this.#delete(name, adminLimits);
    }
    return live;
  }

  async #copies(pattern: string): Promise<Copy[]> {
    const found = await this.#server.call(adminLimits, (client, options) =>
      client.indices.get(
        {
          index: pattern,
          features: ['aliases', 'mappings'],
          filter_path: ['*.aliases', '*.mappings._meta'],
          expand_wildcards: ['open', 'closed'],
        },
        options,
      ),
    );
    return Object.entries(found).flatMap(([name, { aliases, mappings }]) => {
      const builderSeenAt: unknown = mappings?._meta?.builderSeenAt;
      // Without it, it is not ours.
      return typeof builderSeenAt === 'number' ? [{ name, aliases: Object.keys(aliases ?? {}), builderSeenAt }] : [];
    });
  }

  async #delete(index: string, limits: CallLimits): Promise<void> {
    await this.#server.call(limits, (client, options) =>
      client.indices.delete({ index, ignore_unavailable: true }, options),
    );
  }
}

/** What a builder's alias ends with. */
const builderSuffix = '~building';

/** The version's name on the server. Copies add `~` and a name of their own; no version's name has one. */
function aliasOf(version: IndexVersion): string {
  return `${prefix}${indexVersionName(version)}`;
}

function* batchesOf(operations: readonly string[]): Generator<string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const operation of operations) {
    const size = Buffer.byteLength(operation);
    if (batch.length === maxBatchOperations || (batch.length > 0 && bytes + size > maxBatchBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(operation);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

/** The hits of one search of several. A version that does not exist has none. */
function hitsOf(response: estypes.MsearchResponseItem, alias: string) {
  if ('error' in response) {
    const { error, status } = response;
    if (status === 404 && error.index === alias) return [];
    // A copy that was deleted while it was being searched: the alias leads to another now.
    if (status === 404 || isBusy(status)) throw new AskAgain(status, reasonOf(error));
    throw refused(status, reasonOf(error));
  }
  return response.hits.hits.map(({ _index, _score, fields }) => {
    const [passageId] = (fields as { passage_id: [string] }).passage_id;
    return { passageId, score: _score ?? 0, copy: _index };
  });
}

function clearedAway(): Transient {
  return new Transient('knowledge_index_unavailable', 'The copy being built was deleted by another process.');
}

function noRoom(): Transient {
  return new Transient(
    'knowledge_index_unavailable',
    'Elasticsearch takes no further index: its limit of shards (cluster.max_shards_per_node) is reached.',
  );
}
