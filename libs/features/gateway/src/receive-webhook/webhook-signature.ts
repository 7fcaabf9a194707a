import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';

/** `sha256=` and the HMAC in hex. Meta writes lower case; the digits are compared as bytes. */
const header = /^sha256=([0-9a-f]{64})$/i;

/** The App Secret in the form that makes an HMAC fastest; it does not show its bytes when printed. */
export function signingKey(appSecret: string): KeyObject {
  return createSecretKey(appSecret, 'utf8');
}

/**
 * Whether `signature`, the header X-Hub-Signature-256, is Meta's over exactly these bytes: HMAC-SHA256 with the App Secret
 * (https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint). The body
 * must be as it came: parsed and written again it has other bytes, as Meta escapes non-ASCII characters. Constant time.
 */
export function isSignedBy(key: KeyObject, body: Uint8Array, signature: string | string[] | undefined): boolean {
  const hex = typeof signature === 'string' ? header.exec(signature)?.[1] : undefined;
  if (hex === undefined) return false;
  return timingSafeEqual(createHmac('sha256', key).update(body).digest(), Buffer.from(hex, 'hex'));
}
