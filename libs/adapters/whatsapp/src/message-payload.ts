import type { JsonObject } from './json-reading.ts';

/**
 * Media that can be fetched with the channel's token for 7 days (META 5). Captions come on images, videos and documents
 * only.
 */
export interface MediaPayload {
  readonly kind: 'media';
  readonly mediaType: 'image' | 'video' | 'audio' | 'document';
  readonly mediaId?: string | undefined;
  /** With parameters, as `audio/ogg; codecs=opus`. */
  readonly mimeType?: string | undefined;
  readonly sha256?: string | undefined;
  readonly caption?: string | undefined;
  readonly filename?: string | undefined;
  readonly sizeBytes?: number | undefined;
  /** A voice message, recorded by push-to-talk. */
  readonly voice: boolean;
}

export interface InteractivePayload {
  readonly kind: 'interactive';
  /** button_reply, list_reply, nfm_reply, call_permission_reply, or a word that is new to us. */
  readonly interactiveType?: string | undefined;
  readonly id?: string | undefined;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  /** The body line of a flow reply. */
  readonly body?: string | undefined;
  /** The answers of a flow; undefined when `response_json` is missing or no JSON object. */
  readonly flowAnswers?: JsonObject | undefined;
}

export interface ContactCard {
  readonly name?: string | undefined;
  readonly organization?: string | undefined;
  readonly phones: readonly { readonly phone?: string | undefined; readonly waId?: string | undefined }[];
}

export interface OrderLine {
  readonly productRetailerId?: string | undefined;
  readonly quantity?: number | undefined;
  readonly itemPrice?: number | undefined;
  readonly currency?: string | undefined;
}

/** The meaning of a message, by Meta's `type`. What Meta left out is undefined; the whole stays in the item's `raw`. */
export type MessagePayload =
  | { readonly kind: 'text'; readonly body?: string | undefined }
  | MediaPayload
  | { readonly kind: 'sticker'; readonly mediaId?: string | undefined; readonly animated: boolean }
  /** `emoji` null: the reaction was taken back. */
  | { readonly kind: 'reaction'; readonly messageId?: string | undefined; readonly emoji: string | null }
  | {
      readonly kind: 'location';
      readonly latitude?: number | undefined;
      readonly longitude?: number | undefined;
      readonly name?: string | undefined;
      readonly address?: string | undefined;
    }
  | { readonly kind: 'contacts'; readonly cards: readonly ContactCard[] }
  | InteractivePayload
  /** Tap on a quick reply of a template. */
  | { readonly kind: 'button'; readonly text?: string | undefined; readonly payload?: string | undefined }
  | { readonly kind: 'order'; readonly text?: string | undefined; readonly lines: readonly OrderLine[] }
  | {
      readonly kind: 'system';
      /** user_changed_number, user_changed_user_id, customer_identity_changed, or a word that is new to us. */
      readonly systemType: string;
      readonly newWaId?: string | undefined;
      readonly newUserId?: string | undefined;
      readonly oldUserId?: string | undefined;
    }
  /** `text`: what the message says now. */
  | { readonly kind: 'edit'; readonly originalMessageId?: string | undefined; readonly text?: string | undefined }
  | { readonly kind: 'revoke'; readonly originalMessageId?: string | undefined }
  /** `unsupportedType`: what it was, as `edit`, where Meta says. */
  | { readonly kind: 'unsupported'; readonly unsupportedType?: string | undefined }
  | { readonly kind: 'unknown' };
