import { createHash, createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 32 characters of 62 are 190 bits: more than anyone can guess, and a double click selects all of it. */
const apiKeyLength = 32;

/** A new API key: `al_` and 32 letters and digits. It is shown once; only its {@link hashApiKey} is stored. */
export function generateApiKey(): string {
  return `al_${Array.from({ length: apiKeyLength }, () => base62[randomInt(base62.length)]).join('')}`;
}

/** What is stored of an API key: its SHA-256, 64 hex digits. A slow hash is for passwords; a random key cannot be guessed. */
export function hashApiKey(apiKey: string): string {
  return createHash('sha256').update(apiKey, 'utf8').digest('hex');
}

/** `bytes` random bytes as base64url, for keys in paths and verify tokens. */
export function generateToken(bytes: number): string {
  return randomBytes(bytes).toString('base64url');
}

/** HMAC-SHA256 of `data`, 32 bytes (RFC 2104, FIPS 180-4). Strings are taken as UTF-8. */
export function hmacSha256(key: string | Uint8Array, data: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

/** Whether both are the same, in a time that tells nothing about where they differ (only whether their lengths do). */
export function safeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  const [left, right] = [Buffer.from(a as string), Buffer.from(b as string)];
  return left.length === right.length && timingSafeEqual(left, right);
}
