import type { Contact } from './contacts.ts';

/** How far a message of the contact has come: taken, at the business (its webhook got 200), read by the business. */
export type Ticks = 'sent' | 'delivered' | 'read';

/** A message as the phone shows it. `inbound` and `outbound` are seen from the business, as in the product. */
export interface ThreadMessage {
  readonly id: string;
  readonly direction: 'inbound' | 'outbound';
  readonly type: string;
  text: string;
  readonly atMs: number;
  readonly contextMessageId?: string | undefined;
  /** Inbound only. */
  ticks?: Ticks;
  /** Emoji that the contact put on it. */
  reaction?: string;
  edited?: boolean;
  revoked?: boolean;
  /** Outbound only: never reached the phone, with Meta's code. */
  failedWith?: number;
}

/** What somebody who looks at the phone is told. */
export type LiveEvent =
  | {
      readonly type: 'message';
      readonly phoneNumberId: string;
      readonly contactId: string;
      readonly message: ThreadMessage;
    }
  | {
      readonly type: 'typing';
      readonly phoneNumberId: string;
      readonly contactId: string;
      readonly untilMs: number | null;
    }
  | { readonly type: 'changed'; readonly what: 'numbers' | 'contacts' | 'chips' | 'everything' };

type Json = Readonly<Record<string, unknown>>;

/** How long typing shows unless a reply ends it (Meta, "Typing indicators"). */
export const typingMs = 25_000;
/** Free replies are taken for this long after the contact's last message, by Meta's time (Meta, "Send messages"). */
const windowMs = 86_400_000;
/** Replies are free for this long after somebody came by an ad. Meta counts from the first reply, here from the message. */
const freeEntryPointMs = 259_200_000;

/** The chat of one contact with one business number. */
export class Thread {
  readonly messages: ThreadMessage[] = [];
  typingUntilMs: number | null = null;
  lastInboundMs = Number.NEGATIVE_INFINITY;
  lastReferralMs = Number.NEGATIVE_INFINITY;
  /** Messages that reached the phone while nobody looked; their `read` is still to come. */
  readonly unseen = new Set<string>();
  private readonly byId = new Map<string, ThreadMessage>();

  constructor(
    readonly phoneNumberId: string,
    public contact: Contact,
  ) {}

  get(id: string): ThreadMessage | undefined {
    return this.byId.get(id);
  }

  add(message: ThreadMessage): void {
    this.messages.push(message);
    this.byId.set(message.id, message);
  }

  isWindowOpen(nowMs: number): boolean {
    return nowMs - this.lastInboundMs <= windowMs;
  }

  isFreeEntryPoint(nowMs: number): boolean {
    return nowMs - this.lastReferralMs <= freeEntryPointMs;
  }
}

/** Every chat, and who looks at which. */
export class Threads {
  private readonly byKey = new Map<string, Thread>();
  private readonly byInboundId = new Map<string, Thread>();
  private readonly looking = new Map<string, number>();
  private readonly listeners = new Set<(event: LiveEvent) => void>();

  of(phoneNumberId: string, contact: Contact): Thread {
    const key = threadKey(phoneNumberId, contact.id);
    let thread = this.byKey.get(key);
    if (!thread) this.byKey.set(key, (thread = new Thread(phoneNumberId, contact)));
    // Phone and BSUID of a contact may have changed since.
    thread.contact = contact;
    return thread;
  }

  find(phoneNumberId: string, contactId: string): Thread | undefined {
    return this.byKey.get(threadKey(phoneNumberId, contactId));
  }

  /** The chat that holds this message of a contact to this number. */
  ofInbound(phoneNumberId: string, messageId: string): Thread | undefined {
    return this.byInboundId.get(`${phoneNumberId} ${messageId}`);
  }

  /** Puts a contact's message into its chat: shown, or as the change of an earlier one. False when it was known. */
  receive(thread: Thread, id: string, message: Json, atMs: number): boolean {
    const key = `${thread.phoneNumberId} ${id}`;
    if (this.byInboundId.has(key)) return false;
    this.byInboundId.set(key, thread);
    const metaMs = Number(message['timestamp']) * 1000;
    if (Number.isFinite(metaMs)) {
      thread.lastInboundMs = Math.max(thread.lastInboundMs, metaMs);
      if (message['referral'] !== undefined) thread.lastReferralMs = Math.max(thread.lastReferralMs, metaMs);
    }
    const type = typeof message['type'] === 'string' ? message['type'] : 'unknown';
    const changed = applyChange(thread, type, message[type]);
    if (changed) {
      this.tell(thread, changed);
      return true;
    }
    const shown: ThreadMessage = {
      id,
      direction: 'inbound',
      type,
      text: textOf(type, message[type]),
      atMs,
      contextMessageId: idIn(message['context'], 'id'),
      ticks: 'sent',
    };
    thread.add(shown);
    this.tell(thread, shown);
    return true;
  }

