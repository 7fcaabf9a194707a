import { DELETION_MARKS_KEPT_DAYS, type Database } from '@answerline/persistence';
import { type SecretBox, SecretUnreadable } from '@answerline/secrets';

/** Where ciphertexts are stored. A test compares it with the schema. */
export const SEALED_COLUMNS = {
  webhook_keys: ['key_ciphertext', 'verify_token_ciphertext', 'app_secret_ciphertext'],
  channels: ['access_token_ciphertext'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type SealedTable = keyof typeof SEALED_COLUMNS;

/** Rows of one batch. Each is changed in a statement of its own, so no lock is held for long. */
const BATCH_SIZE = 100;

/** What a rotation came to. */
export interface RotatedKeys {
  /** The key that all is sealed with now. */
  readonly keyId: string;
  readonly resealed: number;
  /** Ciphertexts that are still sealed with another key, because they do not open. */
  readonly left: number;
  /** Marks of deleted contacts by their key, and when they are not needed any more: so long an old key has to stay. */
  readonly marks: readonly { readonly keyId: string; readonly count: number; readonly neededUntil: Date }[];
}

/**
 * Seals all stored secrets anew with the first key of the ring, so that the others can be taken out. Safe beside processes that
 * read and write, as long as they have this ring; ended half-way it goes on where it was.
 */
export class RotateKeys {
  readonly #database: Database;
  readonly #secretBox: SecretBox;

  constructor(database: Database, secretBox: SecretBox) {
    this.#database = database;
    this.#secretBox = secretBox;
  }

  /** @param batchSize smaller, for tests */
  async execute(batchSize = BATCH_SIZE): Promise<RotatedKeys> {
    let resealed = 0;
    for (const table of Object.keys(SEALED_COLUMNS) as SealedTable[]) {
      for (const column of SEALED_COLUMNS[table]) resealed += await this.#reseal(table, column, batchSize);
    }
    return {
      keyId: this.#secretBox.currentKeyId,
      resealed,
      left: await this.#countLeft(),
      marks: await this.#marks(),
    };
  }

  async #reseal(table: SealedTable, column: string, batchSize: number): Promise<number> {
    let resealed = 0;
    let after = '00000000-0000-0000-0000-000000000000';
    for (;;) {
      const rows = await this.#database.query<{ id: string; workspace_id: string; ciphertext: string }>(
        `SELECT id, workspace_id, ${column} AS ciphertext FROM ${table}
         WHERE id > $1 AND NOT starts_with(${column}, $2) ORDER BY id LIMIT $3`,
        [after, this.#secretBox.currentPrefix, batchSize],
      );
      for (const { id, workspace_id: workspaceId, ciphertext } of rows) {
        const renewed = this.#renew(ciphertext, { workspaceId, table, rowId: id, column });
        if (renewed === null) continue;
        // What somebody else has written meanwhile is newer than what was read.
        const changed = await this.#database.query(
          `UPDATE ${table} SET ${column} = $3 WHERE id = $1 AND ${column} = $2 RETURNING id`,
          [id, ciphertext, renewed],
        );
        resealed += changed.length;
      }
      const last = rows.at(-1);
      if (!last || rows.length < batchSize) return resealed;
      after = last.id;
    }
  }

  /** Null when it does not open: its key is not in the ring. */
  #renew(ciphertext: string, place: Parameters<SecretBox['open']>[1]): string | null {
    try {
      return this.#secretBox.seal(this.#secretBox.open(ciphertext, place), place);
    } catch (error) {
      if (error instanceof SecretUnreadable) return null;
      throw error;
    }
  }

  async #countLeft(): Promise<number> {
    const columns = (Object.keys(SEALED_COLUMNS) as SealedTable[]).flatMap((table) =>
      SEALED_COLUMNS[table].map((column) => `SELECT count(*) AS n FROM ${table} WHERE NOT starts_with(${column}, $1)`),
    );
    const [row] = await this.#database.query<{ left: number }>(
      `SELECT sum(n)::int AS left FROM (${columns.join(' UNION ALL ')}) AS counted`,
      [this.#secretBox.currentPrefix],
    );
    return row?.left ?? 0;
  }

  async #marks(): Promise<RotatedKeys['marks']> {
    const rows = await this.#database.query<{ key_id: string; count: number; needed_until: Date }>(
      `SELECT key_id, count(*)::int AS count, max(deleted_at) + $2::int * interval '1 day' AS needed_until
       FROM deletion_marks WHERE key_id <> $1 GROUP BY key_id ORDER BY key_id`,
      [this.#secretBox.currentKeyId, DELETION_MARKS_KEPT_DAYS],
    );
    return rows.map((row) => ({ keyId: row.key_id, count: row.count, neededUntil: row.needed_until }));
  }
}
