import type { MessagePayload } from './message-payload.ts';

/**
 * What the webhook says of a person. Every field may be missing: a username user has no `waId`, old data no `userId`.
 */
export interface WebhookParty {
  /** The phone number as Meta wrote it, digits without `+`. Reply to exactly this. */
  readonly waId?: string | undefined;
  /** Business-scoped user id (BSUID), as `US.13491208655302741918`. */
  readonly userId?: string | undefined;
  /** BSUID of the parent portfolio, as `US.ENT.11815799212886844830`. */
  readonly parentUserId?: string | undefined;
  /** Changeable, so never an identity. */
  readonly username?: string | undefined;
  readonly profileName?: string | undefined;
}

/**
 * An error that Meta put into a webhook. `code` is looked up by `classifyGraphError`; undefined when it was not given.
 */
export interface WebhookError {
  readonly code: number | undefined;
  readonly title?: string | undefined;
  readonly details?: string | undefined;
}

interface ItemBase {
  /** Running number of the item in its body, from 0. */
  readonly place: number;
  /** `metadata.phone_number_id`, by which the channel is found; undefined where the change names no number. */
  readonly phoneNumberId: string | undefined;
  /** Formatted differently per source: only to be shown. */
  readonly displayPhoneNumber?: string | undefined;
  /** The JSON of this item, as parsed. */
  readonly raw: unknown;
}

interface MessageBase extends ItemBase {
  /** Meta's id (wamid); where there is none, the sha256 of the message's canonical JSON in hex. */
  readonly messageId: string;
  /** Whether `messageId` is Meta's. Only then can the message be quoted or marked as read. */
  readonly hasOwnId: boolean;
  /** Meta's time; undefined when missing or unreadable. */
  readonly sentAt: Date | undefined;
  /** Meta's own word, `unknown` when it is missing. */
  readonly type: string;
  readonly groupId?: string | undefined;
  /** It came on the field `standby`: Meta's own agent holds the conversation, and we only listen. */
  readonly isStandby: boolean;
  /** The message that this one quotes or answers. */
  readonly contextMessageId?: string | undefined;
  readonly forwarded: boolean;
  /** What `answerableText` says of it. */
  readonly text: string | undefined;
  readonly payload: MessagePayload;
  /** Errors on the message itself, as on media that Meta could not fetch. */
  readonly errors: readonly WebhookError[];
}

/** A message that a contact sent to the business. */
export interface MessageItem extends MessageBase {
  readonly kind: 'message';
  readonly from: WebhookParty;
}

/** A message that the business sent from elsewhere: Meta's own agent (`isStandby`), else its phone app in coexistence. */
export interface EchoItem extends MessageBase {
  readonly kind: 'echo';
  readonly to: WebhookParty;
}

/** What became of a message that we sent. */
export interface StatusItem extends ItemBase {
  readonly kind: 'status';
  readonly providerMessageId: string;
  /** sent, delivered, read, played, failed, or a word that is new to us. */
  readonly status: string;
  readonly at: Date | undefined;
  readonly recipientId?: string | undefined;
  readonly recipientUserId?: string | undefined;
  /** Who of a group this is about: phone number, or BSUID when there is none. */
  readonly participantId?: string | undefined;
  /** Our own `biz_opaque_callback_data`: the attempt id. */
  readonly callbackData?: string | undefined;
  readonly errors: readonly WebhookError[];
  /** As Meta gave it; comes with only one of the statuses of a message. */
  readonly pricing?: unknown;
}

/** Meta's own agent took a conversation, or gave it up (field `messaging_handovers`). */
export interface HandoverItem extends ItemBase {
  readonly kind: 'handover';
  readonly contact: WebhookParty;
  readonly to: 'us' | 'meta_agent';
  readonly at: Date | undefined;
  readonly hash: string;
}

/** A contact's BSUID changed, as it does with a new phone number. */
export interface UserIdUpdateItem extends ItemBase {
  readonly kind: 'user_id_update';
  readonly previous: string;
  readonly current: string;
  readonly waId?: string | undefined;
  readonly at: Date | undefined;
  readonly hash: string;
}

/** Anything else: account, template and quality news, calls, errors without a message, and what is new to us. */
export interface OtherItem extends ItemBase {
  readonly kind: 'other';
  /** `change.field`, `unknown` when it is missing. */
  readonly field: string;
  /** sha256 of the canonical JSON of `raw`, in hex. */
  readonly hash: string;
}

/** One thing out of a webhook body. */
export type WebhookItem = MessageItem | EchoItem | StatusItem | HandoverItem | UserIdUpdateItem | OtherItem;

/**
 * The key under which a repeat of the item is known within its channel (META 4, "Dedupe keys"): the id of a message or
 * echo; id, status and recipient of a status (a group answers once per participant); the hash of anything else.
 */
export function itemKey(item: WebhookItem): string {
  switch (item.kind) {
    case 'message':
    case 'echo':
      return item.messageId;
    case 'status': {
      const recipient = item.participantId ?? item.recipientId ?? item.recipientUserId ?? '';
      return JSON.stringify([item.providerMessageId, item.status, recipient]);
    }
    case 'handover':
    case 'user_id_update':
    case 'other':
      return item.hash;
  }
}
