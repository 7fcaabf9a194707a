import { createHash } from 'node:crypto';
import { toAppError } from '@answerline/errors';
import { type KnowledgeIndex } from '@answerline/knowledge-index';
import { type Logger } from '@answerline/logging';
import { type Database, newId, type Sql } from '@answerline/persistence';
import { splitMarkdown, splitPlainText } from '../split-passages/split-passages.ts';

/** A claimed source. */
export interface ClaimedSource {
  readonly id: string;
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly fence: number;
  readonly tries: number;
  readonly type: string;
  readonly title: string;
  readonly content: string;
  readonly url: string | null;
  readonly state: string;
}

/** Splitting and indexing a text of 1 MB takes a few seconds; another worker may take over after this. */
const LEASE_SECONDS = 120;
/** Tries of a source that fails for want of the index: about 10 minutes, then a person has to look. */
const TRIES_MAX = 10;
const RETRY_FIRST_MS = 1_000;
const RETRY_CAP_MS = 120_000;

/**
 * Brings one source into the knowledge base, or takes it out. Passages are stored first and indexed then: the index can
 * always be made again from them. Safe to run twice.
 */
export class SyncSource {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;
  readonly #logger: Logger;

  constructor(database: Database, index: KnowledgeIndex, logger: Logger) {
    this.#database = database;
    this.#index = index;
    this.#logger = logger;
  }

  /** Takes up to `limit` due sources, so that nobody else does. */
  async claim(limit: number): Promise<ClaimedSource[]> {
    const rows = await this.#database.query<{
      id: string;
      workspace_id: string;
      chatbot_id: string;
      fence: number;
      tries: number;
      type: string;
      title: string;
      content: string;
      url: string | null;
      state: string;
    }>(
      {
        name: 'claim-sources',
        text: `UPDATE sources AS s
               SET fence = s.fence + 1, tries = s.tries + 1, lease_until = clock_timestamp() + $2::float8 * interval '1 second'
               FROM (SELECT id FROM sources WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                     ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) AS due
               WHERE s.id = due.id
               RETURNING s.*`,
      },
      [limit, LEASE_SECONDS],
    );
    return rows.map((row) => ({
      id: row.id,
      workspaceId: row.workspace_id,
      chatbotId: row.chatbot_id,
      fence: row.fence,
      tries: row.tries,
      type: row.type,
      title: row.title,
      content: row.content,
      url: row.url,
      state: row.state,
    }));
  }

  /** Does what the source's state asks for. A failure that may pass is tried again later; any other is shown on the source. */
  async execute(source: ClaimedSource): Promise<void> {
    try {
      if (source.state === 'deleting') await this.#remove(source);
      else await this.#add(source);
    } catch (error) {
      const { kind, code } = toAppError(error);
      const isOver = kind !== 'transient' || source.tries >= TRIES_MAX;
      this.#logger[isOver ? 'error' : 'warn'](
        { err: error, sourceId: source.id, tries: source.tries },
        'Source not synced',
      );
      await this.#database.query(
        `UPDATE sources
         SET lease_until = NULL, updated_at = now(), error_code = $3,
             state = CASE WHEN $4 AND state <> 'deleting' THEN 'failed' ELSE state END,
             due_at = CASE WHEN $4 AND state <> 'deleting' THEN NULL ELSE clock_timestamp() + $5::float8 * interval '1 millisecond' END
         WHERE id = $1 AND fence = $2`,
        [source.id, source.fence, code, isOver, Math.min(RETRY_FIRST_MS * 2 ** (source.tries - 1), RETRY_CAP_MS)],
      );
    }
  }

  async #add(source: ClaimedSource): Promise<void> {
    const passages = (
      source.type === 'markdown'
        ? splitMarkdown(source.content, { title: source.title })
        : splitPlainText(source.content)
    ).map((passage) => ({ ...passage, id: newId() }));
    const isCurrent = await this.#database.transaction(async (sql) => {
      if (!(await holds(sql, source))) return false;
      await sql.query('DELETE FROM documents WHERE workspace_id = $1 AND source_id = $2', [
        source.workspaceId,
        source.id,
      ]);
      const documentId = newId();
      await sql.query(
        `INSERT INTO documents (id, workspace_id, source_id, title, url, sha256) VALUES ($1, $2, $3, $4, $5, $6)`,
        [documentId, source.workspaceId, source.id, source.title, source.url, sha256(source.content)],
      );
      await sql.query(
        `INSERT INTO passages (id, workspace_id, chatbot_id, source_id, document_id, ordinal, title, heading_path, text, sha256)
         SELECT v.id, $1, $2, $3, $4, v.ordinal, $5, ARRAY(SELECT json_array_elements_text(v.heading_path)), v.text, v.sha256
         FROM unnest($6::uuid[], $7::int[], $8::json[], $9::text[], $10::text[]) AS v(id, ordinal, heading_path, text, sha256)`,
        [
          source.workspaceId,
          source.chatbotId,
          source.id,
          documentId,
          source.title,
          passages.map(({ id }) => id),
          passages.map(({ ordinal }) => ordinal),
          passages.map(({ headingPath }) => JSON.stringify(headingPath)),
          passages.map(({ text }) => text),
          passages.map(({ sha256: hash }) => hash),
        ],
      );
      return true;
    });
    if (!isCurrent) return;
    const version = this.#index.versionFor(source.chatbotId);
    await this.#index.deleteBySource(version, source.id);
    await this.#index.addPassages(
      version,
      passages.map(({ id, headingPath, text }) => ({
        passageId: id,
        sourceId: source.id,
        title: source.title,
        headingPath,
        text,
      })),
    );
    await this.#database.query(
      `UPDATE sources
       SET state = CASE WHEN state = 'deleting' THEN state ELSE 'ready' END, passage_count = $3, error_code = NULL, tries = 0,
           lease_until = NULL, updated_at = now(), due_at = CASE WHEN state = 'deleting' THEN due_at END
       WHERE id = $1 AND fence = $2`,
      [source.id, source.fence, passages.length],
    );
  }

  /** Out of the index first: while the row stands, somebody will come back and finish. */
  async #remove(source: ClaimedSource): Promise<void> {
    await this.#index.deleteBySource(this.#index.versionFor(source.chatbotId), source.id);
    await this.#database.query('DELETE FROM sources WHERE id = $1 AND fence = $2', [source.id, source.fence]);
  }
}

/** Whether the claim still stands; the row stays locked until the end of the transaction. */
async function holds(sql: Sql, source: ClaimedSource): Promise<boolean> {
  const rows = await sql.query(
    `SELECT 1 FROM sources WHERE id = $1 AND fence = $2 AND state <> 'deleting' FOR NO KEY UPDATE`,
    [source.id, source.fence],
  );
  return rows.length > 0;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
