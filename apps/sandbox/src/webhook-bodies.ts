import { randomBytes } from 'node:crypto';
import type { Contact } from './contacts.ts';
import type { BusinessNumber, Echo, InboundMessage } from './control-schemas.ts';
import type { Pricing } from './free-tier.ts';
import { webhookError } from './graph-error.ts';
import { sha256Base64, sampleMedia } from './media.ts';

type Json = Readonly<Record<string, unknown>>;

/** The `value` of one change of the field `messages`. */
export interface WebhookValue {
  readonly messaging_product: 'whatsapp';
  readonly metadata: { readonly display_phone_number: string; readonly phone_number_id: string };
  readonly contacts?: readonly Json[];
  readonly messages?: readonly Json[];
  readonly statuses?: readonly Json[];
}

/** A message id as Meta makes them: `wamid.` and base64, unique for ever. */
export function createWamid(): string {
  return `wamid.HBgL${randomBytes(28).toString('base64')}`;
}

/** Webhook message of what a contact wrote, with the fields of Meta's samples for its type. */
export function inboundMessage(request: InboundMessage, contact: Contact, id: string, nowMs: number): Json {
  const content = request.content ?? defaultContent(request, contact);
  const message: Record<string, unknown> = {
    ...(request.contextMessageId !== undefined && { context: { id: request.contextMessageId } }),
    ...(contact.waId !== undefined && { from: contact.waId }),
    ...(contact.userId !== undefined && { from_user_id: contact.userId }),
    id,
    timestamp: request.timestamp ?? unixSeconds(nowMs),
    type: request.type,
    ...(content !== undefined && { [request.type]: content }),
    ...(request.type === 'unsupported' && { errors: [unsupportedError] }),
  };
  for (const [key, value] of Object.entries(request.extra ?? {})) {
    if (value === null) delete message[key];
    else message[key] = value;
  }
  return message;
}

const unsupportedError = {
  code: 131051,
  title: 'Message type unknown',
  message: 'Message type unknown',
  error_data: { details: 'Message type is currently not supported.' },
};

function media(mimeType: string, more: Json = {}): Json {
  const id = String(randomBytes(6).readUIntBE(0, 6));
  return { mime_type: mimeType, sha256: sha256Base64(sampleMedia(id)), id, ...more };
}

function defaultContent(request: InboundMessage, contact: Contact): unknown {
  const { text, targetMessageId } = request;
  const caption = text === undefined ? {} : { caption: text };
  switch (request.type) {
    case 'text':
      return { body: text ?? '' };
    case 'image':
      return media('image/jpeg', caption);
    case 'video':
      return media('video/mp4', caption);
    case 'document':
      return media('application/pdf', { filename: 'document.pdf', ...caption });
    case 'audio':
      return media('audio/ogg; codecs=opus', { voice: true });
    case 'sticker':
      return media('image/webp', { animated: false });
    case 'location':
      return { latitude: 40.4168, longitude: -3.7038, ...(text !== undefined && { name: text }) };
    case 'reaction':
      return { message_id: targetMessageId ?? '', ...(text !== undefined && { emoji: text }) };
    case 'button':
      return { text: text ?? '', payload: text ?? '' };
    case 'interactive':
      return { type: 'button_reply', button_reply: { id: text ?? '', title: text ?? '' } };
    case 'contacts':
      return [{ name: { formatted_name: text ?? contact.name }, phones: [] }];
    case 'edit':
      return {
        original_message_id: targetMessageId ?? '',
        message: { type: 'text', text: { body: text ?? '' } },
      };
    case 'revoke':
      return { original_message_id: targetMessageId ?? '' };
    case 'system':
      return systemContent(request, contact);
    default:
      return undefined;
  }
}

function systemContent(request: InboundMessage, contact: Contact): Json {
  if (request.newWaId !== undefined) {
    const body = `User ${contact.name} changed from ${contact.waId ?? ''} to ${request.newWaId}`;
    return { body, wa_id: request.newWaId, type: 'user_changed_number' };
  }
  if (request.newUserId !== undefined) {
    const body = `User ${contact.name} changed from ${contact.userId ?? ''} to ${request.newUserId}`;
    return { body, user_id: request.newUserId, type: 'user_changed_user_id' };
  }
  return { body: request.text ?? 'User identity changed', type: 'customer_identity_changed' };
}

/** The value around a message. System messages come without `contacts`. */
export function messageValue(number: BusinessNumber, contact: Contact, message: Json): WebhookValue {
  return {
    ...head(number),
    ...(message['type'] !== 'system' && { contacts: [contactBlock(contact)] }),
    messages: [message],
  };
}

