import { callGraph, type CallFailure, type GraphAnswer } from './graph-call.ts';
import { asArray, asObject, asString } from './json-reading.ts';
import type { RecipientAddress } from './phone-numbers.ts';

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
  /** The request is not begun later than this, by `performance.now()`: 5 s after the call unless told (DESIGN 3.6). */
  readonly startBy?: number | undefined;
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

  #post(caller: GraphCaller, body: object): Promise<GraphAnswer | CallFailure> {
    return callGraph({
      method: 'POST',
      url: `${this.#baseUrl}/${encodeURIComponent(caller.phoneNumberId)}/messages`,
      accessToken: caller.accessToken,
      body,
      timeoutMs: this.#timeoutMs,
      startBy: caller.startBy,
      now: this.#now,
    });
  }
}
