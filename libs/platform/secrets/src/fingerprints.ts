import { createHmac, hkdfSync } from 'node:crypto';
import { type KeyRing } from './key-ring.ts';
import { lengthPrefixed } from './length-prefixed.ts';

const KEY_BYTES = 32;

/** A fingerprint and the id of the encryption key that it was made with. */
export interface Fingerprint {
  readonly keyId: string;
  /** 32 bytes. */
  readonly mac: Buffer;
}

/**
 * HMACs of values, such as phone numbers, that are to be known again and not to be read: who has them but not the encryption
 * keys cannot try out all values. Their keys are derived from the encryption keys (HKDF, RFC 5869), for one purpose each, so
 * that they open nothing and fingerprints of two purposes never meet.
 */
export class Fingerprints {
  readonly #keys: readonly { readonly id: string; readonly key: Buffer }[];

  constructor(ring: KeyRing, purpose: string) {
    const info = `answerline fingerprints: ${purpose}`;
    this.#keys = ring.map(({ id, key }) => ({ id, key: Buffer.from(hkdfSync('sha256', key, '', info, KEY_BYTES)) }));
  }

  /** By the first key of the ring, to be stored. The value is all `parts`, with their borders. */
  of(parts: readonly string[]): Fingerprint {
    const [newest] = this.#keys;
    if (!newest) throw new TypeError('A key ring is never empty.');
    return { keyId: newest.id, mac: macOf(newest.key, parts) };
  }

  /** By each key of the ring, to look for one that may have been stored before a rotation. */
  all(parts: readonly string[]): Buffer[] {
    return this.#keys.map(({ key }) => macOf(key, parts));
  }
}

function macOf(key: Buffer, parts: readonly string[]): Buffer {
  return createHmac('sha256', key).update(lengthPrefixed(parts)).digest();
}