  /** Puts a message of the business into the chat; it ends the typing. */
  reply(thread: Thread, message: ThreadMessage): void {
    thread.add(message);
    this.setTyping(thread, null);
    this.tell(thread, message);
  }

  setTyping(thread: Thread, untilMs: number | null): void {
    if (thread.typingUntilMs === untilMs) return;
    thread.typingUntilMs = untilMs;
    const { phoneNumberId } = thread;
    this.publish({ type: 'typing', phoneNumberId, contactId: thread.contact.id, untilMs });
  }

  markDelivered(thread: Thread, messageId: string): void {
    const message = thread.get(messageId);
    if (message?.ticks !== 'sent') return;
    message.ticks = 'delivered';
    this.tell(thread, message);
  }

  /** The business read this message, and with it every earlier one (Meta, "Mark message as read"). */
  markRead(thread: Thread, messageId: string): void {
    const found = thread.messages.findLastIndex((message) => message.id === messageId);
    // An edit or a reaction is not shown itself: then everything so far is read.
    for (let index = found < 0 ? thread.messages.length - 1 : found; index >= 0; index -= 1) {
      const message = thread.messages[index]!;
      if (message.ticks === 'read') return;
      if (message.ticks === undefined) continue;
      message.ticks = 'read';
      this.tell(thread, message);
    }
  }

  fail(thread: Thread, messageId: string, code: number): void {
    const message = thread.get(messageId);
    if (!message) return;
    message.failedWith = code;
    this.tell(thread, message);
  }

  /** Somebody opened this chat; call what is returned when they close it. */
  look(phoneNumberId: string, contactId: string): () => void {
    const key = threadKey(phoneNumberId, contactId);
    this.looking.set(key, (this.looking.get(key) ?? 0) + 1);
    return () => {
      const left = (this.looking.get(key) ?? 1) - 1;
      if (left === 0) this.looking.delete(key);
      else this.looking.set(key, left);
    };
  }

  isLookedAt(thread: Thread): boolean {
    return this.looking.has(threadKey(thread.phoneNumberId, thread.contact.id));
  }

  listen(listener: (event: LiveEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  publish(event: LiveEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  clear(): void {
    this.byKey.clear();
    this.byInboundId.clear();
  }

  private tell(thread: Thread, message: ThreadMessage): void {
    if (this.listeners.size === 0) return;
    const { phoneNumberId } = thread;
    this.publish({ type: 'message', phoneNumberId, contactId: thread.contact.id, message });
  }
}

function threadKey(phoneNumberId: string, contactId: string): string {
  return `${phoneNumberId} ${contactId}`;
}

/** Reactions, edits and revokes change an earlier message. The changed one, or nothing when it is to be shown itself. */
function applyChange(thread: Thread, type: string, content: unknown): ThreadMessage | undefined {
  if (type === 'reaction') {
    const target = thread.get(idIn(content, 'message_id') ?? '');
    if (!target) return undefined;
    const emoji = textIn(content, 'emoji');
    if (emoji === '') delete target.reaction;
    else target.reaction = emoji;
    return target;
  }
  if (type !== 'edit' && type !== 'revoke') return undefined;
  const target = thread.get(idIn(content, 'original_message_id') ?? '');
  if (!target) return undefined;
  if (type === 'revoke') {
    target.revoked = true;
    return target;
  }
  const edited = fieldIn(content, 'message');
  const editedType = textIn(edited, 'type');
  target.text = textOf(editedType, fieldIn(edited, editedType));
  target.edited = true;
  return target;
}

/** What the phone shows of a message's content: its text, caption, title or emoji. */
function textOf(type: string, content: unknown): string {
  if (type === 'interactive') {
    const reply = fieldIn(content, 'button_reply') ?? fieldIn(content, 'list_reply') ?? fieldIn(content, 'nfm_reply');
    return textIn(reply, 'title') || textIn(reply, 'body');
  }
  for (const field of ['body', 'caption', 'text', 'emoji', 'name', 'filename']) {
    const text = textIn(content, field);
    if (text !== '') return text;
  }
  return '';
}

function fieldIn(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Json)[field] : undefined;
}

function textIn(value: unknown, field: string): string {
  const found = fieldIn(value, field);
  return typeof found === 'string' ? found : '';
}

function idIn(value: unknown, field: string): string | undefined {
  return textIn(value, field) || undefined;
}
