import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Unexpected } from '@answerline/errors';
import { Fingerprints } from './fingerprints.ts';
import { type KeyRing } from './key-ring.ts';
import { lengthPrefixed } from './length-prefixed.ts';

/** Where a ciphertext is stored. It opens nowhere else. */
export interface SecretPlace {
  readonly workspaceId: string;
  readonly table: string;
  readonly rowId: string;
  readonly column: string;
}

/** A ciphertext that does not open: `malformed`, its key is not in the ring (`unknown_key`), or it was changed or moved (`not_authentic`). */
export class SecretUnreadable extends Unexpected {
  constructor(reason: 'malformed' | 'unknown_key' | 'not_authentic', place: SecretPlace, cause?: unknown) {
    const { table, column, rowId } = place;
    super('secret_unreadable', 'A stored secret cannot be read.', { cause, context: { reason, table, column, rowId } });
  }
}

// AES-256-GCM as NIST SP 800-38D. A random 96-bit nonce is its "RBG-based construction" (8.2.2), safe for 2^32 secrets
// under one key (8.3). The tag keeps its full 128 bits (5.2.1.2).
const algorithm = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const version = 'v1';
const keyIdPattern = /^[a-z0-9][a-z0-9_-]{0,31}$/;

/**
 * Seals secrets for storage. A ciphertext is text, `v1.<key id>.<base64url of nonce, ciphertext and tag>`, and is bound to
 * its place: moved to another row, column, table or workspace it does not open.
 */
export class SecretBox {
  readonly #ring: KeyRing;
  readonly #keys: ReadonlyMap<string, Uint8Array>;
  readonly #writing: string;

  /** @throws Unexpected `key_ring_invalid` for an empty ring, an id twice or not plain, or a key that is not 32 bytes long */
  constructor(ring: KeyRing) {
    this.#ring = ring;
    this.#keys = new Map(ring.map(({ id, key }) => [id, key]));
    this.#writing = ring[0]?.id ?? '';
    const isSound = ring.every(({ id, key }) => keyIdPattern.test(id) && key.length === keyBytes);
    if (ring.length === 0 || this.#keys.size !== ring.length || !isSound) {
      throw new Unexpected('key_ring_invalid', 'The encryption keys are not a usable key ring.');
    }
  }

  /** The ciphertext of `plain` for `place`; a different one each time. */
  seal(plain: string, place: SecretPlace): string {
    const nonce = randomBytes(nonceBytes);
    const header = `${version}.${this.#writing}`;
    const cipher = createCipheriv(algorithm, this.#key(this.#writing), nonce, { authTagLength: tagBytes });
    cipher.setAAD(associatedData(header, place));
    const sealed = Buffer.concat([nonce, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return `${header}.${sealed.toString('base64url')}`;
  }

  /**
   * The text that was sealed for `place`.
   * @throws SecretUnreadable (code `secret_unreadable`)
   */
  open(ciphertext: string, place: SecretPlace): string {
    const [, header, keyId] = /^(v1\.([^.]+))\.[A-Za-z0-9_-]+$/.exec(ciphertext) ?? [];
    if (header === undefined || keyId === undefined) throw new SecretUnreadable('malformed', place);
    const text = ciphertext.slice(header.length + 1);
    const sealed = Buffer.from(text, 'base64url');
    // Base64 has several spellings of the same bytes; only the one that seal writes is taken.
    if (sealed.length < nonceBytes + tagBytes || sealed.toString('base64url') !== text) {
      throw new SecretUnreadable('malformed', place);
    }
    if (!this.#keys.has(keyId)) throw new SecretUnreadable('unknown_key', place);
    const decipher = createDecipheriv(algorithm, this.#key(keyId), sealed.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    });
    decipher.setAAD(associatedData(header, place));
    decipher.setAuthTag(sealed.subarray(-tagBytes));
    try {
      const plain = [decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()];
      return Buffer.concat(plain).toString('utf8');
    } catch (cause) {
      throw new SecretUnreadable('not_authentic', place, cause);
    }
  }

  /** The id of the first key of the ring, the one that writes. */
  get currentKeyId(): string {
    return this.#writing;
  }

  /** Fingerprints under keys that are derived from this ring, for one purpose. */
  fingerprints(purpose: string): Fingerprints {
    return new Fingerprints(this.#ring, purpose);
  }

  /** What all ciphertexts of the first key begin with, and no others. */
  get currentPrefix(): string {
    return `${version}.${this.#writing}.`;
  }

  /** Whether `ciphertext` was written with the first key of the ring. After a rotation, rewrite those that were not. */
  isCurrent(ciphertext: string): boolean {
    return ciphertext.startsWith(this.currentPrefix);
  }

  #key(id: string): Uint8Array {
    const key = this.#keys.get(id);
    if (key === undefined) throw new Unexpected('key_ring_invalid', 'An encryption key is missing.');
    return key;
  }
}

function associatedData(header: string, { workspaceId, table, rowId, column }: SecretPlace): Buffer {
  return lengthPrefixed([header, workspaceId, table, rowId, column]);
}
