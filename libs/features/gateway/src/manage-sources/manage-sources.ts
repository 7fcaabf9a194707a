import { type createSourceSchema, type sourceSchema, type SourceState, type SourceType } from '@answerline/contracts';
import { MessageBus } from '@answerline/messaging';
import { Database, newId, type Page } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';
import { pageFrom } from '../management-api/pages.ts';

type Source = z.infer<typeof sourceSchema>;

interface SourceRow {
  id: string;
  chatbot_id: string;
  type: SourceType;
  title: string;
  url: string | null;
  state: SourceState;
  error_code: string | null;
  passage_count: number;
  created_at: Date;
  updated_at: Date;
}

/** Everything but the content, which may have a megabyte. */
const columns = 'id, chatbot_id, type, title, url, state, error_code, passage_count, created_at, updated_at';

/**
 * A chatbot's knowledge as its owner gave it. Here it is only stored and marked as due: rag turns it into passages, and removes
 * them from the index before the row of a deleted source goes.
 */
@Injectable()
export class ManageSources {
  readonly #database: Database;
  readonly #bus: MessageBus;

  constructor(database: Database, bus: MessageBus) {
    this.#database = database;
    this.#bus = bus;
  }

  async add(workspaceId: string, chatbotId: string, input: z.infer<typeof createSourceSchema>): Promise<Source> {
    const [row] = await this.#database.query<SourceRow>(
      `INSERT INTO sources (id, workspace_id, chatbot_id, type, title, content, url, due_at)
       SELECT $3, c.workspace_id, c.id, $4, $5, $6, $7, now() FROM chatbots c WHERE c.workspace_id = $1 AND c.id = $2
       RETURNING ${columns}`,
      [workspaceId, chatbotId, newId(), input.type, input.title, input.text, input.url ?? null],
    );
    if (!row) throw notFound();
    this.#bus.ring('source', row.id);
    return toSource(row);
  }

  /** Newest first. Throws 404 when there is no such chatbot. */
  async list(
    workspaceId: string,
    chatbotId: string,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<Source>> {
    const chatbot = await this.#database.forWorkspace(workspaceId).chatbots.find({ id: chatbotId });
    if (chatbot === null) throw notFound();
    const rows = await this.#database.query<SourceRow>(
      `SELECT ${columns} FROM sources
       WHERE workspace_id = $1 AND chatbot_id = $2 AND ($3::uuid IS NULL OR id < $3::uuid)
       ORDER BY id DESC LIMIT $4`,
      [workspaceId, chatbotId, cursor ?? null, limit + 1],
    );
    const page = pageFrom(rows, limit, ({ id }) => id);
    return { ...page, items: page.items.map(toSource) };
  }

  async read(workspaceId: string, id: string): Promise<Source> {
    const [row] = await this.#database.query<SourceRow>(
      `SELECT ${columns} FROM sources WHERE workspace_id = $1 AND id = $2`,
      [workspaceId, id],
    );
    if (!row) throw notFound();
    return toSource(row);
  }

  /** Safe to repeat until the row is gone. */
  async delete(workspaceId: string, id: string): Promise<Source> {
    const [row] = await this.#database.query<SourceRow>(
      `UPDATE sources SET state = 'deleting', error_code = NULL, tries = 0, due_at = now(), updated_at = now()
       WHERE workspace_id = $1 AND id = $2 RETURNING ${columns}`,
      [workspaceId, id],
    );
    if (!row) throw notFound();
    this.#bus.ring('source', row.id);
    return toSource(row);
  }
}

function toSource(row: SourceRow): Source {
  return {
    id: row.id,
    chatbotId: row.chatbot_id,
    type: row.type,
    title: row.title,
    url: row.url,
    state: row.state,
    errorCode: row.error_code,
    passageCount: row.passage_count,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
