import { createHash, createHmac, randomUUID } from 'node:crypto';
import { selfTestObject, type ChannelHealth } from '@answerline/contracts';
import { fetchOperator, OutboundError, type HttpResponse, type OutboundCode } from '@answerline/outbound-http';
import { SELF_TEST_HEADER } from '../receive-webhook/webhook-door.ts';

/** Meta's own limit is not known; third parties say 5 to 20 s. Ours answers in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Our own answer is empty. A page of somebody else's needs no more to be seen as one. */
const MAX_ANSWER_BYTES = 64 * 1024;

type Hop = NonNullable<NonNullable<ChannelHealth['delivery']>['hop']>;

/** Where a delivery of ours ended. */
export type SelfTestOutcome =
  | { readonly hop: null; readonly httpStatus: number; readonly bodySha256: string }
  | { readonly hop: Hop; readonly code: string; readonly httpStatus: number | null };

/**
 * Posts a delivery to the public address of our own callback, signed as Meta signs, and says how far it came: the name, the
 * connection, TLS, who answered, the signature. Ingest keeps a verdict of it and nothing else.
 *
 * @param callbackUrl under PUBLIC_URL, which is the operator's own: it may be a private address
 * @param appSecret undefined when the channel has none; then nothing is signed, as nothing is checked
 */
export async function sendSelfTest(callbackUrl: string, appSecret: string | undefined): Promise<SelfTestOutcome> {
  // Another one each time: the stream drops what it has seen in the last minutes.
  const body = JSON.stringify({ object: selfTestObject, id: randomUUID() });
  const signature = appSecret === undefined ? undefined : createHmac('sha256', appSecret).update(body).digest('hex');
  try {
    const response = await fetchOperator(callbackUrl, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        [SELF_TEST_HEADER]: '1',
        ...(signature !== undefined && { 'x-hub-signature-256': `sha256=${signature}` }),
      },
      body,
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_ANSWER_BYTES,
    });
    return read(response, createHash('sha256').update(body).digest('hex'));
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return { ...failedHop(error), httpStatus: null };
  }
}

const beforeTheRequest: Partial<Record<OutboundCode, { hop: Hop; code: string }>> = {
  outbound_dns_failed: { hop: 'dns', code: 'callback_name_unknown' },
  outbound_tls_failed: { hop: 'tls', code: 'callback_tls_failed' },
};

function failedHop({ code, delivery }: OutboundError): { hop: Hop; code: string } {
  if (code === 'outbound_response_too_large') return { hop: 'answer', code: 'callback_answered_by_other' };
  if (delivery === 'unknown') return { hop: 'answer', code: 'callback_no_answer' };
  return beforeTheRequest[code] ?? { hop: 'connect', code: 'callback_unreachable' };
}

/** Our door answers without a body, whatever it answers: a body is somebody else's. */
function read({ status, body }: HttpResponse, bodySha256: string): SelfTestOutcome {
  const failed = (hop: Hop, code: string): SelfTestOutcome => ({ hop, code, httpStatus: status });
  const isOurs = body.length === 0;
  if (status >= 300 && status < 400) return failed('answer', 'callback_redirected');
  if (status === 200) {
    return isOurs ? { hop: null, httpStatus: status, bodySha256 } : failed('answer', 'callback_answered_by_other');
  }
  if (status === 401 && isOurs) return failed('signature', 'callback_signature_refused');
  if (status === 503 && isOurs) return failed('storage', 'callback_not_stored');
  // A firewall or a proxy that lets through only what it knows.
  const isBlocked = status === 403 || status === 405 || status === 406 || status === 429 || (status === 401 && !isOurs);
  if (isBlocked) return failed('answer', 'callback_blocked');
  return failed('answer', 'callback_wrong_answer');
}
