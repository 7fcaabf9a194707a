import { type Database } from '@answerline/persistence';
import { FreshCache } from '../fresh-cache.ts';

/** What a key of the management API may do. */
export const API_KEY_SCOPES = ['read', 'write'] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

export interface ApiKeyRecord {
  readonly workspaceId: string;
  readonly scopes: readonly string[];
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null;
}

/** A revoked key must be refused within 5 s, by every gateway. */
const MAX_AGE_MS = 5_000;
const REFRESH_AFTER_MS = 2_500;
const MAX_ENTRIES = 20_000;

/** API keys by their SHA-256 (hex), as stored. Revoked ones do not exist. */
export class ApiKeys {
  readonly #cache: FreshCache<ApiKeyRecord>;

  constructor(database: Database, now: () => number = () => performance.now()) {
    this.#cache = new FreshCache({
      read: (hashes) => readKeys(database, hashes),
      maxAgeMs: MAX_AGE_MS,
      refreshAfterMs: REFRESH_AFTER_MS,
      maxEntries: MAX_ENTRIES,
      now,
    });
  }

  /** Null: no such key, or revoked. At most 5 s behind Postgres; throws Transient when that cannot be had. */
  async find(keyHash: string): Promise<ApiKeyRecord | null> {
    return this.#cache.lookup(keyHash);
  }
}

async function readKeys(database: Database, hashes: string[]): Promise<Map<string, ApiKeyRecord>> {
  const rows = await database.query<{ hash: string; workspace_id: string; scopes: string[]; expires_at: Date | null }>(
    {
      name: 'api-keys',
      text: `SELECT encode(key_hash, 'hex') AS hash, workspace_id, scopes, expires_at FROM api_keys
             WHERE revoked_at IS NULL AND key_hash IN (SELECT decode(hash, 'hex') FROM unnest($1::text[]) AS hash)`,
    },
    [hashes],
  );
  return new Map(
    rows.map(({ hash, workspace_id, scopes, expires_at }) => [
      hash,
      { workspaceId: workspace_id, scopes, expiresAt: expires_at?.getTime() ?? null },
    ]),
  );
}
