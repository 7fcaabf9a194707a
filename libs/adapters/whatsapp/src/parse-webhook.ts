import { canonicalJsonHash } from './canonical-json.ts';
import { asArray, asObject, asNumber, asString, asText, asTime, type JsonObject } from './json-reading.ts';
import { payloadText } from './message-text.ts';
import { parsePayload } from './parse-payload.ts';
import { matchKey } from './phone-numbers.ts';
import type {
  EchoItem,
  HandoverItem,
  MessageItem,
  StatusItem,
  UserIdUpdateItem,
  WebhookError,
  WebhookItem,
  WebhookParty,
} from './webhook-items.ts';

// The fields whose values carry messages, statuses and echoes of ours. `calls` has `statuses` too, but those are of
// calls.
const CHAT_FIELDS = new Set(['messages', 'smb_message_echoes', 'message_echoes', 'standby']);

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
  const value = valueOf(field, asObject(change)?.['value']);
  const metadata = asObject(value?.[field === 'messaging_handovers' ? 'recipient' : 'metadata']);
  const here = (): Surroundings => ({
    place: items.length,
    phoneNumberId: asString(metadata?.['phone_number_id']),
    displayPhoneNumber: asString(metadata?.['display_phone_number']),
  });
  const addOther = (raw: unknown): void => {
    items.push({ kind: 'other', ...here(), field: field ?? 'unknown', hash: canonicalJsonHash(raw), raw });
  };
  if (value === undefined) return addOther(change);
  const handover = field === 'messaging_handovers' ? readHandover(value, here()) : undefined;
  if (handover) return void items.push(handover);

  const lists = field === undefined || CHAT_FIELDS.has(field) ? ['messages', 'statuses', 'message_echoes'] : [];
  if (field === 'user_id_update') lists.push('user_id_update');
  const source = { contacts: new ContactsBlock(value['contacts']), isStandby: field === 'standby' };
  const taken = new Set<string>();
  const countBefore = items.length;
  for (const [key, list] of Object.entries(value)) {
    if (!lists.includes(key) || !Array.isArray(list)) continue;
    taken.add(key);
    for (const element of list as unknown[]) {
      const item = readElement(key, asObject(element), here(), { ...source, isAlone: list.length === 1 });
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

/**
 * The value of a change. That of `standby` holds the messages, echoes or statuses one level deeper (Cloud API, "Standby
 * webhooks", 2026-08-04).
 */
function valueOf(field: string | undefined, given: unknown): JsonObject | undefined {
  const value = asObject(given);
  const standby = field === 'standby' ? asObject(value?.['standby']) : undefined;
  if (value === undefined || standby === undefined) return value;
  const { standby: _inner, ...around } = value;
  return { ...around, ...standby };
}

/** What the elements of one list have in common. */
interface Source {
  readonly contacts: ContactsBlock;
  readonly isStandby: boolean;
  /** It is the only one of its list. */
  readonly isAlone: boolean;
}

/** One element of a list, or undefined when it is not what the list should hold. */
function readElement(
  list: string,
  element: JsonObject | undefined,
  here: Surroundings,
  source: Source,
): WebhookItem | undefined {
  if (element === undefined) return undefined;
  switch (list) {
    case 'messages':
      return readMessage(element, here, source);
    case 'message_echoes':
      return readEcho(element, here, source);
    case 'statuses':
      return readStatus(element, here);
    default:
      return readUserIdUpdate(element, here);
  }
}

function readMessage(message: JsonObject, here: Surroundings, source: Source): MessageItem {
  const from = {
    waId: asString(message['from']),
    userId: asString(message['from_user_id']),
    parentUserId: asString(message['from_parent_user_id']),
  };
  const { contacts, isAlone, isStandby } = source;
  return { kind: 'message', ...here, from: contacts.complete(from, isAlone), isStandby, ...readCommon(message) };
}

function readEcho(echo: JsonObject, here: Surroundings, source: Source): EchoItem {
  const message = echoedMessage(echo);
  const waId = asString(message['to']);
  const to = {
    waId,
    userId: asString(message['to_user_id']) ?? (waId === undefined ? asString(message['recipient']) : undefined),
    parentUserId: asString(message['to_parent_user_id']),
  };
  const { contacts, isAlone, isStandby } = source;
  return { kind: 'echo', ...here, to: contacts.complete(to, isAlone), isStandby, ...readCommon(message), raw: echo };
}

/** An echo on `standby` wraps the body of the Graph call that made it, in which the quoted message has another name. */
function echoedMessage(echo: JsonObject): JsonObject {
  const sent = asObject(echo['message']);
  if (sent === undefined) return echo;
  const quoted = asString(asObject(sent['context'])?.['message_id']);
  const { id, timestamp } = echo;
  return { ...sent, ...(quoted !== undefined && { context: { id: quoted } }), id, timestamp };
}

/**
 * A hand-over of Meta's conversation control. It reaches the app that gets the conversation, unless it says that the agent does
 * (`control_passed`, field `messaging_handovers`; only roles and numbers are read, its text is not).
 */
function readHandover(value: JsonObject, here: Surroundings): HandoverItem | undefined {
  const passed = asObject(value['control_passed']);
  const sender = asObject(value['sender']);
  if (passed === undefined || sender === undefined) return undefined;
  const contact = {
    waId: asString(sender['phone_number']) ?? asString(sender['wa_id']),
    userId: asString(sender['user_id']),
  };
  const isToAgent =
    asString(passed['new_owner_role']) === 'ai_agent' ||
    asString(passed['new_owner_app_role']) === 'meta_business_agent';
  return {
    kind: 'handover',
    ...here,
    contact,
    to: isToAgent ? 'meta_agent' : 'us',
    at: asTime(value['timestamp']),
    hash: canonicalJsonHash(value),
    raw: value,
  };
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
