import { createHash } from 'node:crypto';
import { toAppError, Transient } from '@answerline/errors';
import { indexVersionName, searchableText, type IndexVersion, type KnowledgeIndex } from '@answerline/knowledge-index';
import { type Logger } from '@answerline/logging';
import { type Database, newId, type Sql } from '@answerline/persistence';
import { startLease } from '@answerline/work-queue';
import { forgetEmbeddings, hashOf } from '../embedding-cache.ts';
import {
  dropIfUnknown,
  readVersions,
  refuseIfElsewhere,
  versionsToWrite,
  type IndexParts,
  type StoredVersion,
} from '../index-versions.ts';
import { PassageWriter } from '../passage-writer.ts';
import { retryPauseMs } from '../retry-pause.ts';
import { type Passage } from '../split-passages/passage.ts';
import { splitMarkdown, splitPlainText } from '../split-passages/split-passages.ts';

/** A claimed source. */
export interface ClaimedSource {
  readonly id: string;
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly fence: number;
  readonly tries: number;
  /** When it was due, as Postgres writes it: whoever changes the source makes it due anew. */
  readonly dueAt: string;
  readonly type: string;
  readonly title: string;
  readonly content: string;
  readonly url: string | null;
  readonly state: string;
}

/** Splitting and indexing a text of 1 MB keeps a process busy for seconds at most; after three missed renewals another may take over. */
const RENEW_EVERY_MS = 10_000;
const LEASE_MS = 3 * RENEW_EVERY_MS;
/** Tries of a source that fails for another reason than that something is away: about 10 minutes, then a person has to look. */
const TRIES_MAX = 10;
/** It is stored, and found as soon as the version that is being built goes live, which also makes it ready. */
export const WAITS_FOR_BUILD = 'index_being_rebuilt';

/**
 * Brings one source into the knowledge base, or takes it out. Vectors are made first, passages stored then, and indexed last: until
 * the new passages can be indexed the old ones are found, and the index can always be made again from what is stored. Safe to run
 * twice, and beside a build.
 */
export class SyncSource {
  readonly #parts: IndexParts;
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #writer: PassageWriter;
  readonly #logger: Logger;
  readonly #renewEveryMs: number;

  constructor(
    parts: IndexParts & {
      readonly logger: Logger;
      /** Shorter, for tests. */
      readonly renewEveryMs?: number;
    },
  ) {
    this.#parts = parts;
    this.#database = parts.database;
    this.#index = parts.index;
    this.#writer = new PassageWriter(parts);
    this.#logger = parts.logger;
    this.#renewEveryMs = parts.renewEveryMs ?? RENEW_EVERY_MS;
  }

