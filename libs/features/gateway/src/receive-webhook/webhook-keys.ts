import { type KeyObject } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { type Database } from '@answerline/persistence';
import { type SecretBox, SecretUnreadable } from '@answerline/secrets';
import { FreshCache } from '../fresh-cache.ts';
import { signingKey } from './webhook-signature.ts';

/** What the door must know to take a delivery. */
export interface WebhookKeyRecord {
  readonly keyId: string;
  /** Where its bodies go. */
  readonly subject: string;
  /** Null: no App Secret was given, so nobody can tell Meta's deliveries from forged ones. */
  readonly appSecret: KeyObject | null;
  readonly appSecretCiphertext: string | null;
  /** The stored App Secret does not open: no delivery can be checked, so none is taken. */
  readonly unreadable?: SecretUnreadable;
  /** Its last channel was disconnected: nothing of a delivery is kept, and nobody can check it any more. */
  readonly isErased: boolean;
}

/** What the verification GET compares with. */
export interface WebhookVerification {
  readonly verifyToken: string;
}

interface KeyRow {
  id: string;
  workspace_id: string;
  hash: string;
  app_secret_ciphertext: string | null;
  is_erased: boolean;
}

/** A changed App Secret counts, and a removed key is refused, after this long at the latest. */
const MAX_AGE_MS = 2_000;
/** Half of it, so that a delivery to a key in use never waits for Postgres. */
const REFRESH_AFTER_MS = 1_000;
/** What nobody asks for is forgotten at this age, so that no process holds a secret for more than 2 s after it was erased. */
const FORGET_AFTER_MS = 1_500;
/** How often {@link WebhookKeys.forgetOld} is to be called for that. */
export const FORGET_EVERY_MS = 250;
/** About 0.5 kB each. Unknown keys are kept too and may push known ones out, which costs a read. */
const MAX_ENTRIES = 20_000;

/** The webhook keys, by the SHA-256 (hex) of the key in the callback path. */
export class WebhookKeys {
  readonly #database: Database;
  readonly #secretBox: SecretBox;
  readonly #cache: FreshCache<WebhookKeyRecord>;

  constructor(database: Database, secretBox: SecretBox, now: () => number = () => performance.now()) {
    this.#database = database;
    this.#secretBox = secretBox;
    this.#cache = new FreshCache({
      read: (hashes) => this.#read(hashes),
      maxAgeMs: MAX_AGE_MS,
      refreshAfterMs: REFRESH_AFTER_MS,
      maxEntries: MAX_ENTRIES,
      now,
    });
  }

  /**
   * The record, null for an unknown key; a promise when Postgres must be asked. It throws Transient when that cannot be. That
   * a key is erased is never answered from memory: a number that is connected again must not lose its first messages.
   */
  lookup(keyHash: string): WebhookKeyRecord | null | Promise<WebhookKeyRecord | null> {
    const found = this.#cache.lookup(keyHash);
    if (found instanceof Promise || found?.isErased !== true) return found;
    return this.#read([keyHash]).then((records) => records.get(keyHash) ?? null);
  }

  /** Forgets what has not been read anew for a while, secrets above all. */
  forgetOld(): void {
    this.#cache.forget(FORGET_AFTER_MS);
  }

  /** How many App Secrets this process holds. */
  get secretsHeld(): number {
    return this.#cache.values().filter((record) => record?.appSecret).length;
  }

  /** Always reads Postgres: Meta asks while the call that made the key is still open. */
  async verification(keyHash: string): Promise<WebhookVerification | null> {
    const [row] = await this.#database.query<{
      id: string;
      workspace_id: string;
      verify_token_ciphertext: string | null;
    }>(`SELECT id, workspace_id, verify_token_ciphertext FROM webhook_keys WHERE key_hash = decode($1, 'hex')`, [
      keyHash,
    ]);
    if (!row || row.verify_token_ciphertext === null) return null;
    const place = {
      workspaceId: row.workspace_id,
      table: 'webhook_keys',
      rowId: row.id,
      column: 'verify_token_ciphertext',
    };
    return { verifyToken: this.#secretBox.open(row.verify_token_ciphertext, place) };
  }

  async #read(hashes: string[]): Promise<Map<string, WebhookKeyRecord>> {
    const rows = await this.#database.query<KeyRow>(
      {
        name: 'webhook-keys',
        text: `SELECT id, workspace_id, encode(key_hash, 'hex') AS hash, app_secret_ciphertext,
                      verify_token_ciphertext IS NULL AS is_erased
               FROM webhook_keys
               WHERE NOT is_draft AND key_hash IN (SELECT decode(hash, 'hex') FROM unnest($1::text[]) AS hash)`,
      },
      [hashes],
    );
    return new Map(rows.map((row) => [row.hash, this.#record(row)]));
  }

  #record(row: KeyRow): WebhookKeyRecord {
    const record = {
      keyId: row.id,
      subject: webhookSubject(row.workspace_id, row.id),
      appSecretCiphertext: row.app_secret_ciphertext,
      isErased: row.is_erased,
    };
    try {
      return {
        ...record,
        appSecret: row.app_secret_ciphertext === null ? null : this.#open(row, row.app_secret_ciphertext),
      };
    } catch (error) {
      if (error instanceof SecretUnreadable) return { ...record, appSecret: null, unreadable: error };
      throw error;
    }
  }

  #open(row: KeyRow, ciphertext: string): KeyObject {
    // Reading a row again does not open it again.
    const known = this.#cache.peek(row.hash);
    if (known?.appSecret && known.appSecretCiphertext === ciphertext) return known.appSecret;
    const place = {
      workspaceId: row.workspace_id,
      table: 'webhook_keys',
      rowId: row.id,
      column: 'app_secret_ciphertext',
    };
    return signingKey(this.#secretBox.open(ciphertext, place));
  }
}
