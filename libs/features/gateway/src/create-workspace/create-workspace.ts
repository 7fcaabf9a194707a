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

interface WorkspaceRow {
  id: string;
  name: string;
  plan: string;
  time_zone: string;
  created_at: Date;
}

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
        `INSERT INTO workspaces (id, name, plan, time_zone) VALUES ($1, $2, $3, $4)
         RETURNING id, name, plan, time_zone, created_at`,
        [newId(), input.name, input.plan ?? this.#options.defaultPlan, input.timeZone ?? 'UTC'],
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
      `SELECT id, name, plan, time_zone, created_at FROM workspaces WHERE id = $1`,
      [id],
    );
    if (!row) throw notFound();
    return toWorkspace(row);
  }
}

function toWorkspace(row: WorkspaceRow): z.infer<typeof workspaceSchema> {
  return {
    id: row.id,
    name: row.name,
    plan: planSchema.parse(row.plan),
    timeZone: row.time_zone,
    createdAt: row.created_at.toISOString(),
  };
}
