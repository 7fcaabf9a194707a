import { drawFormat, element, plainText } from './format.js';

const tickWords = { sent: 'Sent', delivered: 'Delivered', read: 'Read' };
const kinds = {
  image: '📷 Photo',
  video: '🎬 Video',
  audio: '🎤 Voice message',
  document: '📄 Document',
  sticker: '🏷️ Sticker',
  location: '📍 Location',
  contacts: '👤 Contact',
  order: '🛒 Order',
  unsupported: 'This message cannot be shown',
};
const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

/** Hours and minutes of a time in Unix milliseconds. */
export function clock(atMs) {
  return time.format(atMs);
}

/** One line that stands for a message, in the list of contacts and in quotes. */
export function summary(message) {
  if (message.revoked) return 'Message deleted';
  const kind = kinds[message.type];
  const text = plainText(message.text);
  if (kind && text) return `${kind}: ${text}`;
  return kind ?? (text || message.type);
}

/**
 * A message as WhatsApp shows it on the contact's phone: what they wrote on the right in green with ticks, what the
 * business wrote on the left. `quoted` is the message it answers, when that is known.
 */
export function drawMessage(message, quoted, names, onQuote) {
  const isMine = message.direction === 'inbound';
  const author = isMine ? names.contact : names.business;
  const children = [element('span', [`${isMine ? 'You' : author}: `], { class: 'hidden-text' })];
  if (message.contextMessageId) children.push(drawQuote(message, quoted, names, onQuote));
  children.push(drawBody(message));
  children.push(drawFoot(message, isMine));
  if (message.reaction)
    children.push(
      element('span', [message.reaction], { class: 'reaction', 'aria-label': `Reaction ${message.reaction}` }),
    );
  return element('div', children, {
    class: `bubble ${isMine ? 'mine' : 'theirs'}${message.type === 'system' ? ' system' : ''}`,
    'data-testid': 'message',
    'data-message-id': message.id,
    'data-direction': message.direction,
    'data-ticks': message.ticks,
    'data-failed': message.failedWith,
  });
}

function drawBody(message) {
  if (message.revoked) return element('div', [element('em', ['This message was deleted'])], { class: 'text' });
  if (message.type === 'text') return element('div', drawFormat(message.text), { class: 'text' });
  const parts = kinds[message.type] ? [element('p', [kinds[message.type]], { class: 'kind' })] : [];
  if (message.text) parts.push(...drawFormat(message.text));
  if (parts.length === 0) parts.push(element('p', [message.type], { class: 'kind' }));
  return element('div', parts, { class: 'text' });
}

function drawFoot(message, isMine) {
  const parts = [];
  if (message.edited) parts.push(element('span', ['Edited']));
  if (message.failedWith) parts.push(element('span', [`Not delivered (${message.failedWith})`], { class: 'failed' }));
  parts.push(element('time', [clock(message.atMs)], { datetime: new Date(message.atMs).toISOString() }));
  if (isMine && message.ticks) parts.push(drawTicks(message.ticks));
  return element('div', parts, { class: 'foot' });
}

/** One grey tick, two grey ones or two blue ones, and the word for it. */
export function drawTicks(ticks) {
  const namespace = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('viewBox', '0 0 18 12');
  svg.setAttribute('aria-hidden', 'true');
  const lines = ticks === 'sent' ? ['M5 6.5l3.2 3.2L15 2'] : ['M1 6.5l3.2 3.2L11 2', 'M8.2 8.9l.8.8L16 2'];
  for (const line of lines) {
    const path = document.createElementNS(namespace, 'path');
    path.setAttribute('d', line);
    svg.append(path);
  }
  return element('span', [svg, element('span', [tickWords[ticks]], { class: 'hidden-text' })], {
    class: `ticks ${ticks}`,
  });
}

function drawQuote(message, quoted, names, onQuote) {
  const who = quoted ? (quoted.direction === 'inbound' ? 'You' : names.business) : 'Earlier message';
  const quote = element(
    'button',
    [element('strong', [who]), element('span', [quoted ? summary(quoted) : 'No longer on this phone'])],
    {
      type: 'button',
      class: `quote ${quoted?.direction === 'outbound' ? 'of-business' : 'of-contact'}`,
      'data-testid': 'quote',
      'data-quoted-id': message.contextMessageId,
    },
  );
  quote.addEventListener('click', () => onQuote(message.contextMessageId));
  return quote;
}

/** The line between the messages of two days. */
export function drawDay(atMs) {
  const today = new Date().toDateString() === new Date(atMs).toDateString();
  return element('p', [today ? 'Today' : day.format(atMs)], { class: 'day' });
}

/** A contact in the list. */
export function drawContact(contact, isCurrent, onChoose) {
  const { lastMessage } = contact;
  const about = contact.note ?? (contact.waId ? `+${contact.waId}` : (contact.username ?? ''));
  const unread =
    contact.unread > 0 && !isCurrent
      ? element('span', [String(contact.unread), element('span', [' unread'], { class: 'hidden-text' })], {
          class: 'unread',
        })
      : '';
  const text = [
    element(
      'span',
      [element('strong', [contact.name]), lastMessage ? element('time', [clock(lastMessage.atMs)]) : ''],
      {
        class: 'first-line',
      },
    ),
    element('span', [element('span', [about], { class: 'note' }), unread], { class: 'second-line' }),
  ];
  if (lastMessage) text.push(element('span', [summary(lastMessage)], { class: 'last' }));
  const parts = [
    element('span', [initial(contact.name.split(' ').at(-1))], { class: 'avatar', 'aria-hidden': 'true' }),
    element('span', text, { class: 'contact-text' }),
  ];
  const button = element('button', parts, {
    type: 'button',
    class: 'contact',
    'data-testid': 'contact',
    'data-contact-id': contact.id,
    'aria-current': isCurrent ? 'true' : undefined,
  });
  button.addEventListener('click', () => onChoose(contact.id));
  return element('li', [button]);
}

/** The letter that stands for a contact or a business in its round picture. */
export function initial(word) {
  return [...(word ?? '')][0]?.toUpperCase() ?? '';
}
