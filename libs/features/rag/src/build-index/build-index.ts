import { toAppError, Transient } from '@answerline/errors';
import { type IndexedPassage, type IndexVersion, type KnowledgeIndex } from '@answerline/knowledge-index';
import { type Logger } from '@answerline/logging';
import { type Database } from '@answerline/persistence';
import { startLease } from '@answerline/work-queue';
import { dropIfUnknown, isSameVersion, toColumns, toVersion, type IndexParts } from '../index-versions.ts';
import { PassageWriter } from '../passage-writer.ts';
import { retryPauseMs } from '../retry-pause.ts';
import { WAITS_FOR_BUILD } from '../sync-source/sync-source.ts';

/** A claimed version that is to be filled. */
export interface ClaimedBuild {
  readonly id: string;
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly fence: number;
  readonly tries: number;
  readonly version: IndexVersion;
}

/** A page of passages takes a second or two to write; after three missed renewals another process starts over. */
const RENEW_EVERY_MS = 10_000;
const LEASE_MS = 3 * RENEW_EVERY_MS;
/** Searches that began before the swap are long over by then, and so are writes. */
const DROP_AFTER_MS = 60_000;

/**
 * Fills a version of the index from Postgres and makes it the live one. Until then the old one is searched. What changes meanwhile is
 * found afterwards by comparing documents. Cut short it starts over, with the vectors it has made: they are in the cache.
 */
export class BuildIndex {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #parts: IndexParts;
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

  /** Takes up to `limit` due versions that this process can fill, so that nobody else does. */
  async claim(limit: number): Promise<ClaimedBuild[]> {
    const rows = await this.#database.query<{
      id: string;
      workspace_id: string;
      chatbot_id: string;
      fence: number;
      tries: number;
      mapping: number;
      model: string | null;
      dimensions: number | null;
    }>(
      {
        name: 'claim-index-builds',
        text: `UPDATE index_versions AS v
               SET fence = v.fence + 1, tries = v.tries + 1, lease_until = clock_timestamp() + $5::float8 * interval '1 millisecond'
               FROM (SELECT id FROM index_versions
                     WHERE state = 'building' AND engine = $2 AND mapping = $3 AND model IS NOT DISTINCT FROM $4
                       AND due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                     ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) AS due
               WHERE v.id = due.id
               RETURNING v.*`,
      },
      [limit, this.#index.engine, this.#index.mapping, this.#parts.embedder?.model ?? null, LEASE_MS],
    );
    return rows.map((row) => ({
      id: row.id,
      workspaceId: row.workspace_id,
      chatbotId: row.chatbot_id,
      fence: row.fence,
      tries: row.tries,
      version: toVersion(row.chatbot_id, row),
    }));
  }

  /** Fills one claimed version and swaps it in. `stopping` ends it early and gives it back. What fails is tried again later. */
  async execute(build: ClaimedBuild, stopping: AbortSignal): Promise<void> {
    const lost = new AbortController();
    const lease = startLease({
      everyMs: this.#renewEveryMs,
      renew: () => this.#renew(build),
      onLost: () => lost.abort(new Transient('build_claim_lost', 'This build is over, or somebody else has it now.')),
    });
    const signal = AbortSignal.any([stopping, lost.signal]);
    try {
      const documents = await this.#fill(build, signal);
      // Also when the claim was lost meanwhile: the version may be the live one, and what was written must be corrected.
      await this.#catchUp(build, documents, stopping);
      if (await this.#swap(build)) {
        this.#logger.info({ chatbotId: build.chatbotId, documents: documents.size }, 'Index version went live');
      } else {
        await dropIfUnknown(this.#database, this.#index, build.version);
      }
    } catch (error) {
      if (lost.signal.aborted) await dropIfUnknown(this.#database, this.#index, build.version);
      else if (stopping.aborted) await this.#giveBack(build);
      else await this.#putOff(build, error);
    } finally {
      lease.stop();
    }
  }

  /** Fills the version anew, and returns the document of each source that it read. */
  async #fill(build: ClaimedBuild, signal: AbortSignal): Promise<Map<string, string>> {
    await this.#database.query(
      `UPDATE index_versions
       SET passages_total = (SELECT count(*) FROM passages WHERE workspace_id = $3 AND chatbot_id = $4), passages_done = 0
       WHERE id = $1 AND fence = $2`,
      [build.id, build.fence, build.workspaceId, build.chatbotId],
    );
    const documents = new Map<string, string>();
    await this.#index.rebuild(build.version, this.#passages(build, documents, signal));
    return documents;
  }

