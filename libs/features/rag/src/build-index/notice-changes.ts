import { setTimeout as delay } from 'node:timers/promises';
import { type Logger } from '@answerline/logging';
import { addVersions, embeddingOf, toColumns, type ChatbotIds, type IndexParts } from '../index-versions.ts';
import { retryPauseMs } from '../retry-pause.ts';
import { WAITS_FOR_BUILD } from '../sync-source/sync-source.ts';

/**
 * Asks for a build of each chatbot whose live version is not of this process's engine, field design and model. Only at the start of a
 * process, so that two with different settings do not take turns: the one that started last wins. In the background, because the
 * model has to be asked for its dimensions; tried again until it answers or `signal` ends it. Never rejects.
 */
export async function noticeChanges(
  parts: IndexParts & { readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  for (let tries = 1; !signal.aborted; tries += 1) {
    try {
      const asked = await requestBuilds(parts, signal);
      if (asked > 0) parts.logger.warn({ chatbots: asked }, 'The index is built anew for other settings');
      return;
    } catch (error) {
      if (signal.aborted) return;
      parts.logger.warn({ err: error, tries }, 'Could not compare the index with the settings');
      await delay(retryPauseMs(error, tries), undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Does it once and returns how many builds were asked for. */
export async function requestBuilds({ database, index, embedder }: IndexParts, signal: AbortSignal): Promise<number> {
  const wanted = toColumns({ mapping: index.mapping, ...withEmbedding(await embeddingOf(embedder, signal)) });
  const wantedIn = (row: string): string =>
    `${row}.engine = $1 AND ${row}.mapping = $2 AND ${row}.model IS NOT DISTINCT FROM $3 AND ${row}.dimensions IS NOT DISTINCT FROM $4`;
  const values = [index.engine, wanted.mapping, wanted.model, wanted.dimensions];
  return database.transaction(async (sql) => {
    // One that was being filled anew while it is live may lack what was written meanwhile: it counts only once it is built.
    await sql.query(
      `UPDATE index_versions live SET due_at = now() FROM index_versions building
       WHERE live.state = 'live' AND building.state = 'building' AND building.chatbot_id = live.chatbot_id
         AND building.engine = live.engine AND building.mapping = live.mapping
         AND building.model IS NOT DISTINCT FROM live.model AND building.dimensions IS NOT DISTINCT FROM live.dimensions
         AND building.engine = $1 AND NOT (${wantedIn('building')})`,
      values,
    );
    await sql.query(
      `UPDATE index_versions SET state = 'retired', due_at = now(), fence = fence + 1, lease_until = NULL
       WHERE state = 'building' AND engine = $1 AND NOT (${wantedIn('index_versions')})`,
      values,
    );
    const rows = await sql.query<{ workspace_id: string; id: string }>(
      `SELECT c.workspace_id, c.id FROM chatbots c
       WHERE NOT EXISTS (SELECT 1 FROM index_versions v WHERE v.chatbot_id = c.id AND ${wantedIn('v')}
                         AND (v.state = 'building' OR (v.state = 'live' AND v.due_at IS NULL)))
         AND (EXISTS (SELECT 1 FROM index_versions WHERE chatbot_id = c.id AND state = 'live')
              OR EXISTS (SELECT 1 FROM passages p WHERE p.workspace_id = c.workspace_id AND p.chatbot_id = c.id))
       ORDER BY c.id`,
      values,
    );
    const chatbots: ChatbotIds[] = rows.map((row) => ({ workspaceId: row.workspace_id, chatbotId: row.id }));
    if (chatbots.length > 0) await addVersions(sql, index.engine, wanted, chatbots, 'building');
    // What waited for a build that is not to be: looked at again. What the model's endpoint refused: its settings may be right now.
    await sql.query(
      `UPDATE sources s SET due_at = now()
       WHERE s.state = 'pending' AND s.error_code = $2 AND s.due_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM index_versions WHERE chatbot_id = s.chatbot_id AND engine = $1 AND state = 'building')`,
      [index.engine, WAITS_FOR_BUILD],
    );
    await sql.query(
      `UPDATE sources SET state = 'pending', due_at = now(), tries = 0 WHERE state = 'failed' AND error_code = 'embedder_refused'`,
    );
    return chatbots.length;
  });
}

const withEmbedding = <Embedding>(embedding: Embedding | undefined) => (embedding === undefined ? {} : { embedding });
