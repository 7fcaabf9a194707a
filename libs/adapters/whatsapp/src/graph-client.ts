import { fetchOperator, OutboundError } from '@answerline/outbound-http';
import { classifyGraphError, type GraphFailure } from './graph-errors.ts';
import { asArray, asObject, asString } from './json-reading.ts';
import type { RecipientAddress } from './phone-numbers.ts';

/**
 * How a call of the Graph API ended. `refused`: Meta said no, so nothing was sent. `not_sent`: the call never reached
 * Meta, so it may be made again. `unknown`: it may have been carried out or not; only the status webhook can tell
 * (DESIGN 3.6). `reason` is a stable snake_case code, without secrets.
 */
export type CallFailure =
  | { readonly outcome: 'refused'; readonly failure: GraphFailure }
  | { readonly outcome: 'not_sent'; readonly reason: string; readonly retryAfterMs?: number | undefined }
  | { readonly outcome: 'unknown'; readonly reason: string };

/** How a send ended. `accepted` means taken by Meta, not delivered. The recipient's ids are as Meta answered them. */
export type SendOutcome =
  | {
      readonly outcome: 'accepted';
      readonly providerMessageId: string;
      readonly recipientWaId?: string | undefined;
      readonly recipientUserId?: string | undefined;
    }
  | CallFailure;

/** How a read receipt ended. */
export type MarkReadOutcome = { readonly outcome: 'accepted' } | CallFailure;

/** The channel that calls. */
export interface GraphCaller {
  readonly phoneNumberId: string;
  readonly accessToken: string;
  /** The request is not begun later than this after the call: 5 s unless told (DESIGN 3.6). */
  readonly startWithinMs?: number | undefined;
}

/** One text to one person, addressed by what `recipientOf` gives. */
export type TextMessage = GraphCaller &
  RecipientAddress & {
    /** At most 4096 characters; `splitForWhatsApp` sees to that. */
    readonly text: string;
    /** Meta's id of the message that the bubble quotes. */
    readonly quoteMessageId?: string | undefined;
    /** Comes back in every status as `biz_opaque_callback_data`: the attempt id. */
    readonly callbackData: string;
  };

export interface ReadReceipt extends GraphCaller {
  /** Meta's id of the newest message read; earlier ones are marked as well. */
  readonly messageId: string;
  /** Shows "typing…" too, until the next message or for 25 s. */
  readonly typing: boolean;
}

export interface GraphClientOptions {
  /** `https://graph.facebook.com`, or the sandbox. */
  readonly baseUrl: string;
  /** As `v26.0`. */
  readonly version: string;
  readonly timeoutMs?: number;
  /** Milliseconds since 1970, to read a Retry-After date by. */
  readonly now?: () => number;
}

// DESIGN 3.6: a claimed send is settled as unknown after 20 s, so its call has to be over well before.
const TIMEOUT_MS = 10_000;

// Answers are a few hundred bytes, errors a few thousand.
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * Sends through Meta's Graph API, `POST /{phone-number-id}/messages` (META 5). One call makes one request: it never
 * tries again by itself, and it throws nothing but our own bugs. Token and text stand in no outcome and no error.
 */
export class GraphClient {
  readonly #baseUrl: string;
  readonly #timeoutMs: number;
  readonly #now: () => number;

  constructor({ baseUrl, version, timeoutMs = TIMEOUT_MS, now = Date.now }: GraphClientOptions) {
    this.#baseUrl = `${baseUrl.replace(/\/+$/, '')}/${version}`;
    this.#timeoutMs = timeoutMs;
    this.#now = now;
  }

  /** Sends one text message, without link preview. */
  async sendText(message: TextMessage): Promise<SendOutcome> {
    const answer = await this.#post(message, {
      messaging_product: 'whatsapp',
      recipient_type: 'individual',
      ...('to' in message ? { to: message.to } : { recipient: message.recipient }),
      type: 'text',
      text: { body: message.text, preview_url: false },
      ...(message.quoteMessageId === undefined ? {} : { context: { message_id: message.quoteMessageId } }),
      biz_opaque_callback_data: message.callbackData,
    });
    if (answer.outcome !== 'answered') return answer;
    const sent = asObject(asArray(answer.body['messages'])[0]);
    const contact = asObject(asArray(answer.body['contacts'])[0]);
    const providerMessageId = asString(sent?.['id']);
    if (providerMessageId === undefined) return { outcome: 'unknown', reason: 'answer_without_message_id' };
    return {
      outcome: 'accepted',
      providerMessageId,
      recipientWaId: asString(contact?.['wa_id'])?.trim(),
      recipientUserId: asString(contact?.['user_id']),
    };
  }

  /** Blue ticks for a message and all before it and, on request, "typing…" with the same call. */
  async markRead(receipt: ReadReceipt): Promise<MarkReadOutcome> {
    const answer = await this.#post(receipt, {
      messaging_product: 'whatsapp',
      status: 'read',
      message_id: receipt.messageId,
      ...(receipt.typing ? { typing_indicator: { type: 'text' } } : {}),
    });
    return answer.outcome === 'answered' ? { outcome: 'accepted' } : answer;
  }

  async #post(
    caller: GraphCaller,
    body: object,
  ): Promise<{ readonly outcome: 'answered'; readonly body: Readonly<Record<string, unknown>> } | CallFailure> {
    // A header cannot carry anything else, and Meta's tokens hold nothing else.
    if (!/^[\x21-\x7e]+$/.test(caller.accessToken)) {
      return { outcome: 'refused', failure: classifyGraphError({ code: 190 }) };
    }
    let response: Awaited<ReturnType<typeof fetchOperator>>;
    try {
      response = await fetchOperator(`${this.#baseUrl}/${encodeURIComponent(caller.phoneNumberId)}/messages`, {
        method: 'POST',
        headers: { authorization: `Bearer ${caller.accessToken}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        timeoutMs: this.#timeoutMs,
        maxBytes: MAX_ANSWER_BYTES,
        ...(caller.startWithinMs === undefined ? {} : { startWithinMs: caller.startWithinMs }),
      });
    } catch (error) {
      if (!(error instanceof OutboundError)) throw error;
      return { outcome: error.delivery, reason: error.code };
    }

    const { status } = response;
    const answer = parseJson(response.body);
    const retryAfterMs = this.#retryAfterMs(response.headers['retry-after']);
    const failure = classifyGraphError({ status, body: answer });
    if (failure !== undefined) return { outcome: 'refused', failure: { ...failure, retryAfterMs } };
    if (status >= 200 && status < 300) {
      const object = asObject(answer);
      return object === undefined
        ? { outcome: 'unknown', reason: 'answer_not_json' }
        : { outcome: 'answered', body: object };
    }
    // 3xx and 4xx without a Graph error come from something before Meta that did not let the request through; a 408 and
    // a 5xx may have been given after it had.
    const mayHaveArrived = status >= 500 || status === 408;
    return mayHaveArrived
      ? { outcome: 'unknown', reason: `http_${status}` }
      : { outcome: 'not_sent', reason: `http_${status}`, retryAfterMs };
  }

  /** Retry-After in seconds or as a date (RFC 9110, 10.2.3). */
  #retryAfterMs(header: string | string[] | undefined): number | undefined {
    const value = typeof header === 'string' ? header.trim() : header?.[0]?.trim();
    if (value === undefined || value === '') return undefined;
    const waitMs = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - this.#now();
    return Number.isFinite(waitMs) ? Math.max(0, waitMs) : undefined;
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
