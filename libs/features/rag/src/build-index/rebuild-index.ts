import { InvalidInput } from '@answerline/errors';
import { newId, type Database } from '@answerline/persistence';

/** How far the builds that were asked for are. Passages only of those that have begun and are not done. */
export interface RebuildProgress {
  readonly done: number;
  readonly waiting: number;
  readonly passagesDone: number;
  readonly passagesTotal: number;
  /** Whether a process holds a build at this moment, one of these or another one. */
  readonly isWorkedOn: boolean;
  /** Codes of builds that failed and are tried again, and when the next try is. */
  readonly errorCodes: readonly string[];
  readonly nextTryAt: Date | null;
}

/** Asks for builds of what is live already, and looks how they go. The work is done by whichever rag process runs. */
export class RebuildIndex {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Asks for a build of the chatbot's version, or of all chatbots' that have one; one under way starts over. Returns the ids of the
   * builds. Throws InvalidInput `chatbot_not_found` (404) for an id that no chatbot has.
   */
  async request(chatbotId?: string): Promise<string[]> {
    if (chatbotId !== undefined) {
      const found = await this.#database.query('SELECT 1 FROM chatbots WHERE id::text = $1', [chatbotId]);
      if (found.length === 0)
        throw new InvalidInput('chatbot_not_found', 'There is no such chatbot.', { httpStatus: 404 });
    }
    return this.#database.transaction(async (sql) => {
      const live = await sql.query<{ id: string }>(
        `SELECT id FROM index_versions WHERE state = 'live' AND ($1::uuid IS NULL OR chatbot_id = $1::uuid) ORDER BY id`,
        [chatbotId ?? null],
      );
      await sql.query(
        `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, model, dimensions, state, due_at)
         SELECT new.id, v.workspace_id, v.chatbot_id, v.engine, v.mapping, v.model, v.dimensions, 'building', now()
         FROM unnest($1::uuid[], $2::uuid[]) AS new(id, of) JOIN index_versions v ON v.id = new.of
         ON CONFLICT (chatbot_id, engine) WHERE state = 'building' DO NOTHING`,
        [live.map(() => newId()), live.map(({ id }) => id)],
      );
      const building = await sql.query<{ id: string }>(
        `UPDATE index_versions
         SET fence = fence + 1, lease_until = NULL, due_at = now(), tries = 0, error_code = NULL, passages_done = 0, passages_total = 0
         WHERE state = 'building' AND ($1::uuid IS NULL OR chatbot_id = $1::uuid) RETURNING id`,
        [chatbotId ?? null],
      );
      return building.map(({ id }) => id);
    });
  }

  /** What became of these builds; one that is gone, because its chatbot is, counts as done. */
  async progress(ids: readonly string[]): Promise<RebuildProgress> {
    const [row] = await this.#database.query<{
      waiting: number;
      passages_done: number;
      passages_total: number;
      error_codes: string[] | null;
      next_try_at: Date | null;
      is_worked_on: boolean;
    }>(
      `SELECT count(*)::int AS waiting, coalesce(sum(passages_done), 0)::int AS passages_done,
              coalesce(sum(passages_total), 0)::int AS passages_total,
              array_agg(DISTINCT error_code) FILTER (WHERE error_code IS NOT NULL) AS error_codes,
              min(due_at) FILTER (WHERE error_code IS NOT NULL AND due_at > now()) AS next_try_at,
              EXISTS (SELECT 1 FROM index_versions WHERE state = 'building' AND lease_until > now()) AS is_worked_on
       FROM index_versions WHERE id = ANY($1::uuid[]) AND state = 'building'`,
      [ids],
    );
    const waiting = row?.waiting ?? 0;
    return {
      done: ids.length - waiting,
      waiting,
      passagesDone: row?.passages_done ?? 0,
      passagesTotal: row?.passages_total ?? 0,
      isWorkedOn: row?.is_worked_on ?? false,
      errorCodes: row?.error_codes ?? [],
      nextTryAt: row?.next_try_at ?? null,
    };
  }
}