  /** Takes up to `limit` due sources, so that nobody else does. */
  async claim(limit: number): Promise<ClaimedSource[]> {
    const rows = await this.#database.query<{
      id: string;
      workspace_id: string;
      chatbot_id: string;
      fence: number;
      tries: number;
      due: string;
      type: string;
      title: string;
      content: string;
      url: string | null;
      state: string;
    }>(
      {
        name: 'claim-sources',
        text: `UPDATE sources AS s
               SET fence = s.fence + 1, tries = s.tries + 1, lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
               FROM (SELECT id FROM sources WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                     ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) AS due
               WHERE s.id = due.id
               RETURNING s.*, s.due_at::text AS due`,
      },
      [limit, LEASE_MS],
    );
    return rows.map((row) => ({
      id: row.id,
      workspaceId: row.workspace_id,
      chatbotId: row.chatbot_id,
      fence: row.fence,
      tries: row.tries,
      dueAt: row.due,
      type: row.type,
      title: row.title,
      content: row.content,
      url: row.url,
      state: row.state,
    }));
  }

  /**
   * Does what the source's state asks for. `stopping` ends it early and gives it back. What is away is waited for, for as long as it
   * takes; any other failure is tried again and shown on the source in the end.
   */
  async execute(source: ClaimedSource, stopping: AbortSignal): Promise<void> {
    const lost = new AbortController();
    const lease = startLease({
      everyMs: this.#renewEveryMs,
      renew: () => this.#renew(source),
      onLost: () => lost.abort(new Transient('source_claim_lost', 'Somebody else has this source now.')),
    });
    const signal = AbortSignal.any([stopping, lost.signal]);
    try {
      if (source.state === 'deleting') await this.#remove(source, signal);
      else await this.#add(source, signal);
    } catch (error) {
      if (signal.aborted) await this.#giveBack(source);
      else await this.#putOff(source, error);
    } finally {
      lease.stop();
    }
  }

  async #add(source: ClaimedSource, signal: AbortSignal): Promise<void> {
    const passages =
      source.type === 'markdown'
        ? splitMarkdown(source.content, { title: source.title })
        : splitPlainText(source.content);
    const versions = await this.#fillable(await versionsToWrite(this.#parts, source, signal), signal);
    if (versions.length === 0) throw new Transient(WAITS_FOR_BUILD, 'No version of the index is of this model.');
    for (const { version } of versions) {
      const texts = passages.map((passage) => searchableText({ title: source.title, ...passage }));
      await this.#writer.embed(source.workspaceId, texts, version, signal);
    }
    signal.throwIfAborted();
    const replaced = await this.#store(source, passages);
    if (replaced) await this.#indexPassages(source, { replaced, passageCount: passages.length }, signal);
    else await this.#giveBack(source);
  }

  /**
   * New passages take the place of the old ones, whose ids are returned; `undefined` when the source is another worker's by now, or to
   * be deleted.
   */
  async #store(source: ClaimedSource, passages: readonly Passage[]): Promise<string[] | undefined> {
    const { workspaceId, chatbotId, id, title } = source;
    return this.#database.transaction(async (sql) => {
      const held = await sql.query(
        `SELECT 1 FROM sources WHERE id = $1 AND fence = $2 AND state <> 'deleting' FOR NO KEY UPDATE`,
        [id, source.fence],
      );
      if (held.length === 0) return undefined;
      const old = await documentIds(sql, source);
      const replaced = await sql.query<{ id: string }>('SELECT id FROM passages WHERE document_id = ANY($1::uuid[])', [
        old,
      ]);
      const documentId = newId();
      await sql.query(
        `INSERT INTO documents (id, workspace_id, source_id, title, url, sha256) VALUES ($1, $2, $3, $4, $5, $6)`,
        [documentId, workspaceId, id, title, source.url, sha256(source.content)],
      );
      await sql.query(
        `INSERT INTO passages (id, workspace_id, chatbot_id, source_id, document_id, ordinal, title, heading_path, text, sha256,
                               embedded_sha256)
         SELECT v.id, $1, $2, $3, $4, v.ordinal, $5, ARRAY(SELECT json_array_elements_text(v.heading_path)), v.text, v.sha256,
                v.embedded_sha256
         FROM unnest($6::uuid[], $7::int[], $8::json[], $9::text[], $10::text[], $11::bytea[])
           AS v(id, ordinal, heading_path, text, sha256, embedded_sha256)`,
        [
          workspaceId,
          chatbotId,
          id,
          documentId,
          title,
          passages.map(() => newId()),
          passages.map(({ ordinal }) => ordinal),
          passages.map(({ headingPath }) => JSON.stringify(headingPath)),
          passages.map(({ text }) => text),
          passages.map(({ sha256: hash }) => hash),
          passages.map((passage) => hashOf(searchableText({ title, ...passage }))),
        ],
      );
      await forgetEmbeddings(sql, workspaceId, old);
      await sql.query('DELETE FROM documents WHERE workspace_id = $1 AND id = ANY($2::uuid[])', [workspaceId, old]);
      return replaced.map((row) => row.id);
    });
  }

  /**
   * Writes the source into every version, and looks again until Postgres and the index agree. A worker that was told to stop writes
   * nowhere new, but still corrects what it has written; one that cannot asks for somebody else to do it.
   */
  async #indexPassages(
    source: ClaimedSource,
    { replaced, passageCount }: { readonly replaced: readonly string[]; readonly passageCount: number },
    signal: AbortSignal,
  ): Promise<void> {
    const ids = { ...source, sourceId: source.id };
    const written = new Map<string, { readonly version: IndexVersion; readonly documentId: string | undefined }>();
    let isUnchecked = false;
    try {
      for (;;) {
        const rows = await versionsToWrite(this.#parts, source, untilCorrect);
        const versions = new Map(rows.map(({ version }) => [indexVersionName(version), version]));
        const documentId = (await this.#writer.documents(ids)).get(source.id);
        const stale = [...versions].filter(([name]) => {
          const before = written.get(name);
          return before === undefined ? !signal.aborted : before.documentId !== documentId;
        });
        for (const [name, version] of stale) {
          isUnchecked = true;
          if (await this.#writer.canFill(version, untilCorrect)) {
            written.set(name, { version, documentId: await this.#writer.writeSource(version, ids, untilCorrect) });
          } else {
            // Another process may have put the new ones there; if none has, the version that is built in its stead gets them.
            await this.#index.deletePassages(version, replaced);
            written.set(name, { version, documentId });
          }
        }
        if (stale.length > 0) continue;
        for (const [name, { version }] of written) {
          if (!versions.has(name)) await dropIfUnknown(this.#database, this.#index, version);
        }
        isUnchecked = false;
        signal.throwIfAborted();
        if (await this.#finish(source, passageCount, rows)) return;
      }
    } catch (error) {
      if (isUnchecked) await this.#askAgain(source);
      throw error;
    }
  }

  /** False when there are other versions than these by now. */
  async #finish(source: ClaimedSource, passageCount: number, written: readonly StoredVersion[]): Promise<boolean> {
    const fillable = new Set((await this.#fillable(written, untilCorrect)).map(({ id }) => id));
    return this.#database.transaction(async (sql) => {
      const versions = await readVersions(sql, this.#index.engine, source, {
        states: ['building', 'live'],
        lock: true,
      });
      if (versions.some(({ id, state }) => !written.some((before) => before.id === id && before.state === state))) {
        return false;
      }
      const isFound = versions.some(({ id, state }) => state === 'live' && fillable.has(id));
      const willBeFound = versions.some(({ id, state }) => state === 'building' && fillable.has(id));
      if (!isFound && !willBeFound) throw new Transient(WAITS_FOR_BUILD, 'No version of the index is of this model.');
      await sql.query(
        `UPDATE sources
         SET state = CASE WHEN state = 'deleting' THEN state ELSE $4 END, error_code = $5, passage_count = $3, tries = 0,
             lease_until = NULL, updated_at = now(), due_at = CASE WHEN due_at <> $6::timestamptz THEN due_at END
         WHERE id = $1 AND fence = $2`,
        [
          source.id,
          source.fence,
          passageCount,
          isFound ? 'ready' : 'pending',
          isFound ? null : WAITS_FOR_BUILD,
          source.dueAt,
        ],
      );
      return true;
    });
  }

  /** Out of the index first, out of every version: while the row stands, somebody will come back and finish. */
  async #remove(source: ClaimedSource, signal: AbortSignal): Promise<void> {
    const cleared = new Set<string>();
    for (;;) {
      const versions = await readVersions(this.#database, this.#index.engine, source, {
        states: ['building', 'live', 'retired'],
      });
      if (versions.every(({ state }) => state === 'retired'))
        await refuseIfElsewhere(this.#database, this.#index.engine, source);
      const left = versions.filter(({ version }) => !cleared.has(indexVersionName(version)));
      if (left.length === 0) break;
      for (const { version } of left) {
        signal.throwIfAborted();
        await this.#index.deleteBySource(version, source.id);
        cleared.add(indexVersionName(version));
      }
    }
    await this.#database.transaction(async (sql) => {
      const held = await sql.query('SELECT 1 FROM sources WHERE id = $1 AND fence = $2 FOR UPDATE', [
        source.id,
        source.fence,
      ]);
      if (held.length === 0) return;
      await forgetEmbeddings(sql, source.workspaceId, await documentIds(sql, source));
      await sql.query('DELETE FROM sources WHERE id = $1', [source.id]);
    });
  }

  async #fillable(versions: readonly StoredVersion[], signal: AbortSignal): Promise<StoredVersion[]> {
    const fits = await Promise.all(versions.map(({ version }) => this.#writer.canFill(version, signal)));
    return versions.filter((_, i) => fits[i]);
  }

  /** False also when the source was deleted meanwhile: that is to begin now, and not when this is done. */
  async #renew(source: ClaimedSource): Promise<boolean> {
    const rows = await this.#database.query(
      `UPDATE sources SET lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
       WHERE id = $1 AND fence = $2 AND lease_until IS NOT NULL AND (state = 'deleting') = ($4 = 'deleting') RETURNING id`,
      [source.id, source.fence, LEASE_MS, source.state],
    );
    return rows.length > 0;
  }

  /** Makes the source due for whoever has taken it over, or has even finished it. */
  async #askAgain(source: ClaimedSource): Promise<void> {
    await this.#database.query('UPDATE sources SET due_at = clock_timestamp() WHERE id = $1 AND fence <> $2', [
      source.id,
      source.fence,
    ]);
  }

  async #giveBack(source: ClaimedSource): Promise<void> {
    await this.#database.query(
      `UPDATE sources SET lease_until = NULL, tries = greatest(tries - 1, 0) WHERE id = $1 AND fence = $2`,
      [source.id, source.fence],
    );
  }

  async #putOff(source: ClaimedSource, error: unknown): Promise<void> {
    const { kind, code } = toAppError(error);
    const isOver = kind !== 'transient' && source.tries >= TRIES_MAX;
    this.#logger[kind === 'transient' ? 'warn' : 'error'](
      { err: error, sourceId: source.id, tries: source.tries },
      'Source not synced',
    );
    await this.#database.query(
      `UPDATE sources
       SET lease_until = NULL, updated_at = now(), error_code = $3,
           state = CASE WHEN $4 AND state <> 'deleting' THEN 'failed' ELSE state END,
           due_at = CASE WHEN $4 AND state <> 'deleting' THEN NULL
                         ELSE greatest(due_at, clock_timestamp() + $5::float8 * interval '1 millisecond') END
       WHERE id = $1 AND fence = $2`,
      [source.id, source.fence, code, isOver, retryPauseMs(error, source.tries)],
    );
  }
}

/** For what has to be done to its end. */
const untilCorrect = new AbortController().signal;

async function documentIds(sql: Sql, { workspaceId, id }: ClaimedSource): Promise<string[]> {
  const rows = await sql.query<{ id: string }>('SELECT id FROM documents WHERE workspace_id = $1 AND source_id = $2', [
    workspaceId,
    id,
  ]);
  return rows.map((row) => row.id);
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
