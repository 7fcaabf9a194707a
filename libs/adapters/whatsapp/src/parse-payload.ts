import { asArray, asNumber, asObject, asString, asText, type JsonObject } from './json-reading.ts';
import type { ContactCard, InteractivePayload, MessagePayload, OrderLine } from './message-payload.ts';
import { payloadText } from './message-text.ts';

/**
 * The meaning of a message object (META 2, "Inbound message types"). Never throws: missing parts are undefined, an
 * unknown type is `unknown`. A message without `type` stays unknown too.
 */
export function parsePayload(message: JsonObject): MessagePayload {
  const type = asString(message['type']);
  const body = asObject(type === undefined ? undefined : message[type]) ?? {};
  switch (type) {
    case 'text':
      return { kind: 'text', body: asText(body['body']) };
    case 'image':
    case 'video':
    case 'audio':
    case 'document':
      return {
        kind: 'media',
        mediaType: type,
        mediaId: asString(body['id']),
        mimeType: asString(body['mime_type']),
        sha256: asString(body['sha256']),
        caption: asText(body['caption']),
        filename: asText(body['filename']),
        sizeBytes: asSize(body['file_size']),
        voice: body['voice'] === true,
      };
    case 'sticker':
      return { kind: 'sticker', mediaId: asString(body['id']), animated: body['animated'] === true };
    case 'reaction':
      return { kind: 'reaction', messageId: asString(body['message_id']), emoji: asText(body['emoji']) ?? null };
    case 'location':
      return {
        kind: 'location',
        latitude: asNumber(body['latitude']),
        longitude: asNumber(body['longitude']),
        name: asText(body['name']),
        address: asText(body['address']),
      };
    case 'contacts':
      return { kind: 'contacts', cards: asArray(message['contacts']).map(parseCard) };
    case 'interactive':
      return parseInteractive(body);
    case 'button':
      return { kind: 'button', text: asText(body['text']), payload: asText(body['payload']) };
    case 'order':
      return { kind: 'order', text: asText(body['text']), lines: asArray(body['product_items']).map(parseOrderLine) };
    case 'system':
      return parseSystem(message, body);
    case 'edit':
      return {
        kind: 'edit',
        originalMessageId: asString(body['original_message_id']),
        text: editedText(body['message']),
      };
    case 'revoke':
      return { kind: 'revoke', originalMessageId: asString(body['original_message_id']) };
    case 'unsupported':
      return { kind: 'unsupported', unsupportedType: asString(body['type']) };
    default:
      return { kind: 'unknown' };
  }
}

function asSize(value: unknown): number | undefined {
  const size = asNumber(value);
  return size !== undefined && Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function parseCard(value: unknown): ContactCard {
  const card = asObject(value) ?? {};
  return {
    name: asText(asObject(card['name'])?.['formatted_name']),
    organization: asText(asObject(card['org'])?.['company']),
    phones: asArray(card['phones']).map((entry) => {
      const phone = asObject(entry) ?? {};
      return { phone: asText(phone['phone']), waId: asString(phone['wa_id']) };
    }),
  };
}

function parseOrderLine(value: unknown): OrderLine {
  const line = asObject(value) ?? {};
  return {
    productRetailerId: asText(line['product_retailer_id']),
    quantity: asNumber(line['quantity']),
    itemPrice: asNumber(line['item_price']),
    currency: asText(line['currency']),
  };
}

function parseInteractive(interactive: JsonObject): InteractivePayload {
  const interactiveType = asString(interactive['type']);
  const reply = asObject(interactiveType === undefined ? undefined : interactive[interactiveType]) ?? {};
  return {
    kind: 'interactive',
    interactiveType,
    id: asString(reply['id']),
    title: asText(reply['title']),
    description: asText(reply['description']),
    body: asText(reply['body']),
    flowAnswers: parseFlowAnswers(reply['response_json']),
  };
}

// `response_json` is JSON inside a string, and may be invalid or missing (META, row "interactive").
function parseFlowAnswers(responseJson: unknown): JsonObject | undefined {
  if (typeof responseJson !== 'string') return undefined;
  try {
    return asObject(JSON.parse(responseJson));
  } catch {
    return undefined;
  }
}

// Country code, dot, up to 128 alphanumerics; the parent form has ENT between (META, BSUID).
const BSUID = '[A-Z]{2}\\.(?:ENT\\.)?[A-Za-z0-9]{1,128}';
// Anchored at the end: the name before it is the user's to choose.
const CHANGED_USER_ID = new RegExp(` changed from (${BSUID}) to (${BSUID})\\.?$`);

function parseSystem(message: JsonObject, system: JsonObject): MessagePayload {
  const newUserId = asString(system['user_id']);
  const inBody = CHANGED_USER_ID.exec(asString(system['body']) ?? '');
  const fromUserId = asString(message['from_user_id']);
  return {
    kind: 'system',
    systemType: asString(system['type']) ?? 'unknown',
    newWaId: asString(system['wa_id']),
    newUserId: newUserId ?? inBody?.[2],
    oldUserId: inBody?.[1] ?? (fromUserId === newUserId ? undefined : fromUserId),
  };
}

function editedText(value: unknown): string | undefined {
  const message = asObject(value);
  // An edit of an edit is no thing of Meta's, and would recurse as deep as the sender likes.
  return message === undefined || message['type'] === 'edit' ? undefined : payloadText(parsePayload(message));
}
