import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Transient } from '@answerline/errors';
import { type Database, newId, type Sql } from '@answerline/persistence';
import { generateToken, type SecretBox } from '@answerline/secrets';

/** Bytes of a webhook key and of a verify token. */
const KEY_BYTES = 32;
/** Longer than a connect can take: some dozen calls of at most 10 s, of which the first that fails ends it. */
const CLAIM_MS = 120_000;
/** A connect takes a second or two; whoever waits longer than this had better come again. */
const WAIT_MS = 20_000;
const POLL_MS = 50;

/** The webhook key of a Meta app, while one caller connects a number with it. */
export interface ClaimedKey {
  readonly id: string;
  readonly workspaceId: string;
  /** Ciphertexts of the row. */
  readonly key: string;
  readonly verifyToken: string;
  /** The verify token was made for this connect. */
  readonly isVerifyTokenNew: boolean;
  /** When the claim ends, as text, which is also its mark: a later claim has another. */
  readonly until: string;
}

interface Row {
  id: string;
  key_ciphertext: string;
  verify_token_ciphertext: string | null;
  until: string;
}

/**
 * Claims the key of an app, made if it is not there: then as a draft, which answers Meta's verification and takes no
 * deliveries. One connect an app at a time in the installation, so that none undoes at Meta what another has just done: ask
 * only for somebody who has a token of the app. A claim whose process died ends by itself. Throws Transient
 * `connect_in_progress`.
 */
export async function claimWebhookKey(
  database: Database,
  secretBox: SecretBox,
  workspaceId: string,
  appId: string,
): Promise<ClaimedKey> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const row = await database.transaction((sql) => tryClaim(sql, secretBox, workspaceId, appId));
    if (row) return withVerifyToken(database, secretBox, workspaceId, row);
    if (performance.now() > deadline) {
      throw new Transient('connect_in_progress', 'A number of this app is being connected.', {
        retryAfterMs: CLAIM_MS,
      });
    }
    await delay(POLL_MS);
  }
}

async function tryClaim(sql: Sql, secretBox: SecretBox, workspaceId: string, appId: string): Promise<Row | undefined> {
  const id = newId();
  const key = generateToken(KEY_BYTES);
  const seal = (plain: string, column: string): string =>
    secretBox.seal(plain, { workspaceId, table: 'webhook_keys', rowId: id, column });
  // Until the end of this transaction: two workspaces that insert at once would not see each other's row.
  await sql.query(`SELECT pg_advisory_xact_lock(hashtextextended('connect ' || $1, 0))`, [appId]);
  const [row] = await sql.query<Row>(
    `INSERT INTO webhook_keys AS k
       (id, workspace_id, app_id, key_hash, key_ciphertext, verify_token_ciphertext, is_draft, connecting_until)
     SELECT $1::uuid, $2::uuid, $3::text, $4::bytea, $5::text, $6::text, true, clock_timestamp() + $7 * interval '1 ms'
     WHERE NOT EXISTS (SELECT 1 FROM webhook_keys WHERE app_id = $3 AND connecting_until > clock_timestamp())
     ON CONFLICT (workspace_id, app_id) DO UPDATE SET connecting_until = excluded.connecting_until
     RETURNING k.id, k.key_ciphertext, k.verify_token_ciphertext, k.connecting_until::text AS until`,
    [
      id,
      workspaceId,
      appId,
      createHash('sha256').update(key).digest(),
      seal(key, 'key_ciphertext'),
      seal(generateToken(KEY_BYTES), 'verify_token_ciphertext'),
      CLAIM_MS,
    ],
  );
  return row;
}

/** A verify token is erased with the last channel of its key. It is made anew here, and the key a draft again until then. */
async function withVerifyToken(
  database: Database,
  secretBox: SecretBox,
  workspaceId: string,
  row: Row,
): Promise<ClaimedKey> {
  const place = { workspaceId, table: 'webhook_keys', rowId: row.id, column: 'verify_token_ciphertext' };
  const verifyToken = row.verify_token_ciphertext ?? secretBox.seal(generateToken(KEY_BYTES), place);
  const isVerifyTokenNew = row.verify_token_ciphertext === null;
  if (isVerifyTokenNew) {
    await database.query(
      `UPDATE webhook_keys SET verify_token_ciphertext = $3, is_draft = true
       WHERE id = $1 AND connecting_until = $2::timestamptz`,
      [row.id, row.until, verifyToken],
    );
  }
  return {
    id: row.id,
    workspaceId,
    key: row.key_ciphertext,
    verifyToken,
    isVerifyTokenNew,
    until: row.until,
  };
}

/** Gives a key back after a connect that came to nothing, as it was before: a draft is gone. */
export async function releaseWebhookKey(database: Database, claim: ClaimedKey): Promise<void> {
  const claimed = 'id = $1 AND connecting_until = $2::timestamptz';
  if (!claim.isVerifyTokenNew) {
    await database.query(
      `DELETE FROM webhook_keys k WHERE ${claimed} AND is_draft
         AND NOT EXISTS (SELECT 1 FROM channels c WHERE c.webhook_key_id = k.id)`,
      [claim.id, claim.until],
    );
  }
  await database.query(
    `UPDATE webhook_keys
     SET connecting_until = NULL, is_draft = is_draft AND NOT $3,
         verify_token_ciphertext = CASE WHEN $3 THEN NULL ELSE verify_token_ciphertext END
     WHERE ${claimed}`,
    [claim.id, claim.until, claim.isVerifyTokenNew],
  );
}
