import { createHash } from 'node:crypto';
import { parseWebhookSubject, selfTestObject } from '@answerline/contracts';
import { InvalidInput } from '@answerline/errors';
import { type Delivery } from '@answerline/messaging';
import { parseWebhook, type WebhookItem } from '@answerline/whatsapp';

/** One webhook body out of the stream, taken apart. */
export interface WebhookBody {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly streamSequence: number;
  readonly sha256: string;
  /** A delivery of our own, that only shows that the callback can be reached. */
  readonly isSelfTest: boolean;
  readonly items: readonly WebhookItem[];
}

/**
 * Reads a delivery of the stream WEBHOOKS.
 *
 * @throws InvalidInput `webhook_subject_invalid`, `webhook_not_json`
 */
export function readDelivery(delivery: Delivery): WebhookBody {
  const subject = parseWebhookSubject(delivery.subject);
  if (!subject) throw new InvalidInput('webhook_subject_invalid', 'The subject names no workspace and key.');
  const body = parseJson(delivery.data);
  const isSelfTest = typeof body === 'object' && body !== null && 'object' in body && body.object === selfTestObject;
  return {
    ...subject,
    streamSequence: delivery.streamSequence,
    sha256: createHash('sha256').update(delivery.data).digest('hex'),
    isSelfTest,
    items: isSelfTest ? [] : parseWebhook(body),
  };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    // The cause would quote the body.
    throw new InvalidInput('webhook_not_json', 'A signed webhook body is not JSON.');
  }
}
