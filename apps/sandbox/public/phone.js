import { drawContact, drawDay, drawMessage, drawTicks, initial } from './bubble.js';
import { element } from './format.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

/** What the phone shows. Everything in it comes from the sandbox; the address keeps whose phone it is. */
const state = {
  numbers: [],
  contacts: [],
  number: undefined,
  contactId: query.get('contact') ?? 'customer-a',
  messages: new Map(),
  clockAheadMs: 0,
};
let stream;
let typingTimer;
let heardWhileLoading;

async function call(method, path, body) {
  const response = await fetch(`/sandbox${path}`, {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail ?? `The sandbox answered ${response.status}.`);
  return answer;
}

function here(path) {
  const place = new URLSearchParams({ phoneNumberId: state.number.phoneNumberId, contactId: state.contactId });
  return `${path}?${place}`;
}

async function loadNumbers() {
  const { items } = await call('GET', '/numbers');
  state.numbers = items;
  const wanted = state.number?.phoneNumberId ?? query.get('number');
  state.number = items.find((number) => number.phoneNumberId === wanted) ?? items[0];
  $('number-choice').hidden = items.length < 2;
  $('number').replaceChildren(
    ...items.map((number) =>
      element('option', [`${number.verifiedName} (${number.displayPhoneNumber})`], {
        value: number.phoneNumberId,
        selected: number.phoneNumberId === state.number?.phoneNumberId,
      }),
    ),
  );
  return items.length > 0;
}

async function loadContacts() {
  const { items } = await call('GET', `/contacts?phoneNumberId=${encodeURIComponent(state.number.phoneNumberId)}`);
  state.contacts = items;
  if (!items.some((contact) => contact.id === state.contactId)) state.contactId = items[0]?.id;
  showContacts();
}

async function loadChips() {
  const { items } = await call('GET', `/chips?phoneNumberId=${encodeURIComponent(state.number.phoneNumberId)}`);
  $('chips').hidden = items.length === 0;
  $('chips').replaceChildren(
    element('p', ['Write a message, or try one of these:'], { class: 'invitation' }),
    ...items.map((chip) => {
      const button = element('button', [chip.label], { type: 'button', class: 'chip', 'data-testid': 'chip' });
      if (chip.text !== chip.label) button.title = chip.text;
      button.addEventListener('click', () => void send(chip.text));
      return button;
    }),
  );
}

async function loadThread() {
  const path = here('/thread');
  // What is heard while the chat is on its way may be newer than the chat: it is shown after it.
  const heard = [];
  heardWhileLoading = heard;
  const thread = await call('GET', path);
  if (heardWhileLoading !== heard) return;
  heardWhileLoading = undefined;
  state.clockAheadMs = thread.nowMs - Date.now();
  state.messages = new Map(thread.messages.map((message) => [message.id, message]));
  showThread();
  showWhetherEmpty();
  showTyping(thread.typingUntilMs);
  for (const event of heard) hear(event);
}

function names() {
  return { business: state.number.verifiedName, contact: currentContact()?.name ?? '' };
}

function currentContact() {
  return state.contacts.find((contact) => contact.id === state.contactId);
}

function showHead() {
  $('business-name').textContent = state.number.verifiedName;
  $('business-avatar').textContent = initial(state.number.verifiedName);
  $('notice').textContent =
    `A simulator, not WhatsApp. You write as ${names().contact} to ${state.number.verifiedName}; ` +
    'no message reaches Meta.';
  showPresence(false);
}

function showPresence(isTyping) {
  $('presence').textContent = isTyping ? 'typing…' : `${currentContact()?.name ?? ''}’s phone`;
}

function showContacts() {
  $('contacts').replaceChildren(
    ...state.contacts.map((contact) => drawContact(contact, contact.id === state.contactId, choose)),
  );
}

function draw(message) {
  return drawMessage(message, state.messages.get(message.contextMessageId), names(), showMessage);
}

function showThread() {
  const nodes = [];
  let before;
  for (const message of state.messages.values()) {
    if (!before || !isSameDay(before, message)) nodes.push(drawDay(message.atMs));
    nodes.push(draw(message));
    before = message;
  }
  // A loaded chat is not news: only what comes afterwards is read out.
  $('messages').setAttribute('aria-live', 'off');
  $('messages').replaceChildren(...nodes);
  toEnd();
  requestAnimationFrame(() => $('messages').setAttribute('aria-live', 'polite'));
}

/** An empty chat invites to write; until it is loaded nobody knows whether it is empty. */
function showWhetherEmpty() {
  document.body.dataset.thread = state.messages.size === 0 ? 'empty' : 'begun';
}

function showMessageNow(message) {
  const old = $('messages').querySelector(`[data-message-id="${CSS.escape(message.id)}"]`);
  const isAtEnd = isNearEnd();
  const before = [...state.messages.values()].at(-1);
  state.messages.set(message.id, message);
  showWhetherEmpty();
  if (old) {
    old.replaceWith(draw(message));
    return;
  }
  if (!before || !isSameDay(before, message)) $('messages').append(drawDay(message.atMs));
  $('messages').append(draw(message));
  if (isAtEnd || message.direction === 'inbound') toEnd();
  else $('jump').hidden = false;
}

function isSameDay(a, b) {
  return new Date(a.atMs).toDateString() === new Date(b.atMs).toDateString();
}

function showTyping(untilMs) {
  clearTimeout(typingTimer);
  const leftMs = untilMs === null ? 0 : untilMs - Date.now() - state.clockAheadMs;
  const isAtEnd = isNearEnd();
  $('typing').hidden = leftMs <= 0;
  showPresence(leftMs > 0);
  if (leftMs <= 0) return;
  if (isAtEnd) toEnd();
  typingTimer = setTimeout(() => showTyping(null), leftMs);
}

function showMessage(id) {
  const bubble = $('messages').querySelector(`[data-message-id="${CSS.escape(id)}"]`);
  if (!bubble) return;
  bubble.scrollIntoView({ block: 'center', behavior: 'smooth' });
  bubble.classList.add('found');
  setTimeout(() => bubble.classList.remove('found'), 1500);
}

function isNearEnd() {
  const chat = $('chat');
  return chat.scrollHeight - chat.scrollTop - chat.clientHeight < 80;
}

function toEnd() {
  $('chat').scrollTop = $('chat').scrollHeight;
  $('jump').hidden = true;
}

function showProblem(text) {
  $('problem').textContent = text ?? '';
  $('problem').hidden = !text;
}

async function send(text) {
  if (!state.number || text.trim() === '') return false;
  try {
    const { phoneNumberId } = state.number;
    await call('POST', '/messages', { phoneNumberId, contactId: state.contactId, type: 'text', text });
    showProblem();
    return true;
  } catch (error) {
    showProblem(`Not sent. ${error.message}`);
    return false;
  }
}

function hear(event) {
  if (event.type === 'changed') {
    void reload();
    if (event.what === 'everything') void loadThread();
    return;
  }
  if (heardWhileLoading) {
    heardWhileLoading.push(event);
    return;
  }
  if (event.contactId === state.contactId) {
    if (event.type === 'message') showMessageNow(event.message);
    else showTyping(event.untilMs);
  }
  if (event.type !== 'message') return;
  const contact = state.contacts.find(({ id }) => id === event.contactId);
  if (!contact) return;
  const isNew = !contact.lastMessage || event.message.atMs >= contact.lastMessage.atMs;
  if (isNew && event.message.direction === 'outbound' && event.contactId !== state.contactId) {
    if (contact.lastMessage?.id !== event.message.id) contact.unread += 1;
  }
  if (isNew) contact.lastMessage = event.message;
  showContacts();
}

/** The open stream is the contact looking at this chat: it is closed when the page is hidden. */
function openStream() {
  stream?.close();
  stream = undefined;
  if (!state.number || document.hidden) return;
  stream = new EventSource(`/sandbox${here('/stream')}`);
  stream.onopen = () => {
    showProblem();
    void loadThread();
  };
  stream.onmessage = ({ data }) => hear(JSON.parse(data));
  stream.onerror = () => showProblem('The sandbox does not answer. Trying again…');
}

async function choose(contactId) {
  state.contactId = contactId;
  const contact = currentContact();
  if (contact) contact.unread = 0;
  document.body.dataset.screen = 'chat';
  rememberPlace();
  showContacts();
  showHead();
  state.messages = new Map();
  delete document.body.dataset.thread;
  showThread();
  showTyping(null);
  openStream();
  $('composer').focus();
}

function rememberPlace() {
  const place = new URLSearchParams({ contact: state.contactId });
  if (state.numbers.length > 1) place.set('number', state.number.phoneNumberId);
  history.replaceState(null, '', `?${place}`);
}

/** Loads all but the open chat, which comes when the stream is open. */
async function reload() {
  if (!(await loadNumbers())) {
    setTimeout(() => void start(), 1000);
    return;
  }
  await Promise.all([loadContacts(), loadChips()]);
  showHead();
  updateSend();
}

async function start() {
  try {
    await reload();
    openStream();
  } catch {
    showProblem('The sandbox does not answer. Trying again…');
    setTimeout(() => void start(), 1000);
  }
}

function updateSend() {
  const composer = $('composer');
  composer.style.height = 'auto';
  composer.style.height = `${composer.scrollHeight}px`;
  $('send').disabled = !state.number || composer.value.trim() === '';
}

$('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const composer = $('composer');
  const text = composer.value;
  composer.value = '';
  updateSend();
  if (!(await send(text)) && composer.value === '') composer.value = text;
  updateSend();
  composer.focus();
});
$('composer').addEventListener('input', updateSend);
$('composer').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('form').requestSubmit();
});
$('chat').addEventListener('scroll', () => {
  if (isNearEnd()) $('jump').hidden = true;
});
$('jump').addEventListener('click', toEnd);
$('back').addEventListener('click', () => {
  document.body.dataset.screen = 'people';
  $('contacts').querySelector('[aria-current]')?.focus();
});
$('number').addEventListener('change', (event) => {
  state.number = state.numbers.find((number) => number.phoneNumberId === event.target.value);
  rememberPlace();
  void start();
});
$('legend').append(
  element('li', [drawTicks('sent'), 'on its way to the business']),
  element('li', [drawTicks('delivered'), 'at the business: its webhook answered 200']),
  element('li', [drawTicks('read'), 'read by the business']),
);
document.addEventListener('visibilitychange', openStream);
void start();
