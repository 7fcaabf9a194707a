import { canonicalJsonHash } from './canonical-json.ts';
import { asArray, asObject, asNumber, asString, asText, asTime, type JsonObject } from './json-reading.ts';
import { payloadText } from './message-text.ts';
import { parsePayload } from './parse-payload.ts';
import { matchKey } from './phone-numbers.ts';
import type {
  EchoItem,
  MessageItem,
  StatusItem,
  UserIdUpdateItem,
  WebhookError,
  WebhookItem,
  WebhookParty,
} from './webhook-items.ts';

// The fields whose values carry messages, statuses and echoes of ours. `calls` has `statuses` too, but those are of
// calls.
const CHAT_FIELDS = new Set(['messages', 'smb_message_echoes', 'message_echoes']);

// What every value has beside its news.
const ENVELOPE_KEYS = new Set(['messaging_product', 'metadata', 'contacts']);

/** What an item knows from its surroundings. */
type Surroundings = Pick<WebhookItem, 'place' | 'phoneNumberId' | 'displayPhoneNumber'>;

/**
 * Takes a parsed webhook body apart: every entry × change × message, status, echo and other news, in the order of the
 * body (META 2). Never throws. What it does not know is kept as an item too: an unknown message type as a message, an
 * unknown field, and what is left of a value beside its messages and statuses, as `other`. A body without entries, and
 * an entry without changes, has no items. Time and memory grow with the size of the body (Meta sends up to 3 MB and
 * 1,000 updates).
 */
export function parseWebhook(body: unknown): WebhookItem[] {
  const items: WebhookItem[] = [];
  for (const entry of asArray(asObject(body)?.['entry'])) {
    for (const change of asArray(asObject(entry)?.['changes'])) addChange(items, change);
  }
  return items;
}

function addChange(items: WebhookItem[], change: unknown): void {
  const field = asString(asObject(change)?.['field']);
  const value = asObject(asObject(change)?.['value']);
  const metadata = asObject(value?.['metadata']);
  const here = (): Surroundings => ({
    place: items.length,
    phoneNumberId: asString(metadata?.['phone_number_id']),
    displayPhoneNumber: asString(metadata?.['display_phone_number']),
  });
  const addOther = (raw: unknown): void => {
    items.push({ kind: 'other', ...here(), field: field ?? 'unknown', hash: canonicalJsonHash(raw), raw });
  };
  if (value === undefined) return addOther(change);

  const lists = field === undefined || CHAT_FIELDS.has(field) ? ['messages', 'statuses', 'message_echoes'] : [];
  if (field === 'user_id_update') lists.push('user_id_update');
  const contacts = new ContactsBlock(value['contacts']);
  const taken = new Set<string>();
  const countBefore = items.length;
  for (const [key, list] of Object.entries(value)) {
    if (!lists.includes(key) || !Array.isArray(list)) continue;
    taken.add(key);
    for (const element of list as unknown[]) {
      const item = readElement(key, asObject(element), here(), contacts, list.length === 1);
      if (item === undefined) addOther({ field, value: { [key]: [element] } });
      else items.push(item);
    }
  }

  const left = Object.keys(value).filter((key) => !taken.has(key) && !ENVELOPE_KEYS.has(key));
  if (items.length === countBefore) addOther(change);
  else if (left.length > 0) {
    const remainder = Object.fromEntries(['metadata', ...left].map((key) => [key, value[key]]));
    addOther({ field, value: remainder });
  }
}

/** One element of a list, or undefined when it is not what the list should hold. */
function readElement(
  list: string,
  element: JsonObject | undefined,
  here: Surroundings,
  contacts: ContactsBlock,
  isAlone: boolean,
): WebhookItem | undefined {
  if (element === undefined) return undefined;
  switch (list) {
    case 'messages':
      return readMessage(element, here, contacts, isAlone);
    case 'message_echoes':
      return readEcho(element, here, contacts, isAlone);
    case 'statuses':
      return readStatus(element, here);
    default:
      return readUserIdUpdate(element, here);
  }
}

function readMessage(message: JsonObject, here: Surroundings, contacts: ContactsBlock, isAlone: boolean): MessageItem {
  const from = {
    waId: asString(message['from']),
    userId: asString(message['from_user_id']),
    parentUserId: asString(message['from_parent_user_id']),
  };
  return { kind: 'message', ...here, from: contacts.complete(from, isAlone), ...readCommon(message) };
}