  async *#passages(
    build: ClaimedBuild,
    documents: Map<string, string>,
    signal: AbortSignal,
  ): AsyncGenerator<readonly IndexedPassage[]> {
    for await (const page of this.#writer.pages(build.version, build, signal)) {
      for (const [sourceId, documentId] of page.documents) documents.set(sourceId, documentId);
      yield page.passages;
      await this.#database.query(
        'UPDATE index_versions SET passages_done = passages_done + $3 WHERE id = $1 AND fence = $2',
        [build.id, build.fence, page.passages.length],
      );
    }
  }

  /** Indexes again what is another document in Postgres than was written, until nothing differs. */
  async #catchUp(build: ClaimedBuild, written: Map<string, string>, signal: AbortSignal): Promise<void> {
    for (;;) {
      const documents = await this.#writer.documents(build);
      const differing = [...new Set([...documents.keys(), ...written.keys()])].filter(
        (sourceId) => documents.get(sourceId) !== written.get(sourceId),
      );
      if (differing.length === 0) return;
      for (const sourceId of differing) {
        signal.throwIfAborted();
        const documentId = await this.#writer.writeSource(build.version, { ...build, sourceId }, signal);
        if (documentId === undefined) written.delete(sourceId);
        else written.set(sourceId, documentId);
      }
    }
  }

  /**
   * This version is live, the others of the chatbot are retired, and what waited for it is ready: in one step. False when the claim
   * was lost.
   */
  async #swap(build: ClaimedBuild): Promise<boolean> {
    return this.#database.transaction(async (sql) => {
      const held = await sql.query(
        `SELECT 1 FROM index_versions WHERE id = $1 AND fence = $2 AND state = 'building' FOR UPDATE`,
        [build.id, build.fence],
      );
      if (held.length === 0) return false;
      const chatbot = [build.workspaceId, build.chatbotId];
      const { mapping, model, dimensions } = toColumns(build.version);
      // The same copy was only filled anew: nothing is to be dropped.
      await sql.query(
        `DELETE FROM index_versions
         WHERE workspace_id = $1 AND chatbot_id = $2 AND state = 'live' AND engine = $3 AND mapping = $4
           AND model IS NOT DISTINCT FROM $5 AND dimensions IS NOT DISTINCT FROM $6`,
        [...chatbot, this.#index.engine, mapping, model, dimensions],
      );
      // Those of other engines too: nobody writes to them any more.
      await sql.query(
        `UPDATE index_versions SET state = 'retired', due_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
         WHERE workspace_id = $1 AND chatbot_id = $2 AND state = 'live'`,
        [...chatbot, DROP_AFTER_MS],
      );
      await sql.query(
        `UPDATE index_versions SET state = 'live', live_at = now(), due_at = NULL, lease_until = NULL, error_code = NULL, tries = 0
         WHERE id = $1`,
        [build.id],
      );
      await sql.query(
        `UPDATE sources SET state = 'ready', error_code = NULL, updated_at = now()
         WHERE workspace_id = $1 AND chatbot_id = $2 AND state = 'pending' AND error_code = $3 AND due_at IS NULL`,
        [...chatbot, WAITS_FOR_BUILD],
      );
      return true;
    });
  }

  async #renew(build: ClaimedBuild): Promise<boolean> {
    const rows = await this.#database.query(
      `UPDATE index_versions SET lease_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
       WHERE id = $1 AND fence = $2 AND state = 'building' AND lease_until IS NOT NULL RETURNING id`,
      [build.id, build.fence, LEASE_MS],
    );
    return rows.length > 0;
  }

  async #giveBack(build: ClaimedBuild): Promise<void> {
    await this.#database.query(
      'UPDATE index_versions SET lease_until = NULL, tries = greatest(tries - 1, 0) WHERE id = $1 AND fence = $2',
      [build.id, build.fence],
    );
  }

  async #putOff(build: ClaimedBuild, error: unknown): Promise<void> {
    const { kind, code } = toAppError(error);
    this.#logger[kind === 'transient' ? 'warn' : 'error'](
      { err: error, chatbotId: build.chatbotId, tries: build.tries },
      'Index version not built',
    );
    await this.#database.query(
      `UPDATE index_versions
       SET lease_until = NULL, error_code = $3, due_at = clock_timestamp() + $4::float8 * interval '1 millisecond'
       WHERE id = $1 AND fence = $2 AND state = 'building'`,
      [build.id, build.fence, code, retryPauseMs(error, build.tries)],
    );
  }
}

/**
 * Drops one version that was live until a minute ago, and its row. True when there may be more. One that cannot be dropped now is tried
 * again a minute later.
 */
export async function dropRetired(database: Database, index: KnowledgeIndex): Promise<boolean> {
  let failed: string | undefined;
  try {
    return await database.transaction(async (sql) => {
      // Whoever wants such a version again deletes its row first, and waits for this.
      const [row] = await sql.query<{
        id: string;
        chatbot_id: string;
        mapping: number;
        model: string | null;
        dimensions: number | null;
      }>(
        `SELECT * FROM index_versions WHERE state = 'retired' AND engine = $1 AND due_at <= now()
         ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED`,
        [index.engine],
      );
      if (!row) return false;
      failed = row.id;
      const version = toVersion(row.chatbot_id, row);
      const others = await sql.query<typeof row>(
        `SELECT * FROM index_versions WHERE chatbot_id = $1 AND engine = $2 AND id <> $3 AND state <> 'retired'`,
        [row.chatbot_id, index.engine, row.id],
      );
      const isWanted = others.some((other) => isSameVersion(toVersion(other.chatbot_id, other), version));
      if (!isWanted) await index.drop(version);
      await sql.query('DELETE FROM index_versions WHERE id = $1', [row.id]);
      return true;
    });
  } catch (error) {
    if (failed === undefined) throw error;
    await database.query(
      `UPDATE index_versions SET error_code = $2, due_at = clock_timestamp() + $3::float8 * interval '1 millisecond' WHERE id = $1`,
      [failed, toAppError(error).code, DROP_AFTER_MS],
    );
    throw error;
  }
}
