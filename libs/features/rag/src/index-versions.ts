import { Transient } from '@answerline/errors';
import { indexVersionName, type Embedding, type IndexVersion, type KnowledgeIndex } from '@answerline/knowledge-index';
import { type Embedder } from '@answerline/language-model';
import { newId, type Database, type Sql } from '@answerline/persistence';

/** What indexing works with. Without an embedding model the index is searched by words only. */
export interface IndexParts {
  readonly database: Database;
  readonly index: KnowledgeIndex;
  readonly embedder: Embedder | null;
}

/** `building` is being filled, `live` is searched, `retired` was live until a moment ago and is dropped soon. */
export type VersionState = 'building' | 'live' | 'retired';

/** A row of `index_versions`: what stands in the index is `version`. Two rows may name the same one while it is built anew. */
export interface StoredVersion {
  readonly id: string;
  readonly state: VersionState;
  readonly version: IndexVersion;
}

/** A chatbot, and the workspace that it belongs to. */
export interface ChatbotIds {
  readonly workspaceId: string;
  readonly chatbotId: string;
}

interface VersionColumns {
  readonly mapping: number;
  readonly model: string | null;
  readonly dimensions: number | null;
}

/** The version that a row says. */
export function toVersion(chatbotId: string, { mapping, model, dimensions }: VersionColumns): IndexVersion {
  const embedding = model === null || dimensions === null ? {} : { embedding: { model, dimensions } };
  return { chatbotId, mapping, ...embedding };
}

/** The columns of a version. */
export function toColumns({ mapping, embedding }: Omit<IndexVersion, 'chatbotId'>): VersionColumns {
  return { mapping, model: embedding?.model ?? null, dimensions: embedding?.dimensions ?? null };
}

/** Whether both are the same copy in the index. */
export function isSameVersion(a: IndexVersion, b: IndexVersion): boolean {
  return indexVersionName(a) === indexVersionName(b);
}

/** The embedding that this process makes; `undefined` without a model. Throws what the model throws. */
export async function embeddingOf(embedder: Embedder | null, signal: AbortSignal): Promise<Embedding | undefined> {
  return embedder === null ? undefined : { model: embedder.model, dimensions: await embedder.dimensions(signal) };
}

/**
 * The chatbot's versions in this engine. With `lock` they keep their state until the transaction ends: a swap waits for it.
 */
export async function readVersions(
  sql: Sql,
  engine: KnowledgeIndex['engine'],
  { workspaceId, chatbotId }: ChatbotIds,
  options: { readonly states: readonly VersionState[]; readonly lock?: boolean },
): Promise<StoredVersion[]> {
  const rows = await sql.query<VersionColumns & { id: string; state: VersionState }>(
    `SELECT id, state, mapping, model, dimensions FROM index_versions
     WHERE workspace_id = $1 AND chatbot_id = $2 AND engine = $3 AND state = ANY($4::text[])
     ORDER BY id ${options.lock ? 'FOR SHARE' : ''}`,
    [workspaceId, chatbotId, engine, options.states],
  );
  return rows.map((row) => ({ id: row.id, state: row.state, version: toVersion(chatbotId, row) }));
}

/**
 * The versions that a source of this chatbot is to be written to: the live one and the one that is being built. Without any, one is
 * made: live at once when there is nothing to fill it with, else to be built.
 *
 * Empty when the chatbot is gone. Throws what {@link refuseIfElsewhere} and the model throw.
 */
export async function versionsToWrite(
  { database, index, embedder }: IndexParts,
  chatbot: ChatbotIds,
  signal: AbortSignal,
): Promise<StoredVersion[]> {
  const { workspaceId, chatbotId } = chatbot;
  const read = (sql: Sql) => readVersions(sql, index.engine, chatbot, { states: ['building', 'live'] });
  const versions = await read(database);
  if (versions.length > 0) return versions;
  const columns = toColumns(index.versionFor(chatbotId, await embeddingOf(embedder, signal)));
  return database.transaction(async (sql) => {
    // One at a time, so that the second one finds what the first has made.
    const [found] = await sql.query<{ has_passages: boolean }>(
      `SELECT EXISTS (SELECT 1 FROM passages WHERE workspace_id = $1 AND chatbot_id = $2) AS has_passages
       FROM chatbots WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE`,
      [workspaceId, chatbotId],
    );
    if (found && (await read(sql)).length === 0) {
      await refuseIfElsewhere(sql, index.engine, chatbot);
      await addVersions(sql, index.engine, columns, [chatbot], found.has_passages ? 'building' : 'live');
    }
    return read(sql);
  });
}

/** Throws Transient `index_of_another_engine` when the chatbot is searched in an engine that this process does not have. */
export async function refuseIfElsewhere(
  sql: Sql,
  engine: KnowledgeIndex['engine'],
  { workspaceId, chatbotId }: ChatbotIds,
): Promise<void> {
  const rows = await sql.query(
    `SELECT 1 FROM index_versions WHERE workspace_id = $1 AND chatbot_id = $2 AND engine <> $3 AND state = 'live'`,
    [workspaceId, chatbotId, engine],
  );
  if (rows.length === 0) return;
  throw new Transient('index_of_another_engine', 'This chatbot is searched in another engine than this process has.');
}

/** Adds a row for each chatbot, unless there is one of this state. A version that waited to be dropped is wanted again. */
export async function addVersions(
  sql: Sql,
  engine: KnowledgeIndex['engine'],
  { mapping, model, dimensions }: VersionColumns,
  chatbots: readonly ChatbotIds[],
  state: 'building' | 'live',
): Promise<void> {
  const chatbotIds = chatbots.map(({ chatbotId }) => chatbotId);
  await sql.query(
    `DELETE FROM index_versions
     WHERE chatbot_id = ANY($1::uuid[]) AND engine = $2 AND state = 'retired'
       AND mapping = $3 AND model IS NOT DISTINCT FROM $4 AND dimensions IS NOT DISTINCT FROM $5`,
    [chatbotIds, engine, mapping, model, dimensions],
  );
  await sql.query(
    `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, model, dimensions, state, due_at, live_at)
     SELECT new.id, new.workspace_id, new.chatbot_id, $4, $5, $6, $7, $8::text,
            CASE $8::text WHEN 'building' THEN now() END, CASE $8::text WHEN 'live' THEN now() END
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new(id, workspace_id, chatbot_id)
     ON CONFLICT DO NOTHING`,
    [
      chatbots.map(() => newId()),
      chatbots.map(({ workspaceId }) => workspaceId),
      chatbotIds,
      engine,
      mapping,
      model,
      dimensions,
      state,
    ],
  );
}

/**
 * Drops a copy from the index unless a row names it: for a writer that came late and may have made a dropped one again. Nobody can
 * add such a row meanwhile, because that needs the chatbot's row.
 */
export async function dropIfUnknown(database: Database, index: KnowledgeIndex, version: IndexVersion): Promise<void> {
  const { mapping, model, dimensions } = toColumns(version);
  await database.transaction(async (sql) => {
    await sql.query('SELECT 1 FROM chatbots WHERE id = $1 FOR UPDATE', [version.chatbotId]);
    const rows = await sql.query(
      `SELECT 1 FROM index_versions
       WHERE chatbot_id = $1 AND engine = $2 AND mapping = $3
         AND model IS NOT DISTINCT FROM $4 AND dimensions IS NOT DISTINCT FROM $5`,
      [version.chatbotId, index.engine, mapping, model, dimensions],
    );
    if (rows.length === 0) await index.drop(version);
  });
}