function readEcho(message: JsonObject, here: Surroundings, contacts: ContactsBlock, isAlone: boolean): EchoItem {
  const to = {
    waId: asString(message['to']),
    userId: asString(message['to_user_id']),
    parentUserId: asString(message['to_parent_user_id']),
  };
  return { kind: 'echo', ...here, to: contacts.complete(to, isAlone), ...readCommon(message) };
}

function readCommon(message: JsonObject) {
  const ownId = asString(message['id']);
  const context = asObject(message['context']);
  const payload = parsePayload(message);
  return {
    messageId: ownId ?? canonicalJsonHash(message),
    hasOwnId: ownId !== undefined,
    sentAt: asTime(message['timestamp']),
    type: asString(message['type']) ?? 'unknown',
    groupId: asString(message['group_id']),
    contextMessageId: asString(context?.['id']),
    forwarded: context?.['forwarded'] === true || context?.['frequently_forwarded'] === true,
    text: payloadText(payload),
    payload,
    errors: readErrors(message['errors']),
    raw: message,
  };
}

function readStatus(status: JsonObject, here: Surroundings): StatusItem | undefined {
  const providerMessageId = asString(status['id']);
  const word = asString(status['status']);
  if (providerMessageId === undefined || word === undefined) return undefined;
  return {
    kind: 'status',
    ...here,
    providerMessageId,
    status: word,
    at: asTime(status['timestamp']),
    recipientId: asString(status['recipient_id']),
    recipientUserId: asString(status['recipient_user_id']),
    participantId: asString(status['recipient_participant_id']) ?? asString(status['recipient_participant_user_id']),
    callbackData: asString(status['biz_opaque_callback_data']),
    errors: readErrors(status['errors']),
    pricing: status['pricing'],
    raw: status,
  };
}

function readUserIdUpdate(update: JsonObject, here: Surroundings): UserIdUpdateItem | undefined {
  const userId = asObject(update['user_id']);
  const previous = asString(userId?.['previous']);
  const current = asString(userId?.['current']);
  if (previous === undefined || current === undefined) return undefined;
  return {
    kind: 'user_id_update',
    ...here,
    previous,
    current,
    waId: asString(update['wa_id']),
    at: asTime(update['timestamp']),
    hash: canonicalJsonHash(update),
    raw: update,
  };
}

// `details` stands in error_data, at the top in older data, and error_data is now and then a plain string (META 5,
// "Error shape").
function readErrors(value: unknown): WebhookError[] {
  return asArray(value).flatMap((entry) => {
    const error = asObject(entry);
    if (error === undefined) return [];
    const data = error['error_data'];
    return {
      code: asNumber(error['code']),
      title: asText(error['title']) ?? asText(error['message']),
      details: asText(asObject(data)?.['details']) ?? asText(data) ?? asText(error['details']),
    };
  });
}

/** The `contacts` block of a value, to be joined with its messages. It may be missing, and so may any part of it. */
class ContactsBlock {
  readonly #byUserId = new Map<string, WebhookParty>();
  readonly #byNumber = new Map<string, WebhookParty>();
  #only: WebhookParty | undefined;

  constructor(block: unknown) {
    const contacts = asArray(block)
      .map(asObject)
      .filter((contact) => contact !== undefined);
    for (const contact of contacts) {
      const profile = asObject(contact['profile']);
      const party: WebhookParty = {
        waId: asString(contact['wa_id']),
        userId: asString(contact['user_id']),
        parentUserId: asString(contact['parent_user_id']),
        username: asText(profile?.['username']),
        profileName: asText(profile?.['name']),
      };
      if (party.userId !== undefined) this.#byUserId.set(party.userId, party);
      if (party.waId !== undefined) this.#byNumber.set(matchKey(party.waId), party);
      this.#only = contacts.length === 1 ? party : undefined;
    }
  }

  /**
   * What the message says of its sender, and beside it what the contact with the same id says. A lone contact beside a
   * lone message gives its name though the ids differ (Meta's own example has that), but never an id: a wrong one would
   * join two people.
   */
  complete(said: WebhookParty, isAlone: boolean): WebhookParty {
    const contact =
      (said.userId === undefined ? undefined : this.#byUserId.get(said.userId)) ??
      (said.waId === undefined ? undefined : this.#byNumber.get(matchKey(said.waId)));
    const named = contact ?? (isAlone ? this.#only : undefined);
    return {
      waId: said.waId ?? contact?.waId,
      userId: said.userId ?? contact?.userId,
      parentUserId: said.parentUserId ?? contact?.parentUserId,
      username: named?.username,
      profileName: named?.profileName,
    };
  }
}
