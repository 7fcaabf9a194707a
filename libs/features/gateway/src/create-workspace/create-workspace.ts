import {
  type createdWorkspaceSchema,
  type createWorkspaceSchema,
  planSchema,
  type workspaceSchema,
} from '@answerline/contracts';
import { Database, newId } from '@answerline/persistence';
import { generateApiKey, hashApiKey } from '@answerline/secrets';
import { Inject, Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { GATEWAY_OPTIONS, type GatewayOptions } from '../gateway-options.ts';
import { notFound } from '../management-api/api-errors.ts';
import { API_KEY_SCOPES } from '../management-api/api-keys.ts';

/** A row of workspaces, as {@link WORKSPACE_COLUMNS} reads it. */
export interface WorkspaceRow extends Record<string, unknown> {
  id: string;
  name: string;
  plan: string;
  time_zone: string;
  owner_email: string | null;
  created_at: Date;
}

export const WORKSPACE_COLUMNS = 'id, name, plan, time_zone, owner_email, created_at';

/** What a list of keys shows of each: `al_` and the first characters. They leave enough to guess. */
const PREFIX_LENGTH = 9;

/** Makes workspaces. */
@Injectable()
export class CreateWorkspace {
  readonly #database: Database;
  readonly #options: Pick<GatewayOptions, 'defaultPlan'>;

  constructor(database: Database, @Inject(GATEWAY_OPTIONS) options: Pick<GatewayOptions, 'defaultPlan'>) {
    this.#database = database;
    this.#options = options;
  }

  /** The workspace and its first API key, with all scopes. The key is in the answer and nowhere else. */
  async execute(input: z.infer<typeof createWorkspaceSchema>): Promise<z.infer<typeof createdWorkspaceSchema>> {
    const apiKey = generateApiKey();
    const workspace = await this.#database.transaction(async (sql) => {
      const [row] = await sql.query<WorkspaceRow>(
        `INSERT INTO workspaces (id, name, plan, time_zone, owner_email) VALUES ($1, $2, $3, $4, $5)
         RETURNING ${WORKSPACE_COLUMNS}`,
        [
          newId(),
          input.name,
          input.plan ?? this.#options.defaultPlan,
          input.timeZone ?? 'UTC',
          input.ownerEmail ?? null,
        ],
      );
      if (!row) throw notFound();
      await sql.query(
        `INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash, scopes)
         VALUES ($1, $2, 'First key', $3, decode($4, 'hex'), $5)`,
        [newId(), row.id, apiKey.slice(0, PREFIX_LENGTH), hashApiKey(apiKey), API_KEY_SCOPES],
      );
      return row;
    });
    return { workspace: toWorkspace(workspace), apiKey };
  }

  /** Throws 404 when there is none. */
  async read(id: string): Promise<z.infer<typeof workspaceSchema>> {
    const [row] = await this.#database.query<WorkspaceRow>(
      `SELECT ${WORKSPACE_COLUMNS} FROM workspaces WHERE id = $1`,
      [id],
    );
    if (!row) throw notFound();
    return toWorkspace(row);
  }
}

export function toWorkspace(row: WorkspaceRow): z.infer<typeof workspaceSchema> {
  return {
    id: row.id,
    name: row.name,
    plan: planSchema.parse(row.plan),
    timeZone: row.time_zone,
    ownerEmail: row.owner_email,
    createdAt: row.created_at.toISOString(),
  };
}
