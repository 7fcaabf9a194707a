import type { JsonObject } from './json-reading.ts';
import type { ContactCard, InteractivePayload, MessagePayload, OrderLine } from './message-payload.ts';
import type { EchoItem, MessageItem } from './webhook-items.ts';

/**
 * What a turn reads of a message (DESIGN 12, "What starts a turn"): text, caption, title of a button or list reply,
 * answers of a flow, location, contact cards, order. Undefined for what cannot be understood as text.
 */
export function answerableText(item: MessageItem | EchoItem): string | undefined {
  return payloadText(item.payload);
}

/**
 * What a message means for the turn: `answerable` starts one; `media` starts one that can only say that it was not
 * understood; `silent` never does (reactions, stickers, system messages, echoes, group messages, edits, revokes, and
 * whatever is unsupported, unknown or empty).
 */
export function classifyMessage(item: MessageItem | EchoItem): 'answerable' | 'media' | 'silent' {
  if (item.kind === 'echo' || item.groupId !== undefined) return 'silent';
  if (payloadText(item.payload) !== undefined) return 'answerable';
  return item.payload.kind === 'media' ? 'media' : 'silent';
}

/** {@link answerableText} of a payload alone. */
export function payloadText(payload: MessagePayload): string | undefined {
  switch (payload.kind) {
    case 'text':
      return payload.body;
    case 'media':
      return payload.caption;
    case 'location':
      return locationText(payload);
    case 'contacts':
      return contactsText(payload.cards);
    case 'interactive':
      return interactiveText(payload);
    case 'button':
      return payload.text ?? payload.payload;
    case 'order':
      return orderText(payload.lines, payload.text);
    case 'sticker':
    case 'reaction':
    case 'system':
    case 'edit':
    case 'revoke':
    case 'unsupported':
    case 'unknown':
      return undefined;
  }
}

function locationText(location: Extract<MessagePayload, { kind: 'location' }>): string | undefined {
  const { latitude, longitude } = location;
  const place = [location.name, location.address].filter((part) => part !== undefined).join(', ');
  const point = latitude === undefined || longitude === undefined ? '' : `(${latitude}, ${longitude})`;
  const words = [place, point].filter((part) => part !== '').join(' ');
  return words === '' ? undefined : `Location: ${words}`;
}

// Names and numbers of other people stay out: this text reaches the model (DESIGN 12). The payload has them for the
// dashboard.
function contactsText(cards: readonly ContactCard[]): string | undefined {
  if (cards.length === 0) return undefined;
  const organizations = [...new Set(cards.flatMap((card) => card.organization ?? []))];
  const shared = cards.length === 1 ? 'Shared 1 contact card' : `Shared ${cards.length} contact cards`;
  return organizations.length === 0 ? shared : `${shared} (${organizations.join(', ')})`;
}

function interactiveText(reply: InteractivePayload): string | undefined {
  if (reply.interactiveType === 'button_reply') return reply.title ?? reply.id;
  if (reply.interactiveType === 'list_reply') {
    const chosen = reply.title ?? reply.id;
    return chosen !== undefined && reply.description !== undefined ? `${chosen} (${reply.description})` : chosen;
  }
  if (reply.interactiveType === 'nfm_reply') return flowText(reply.flowAnswers) ?? reply.body;
  return undefined;
}

/** How Meta's flow builder names fields: `screen_0_Your_order_1`; the choices in them are `0_Rye_bread`. */
const BUILT_FIELD = /^screen_\d+_(.+)_\d+$/;

// One line an answer; nested values (uploads, tokens of Meta) are no words of the contact.
function flowText(answers: JsonObject = {}): string | undefined {
  const lines = Object.entries(answers)
    .filter(([name]) => name !== 'flow_token')
    .map(([name, answer]) => {
      const isBuilt = BUILT_FIELD.test(name);
      const words = (Array.isArray(answer) ? answer : [answer])
        .filter(isScalar)
        .map((word) => (isBuilt ? String(word).replace(/^\d+_/, '').replaceAll('_', ' ') : String(word)));
      return { asked: (isBuilt ? name.replace(BUILT_FIELD, '$1') : name).replaceAll('_', ' '), said: words.join(', ') };
    })
    .filter(({ said }) => said.trim() !== '')
    .map(({ asked, said }) => `${asked}: ${said}`);
  return lines.length === 0 ? undefined : lines.join('\n');
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function orderText(lines: readonly OrderLine[], note: string | undefined): string | undefined {
  const products = lines
    .filter((line) => line.productRetailerId !== undefined)
    .map((line) => {
      const price = line.itemPrice === undefined ? '' : ` at ${[line.itemPrice, line.currency ?? ''].join(' ').trim()}`;
      return `${line.quantity ?? 1} x ${line.productRetailerId}${price}`;
    });
  const order = products.length === 0 ? undefined : `Order: ${products.join(', ')}`;
  return [order, note].filter((part) => part !== undefined).join('\n') || undefined;
}
