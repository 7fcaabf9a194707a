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
  /** The stored App Secret does not open: no delivery can be checked, so none is taken. */
  readonly unreadable?: SecretUnreadable;
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
}

/** A changed App Secret counts, and a removed key is refused, after this long at the latest. */
const MAX_AGE_MS = 2_000;
/** Half of it, so that a delivery to a key in use never waits for Postgres. */
const REFRESH_AFTER_MS = 1_000;
/** About 0.5 kB each. Unknown keys are kept too and may push known ones out, which costs a read. */
const MAX_ENTRIES = 20_000;

/** The webhook keys, by the SHA-256 (hex) of the key in the callback path. */
export class WebhookKeys {
  readonly #database: Database;
  readonly #secretBox: SecretBox;
  readonly #cache: FreshCache<WebhookKeyRecord>;
  /** Opened App Secrets by row and ciphertext, so that reading a row again does not open it again. */
  #opened = new Map<string, KeyObject>();

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

  /** The record, null for an unknown key; a promise when Postgres must be asked. It throws Transient when that cannot be. */
  lookup(keyHash: string): WebhookKeyRecord | null | Promise<WebhookKeyRecord | null> {
    return this.#cache.lookup(keyHash);
  }

  /** Always reads Postgres: Meta asks while the call that made the key is still open. */
  async verification(keyHash: string): Promise<WebhookVerification | null> {
    const [row] = await this.#database.query<{ id: string; workspace_id: string; verify_token_ciphertext: string }>(
      `SELECT id, workspace_id, verify_token_ciphertext FROM webhook_keys WHERE key_hash = decode($1, 'hex')`,
      [keyHash],
    );
    if (!row) return null;
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
        text: `SELECT id, workspace_id, encode(key_hash, 'hex') AS hash, app_secret_ciphertext FROM webhook_keys
               WHERE key_hash IN (SELECT decode(hash, 'hex') FROM unnest($1::text[]) AS hash)`,
      },
      [hashes],
    );
    return new Map(rows.map((row) => [row.hash, this.#record(row)]));
  }

  #record(row: KeyRow): WebhookKeyRecord {
    const record = { keyId: row.id, subject: webhookSubject(row.workspace_id, row.id) };
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
    const opened = `${row.id} ${ciphertext}`;
    const known = this.#opened.get(opened);
    if (known) return known;
    const place = {
      workspaceId: row.workspace_id,
      table: 'webhook_keys',
      rowId: row.id,
      column: 'app_secret_ciphertext',
    };
    const key = signingKey(this.#secretBox.open(ciphertext, place));
    if (this.#opened.size >= MAX_ENTRIES) this.#opened = new Map();
    this.#opened.set(opened, key);
    return key;
  }
}
