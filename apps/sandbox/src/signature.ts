import { createHmac } from 'node:crypto';

const escaped = /[/\u0080-\uffff]/g;

/**
 * The bytes of a webhook as Meta writes them: JSON in ASCII, non-ASCII as lowercase `\uXXXX` and `/` as `\/`
 * (Meta, Graph API "Webhooks: getting started"). A receiver that parses and writes the JSON again before hashing
 * gets another signature, which is what this is for.
 */
export function encodeWebhook(body: unknown): Buffer {
  const json = JSON.stringify(body);
  return Buffer.from(
    json.replace(escaped, (unit) => (unit === '/' ? '\\/' : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)),
    'latin1',
  );
}

/** The `X-Hub-Signature-256` header: HMAC-SHA256 of the exact bytes under the app secret, in lowercase hex. */
export function signWebhook(appSecret: string, rawBody: Uint8Array): string {
  return `sha256=${createHmac('sha256', appSecret).update(rawBody).digest('hex')}`;
}