/** The whole body that tells of what the business wrote to a contact on its own phone. */
export function echoBody(number: BusinessNumber, contact: Contact, echo: Echo, id: string, nowMs: number): Json {
  const { metadata, messaging_product } = head(number);
  const message = {
    from: metadata.display_phone_number,
    ...(contact.waId !== undefined && { to: contact.waId }),
    ...(contact.userId !== undefined && { to_user_id: contact.userId }),
    id,
    timestamp: echo.timestamp === undefined ? unixSeconds(nowMs) : String(echo.timestamp),
    type: 'text',
    text: { body: echo.text },
  };
  const value = { messaging_product, metadata, contacts: [contactBlock(contact)], message_echoes: [message] };
  const changes = [{ value, field: 'smb_message_echoes' }];
  return { object: 'whatsapp_business_account', entry: [{ id: number.wabaId, changes }] };
}

/** What became of a message that the business sent. */
export interface StatusReport {
  readonly wamid: string;
  readonly status: 'sent' | 'delivered' | 'read' | 'failed';
  /** Unset for a recipient that nobody knows. */
  readonly contact: Contact | undefined;
  /** What was dialled, when it was a phone. */
  readonly dialled: string | undefined;
  readonly callbackData: string | undefined;
  readonly pricing: Pricing | undefined;
  readonly errorCode?: number;
  readonly nowMs: number;
}

/** The value with one status. A `failed` one has no `contacts`, and no BSUID if it was sent to a phone. */
export function statusValue(number: BusinessNumber, report: StatusReport): WebhookValue {
  const { contact, status } = report;
  const failed = status === 'failed';
  const recipientId = contact?.waId ?? report.dialled;
  const recipientUserId = failed && report.dialled !== undefined ? undefined : contact?.userId;
  return {
    ...head(number),
    ...(contact && !failed && { contacts: [contactBlock(contact)] }),
    statuses: [
      {
        id: report.wamid,
        status,
        timestamp: unixSeconds(report.nowMs),
        ...(recipientId !== undefined && { recipient_id: recipientId }),
        ...(recipientUserId !== undefined && { recipient_user_id: recipientUserId }),
        ...(report.callbackData !== undefined && { biz_opaque_callback_data: report.callbackData }),
        // Pricing comes with `sent` and one of the two later ones (Meta, "Status messages webhook").
        ...((status === 'sent' || status === 'delivered') && report.pricing && { pricing: report.pricing }),
        ...(report.errorCode !== undefined && { errors: [webhookError(report.errorCode)] }),
      },
    ],
  };
}

/**
 * One webhook body of several values. Meta promises no shape for a batch, so `chance` mixes them: neighbours of the same
 * number and kind go into one value, others into a change each, other accounts into an entry each.
 */
export function webhookBody(
  updates: readonly { readonly wabaId: string; readonly value: WebhookValue }[],
  chance: () => number,
): Json {
  const entries: { id: string; changes: { value: WebhookValue; field: 'messages' }[] }[] = [];
  for (const { wabaId, value } of updates) {
    let entry = entries.at(-1);
    if (entry?.id !== wabaId) entries.push((entry = { id: wabaId, changes: [] }));
    const before = entry.changes.at(-1);
    const merged = before && chance() < 0.5 ? merge(before.value, value) : undefined;
    if (before && merged) before.value = merged;
    else entry.changes.push({ value, field: 'messages' });
  }
  return { object: 'whatsapp_business_account', entry: entries };
}

function merge(a: WebhookValue, b: WebhookValue): WebhookValue | undefined {
  const sameKind = (a.messages === undefined) === (b.messages === undefined);
  if (!sameKind || a.metadata.phone_number_id !== b.metadata.phone_number_id) return undefined;
  const isNew = (contact: Json) =>
    !a.contacts?.some((known) => known['wa_id'] === contact['wa_id'] && known['user_id'] === contact['user_id']);
  const contacts = [...(a.contacts ?? []), ...(b.contacts ?? []).filter(isNew)];
  return {
    ...a,
    ...(contacts.length > 0 && { contacts }),
    ...(a.messages && b.messages && { messages: [...a.messages, ...b.messages] }),
    ...(a.statuses && b.statuses && { statuses: [...a.statuses, ...b.statuses] }),
  };
}

function head(number: BusinessNumber): Pick<WebhookValue, 'messaging_product' | 'metadata'> {
  return {
    messaging_product: 'whatsapp',
    metadata: {
      display_phone_number: number.displayPhoneNumber.replace(/\D/g, ''),
      phone_number_id: number.phoneNumberId,
    },
  };
}

function contactBlock(contact: Contact): Json {
  return {
    profile: { name: contact.name, ...(contact.username !== undefined && { username: contact.username }) },
    ...(contact.waId !== undefined && { wa_id: contact.waId }),
    ...(contact.userId !== undefined && { user_id: contact.userId }),
  };
}

function unixSeconds(ms: number): string {
  return String(Math.floor(ms / 1000));
}
