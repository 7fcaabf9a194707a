import { AccountsFile } from './accounts-file.ts';
import { Accounts } from './accounts.ts';
import { AppendLog } from './append-log.ts';
import { contactSettings, Contacts, type Contact } from './contacts.ts';
import type {
  BusinessNumber,
  Chip,
  Echo,
  InboundFields,
  InboundMessage,
  JournalFields,
  Limits,
  MessageCallFields,
} from './control-schemas.ts';
import { FaultSwitch } from './fault-switch.ts';
import { FreeTier, type Pricing } from './free-tier.ts';
import { MediaStore } from './media.ts';
import { PairRate, Throughput } from './rate-limits.ts';
import { Threads, typingMs, type Thread } from './threads.ts';
import { encodeWebhook } from './signature.ts';
import {
  createWamid,
  echoBody,
  inboundMessage,
  messageValue,
  statusValue,
  type StatusReport,
} from './webhook-bodies.ts';
import { WebhookDelivery } from './webhook-delivery.ts';

/** Meta's own limits, and a test number's way with people who are not on its list. */
export const defaultLimits: Limits = {
  pairRate: true,
  pairIntervalMs: 6_000,
  pairBurst: 45,
  messagesPerSecond: 80,
  unknownRecipient: 'refused',
  freeDeliveriesPerMonth: 1_000,
};

/** A message of the business that was accepted, as far as its statuses need it. */
export interface SentMessage {
  readonly wamid: string;
  readonly number: BusinessNumber;
  readonly thread: Thread | undefined;
  readonly dialled: string | undefined;
  readonly callbackData: string | undefined;
  /** Unset for one that fails. */
  readonly pricing: Pricing | undefined;
}

/** Everything that the sandbox knows: accounts, people, chats, the two files and what goes out. */
export class Meta {
  readonly media = new MediaStore();
  readonly chips = new Map<string, readonly Chip[]>();
  readonly contacts = new Contacts();
  readonly threads = new Threads();
  readonly faults: FaultSwitch;
  readonly pairRate = new PairRate();
  readonly throughput = new Throughput();
  private readonly freeTier = new FreeTier();
  readonly delivery: WebhookDelivery;
  limits = defaultLimits;
  private readonly callbackData = new Map<string, Pick<SentMessage, 'dialled' | 'callbackData'>>();

  private constructor(
    readonly accounts: Accounts,
    readonly accountsFile: AccountsFile,
    readonly journal: AppendLog<JournalFields>,
    readonly inbound: AppendLog<InboundFields>,
    readonly now: () => number,
    seed: number,
  ) {
    this.faults = new FaultSwitch(seed);
    this.delivery = new WebhookDelivery(this.accounts, now, seed);
  }

  /** Opens the files in `dataDir`, and puts accounts and chats together from them. */
  static async open(dataDir: string, now: () => number, seed: number): Promise<Meta> {
    const accounts = new Accounts();
    const accountsFile = await AccountsFile.open(`${dataDir}/sandbox-accounts.json`, accounts);
    const journal = await AppendLog.open<JournalFields>(`${dataDir}/sandbox-journal.jsonl`);
    const inbound = await AppendLog.open<InboundFields>(`${dataDir}/sandbox-inbound.jsonl`).catch(async (error) => {
      await journal.close();
      throw error;
    });
    const meta = new Meta(accounts, accountsFile, journal, inbound, now, seed);
    meta.remember();
    return meta;
  }

  /** A contact writes: the message is on file, in its chat and on its way when this resolves. Gives its id. */
  async write(number: BusinessNumber, contact: Contact, request: InboundMessage): Promise<string> {
    const id = request.id ?? createWamid();
    const message = inboundMessage(request, contact, id, this.now());
    await this.record(number.phoneNumberId, contact, id, message);
    const thread = this.threads.of(number.phoneNumberId, contact);
    this.delivery.send({
      phoneNumberId: number.phoneNumberId,
      value: messageValue(number, contact, message),
      onDelivered: () => this.threads.markDelivered(thread, id),
    });
    if (request.newWaId !== undefined) this.contacts.put({ ...contact, waId: request.newWaId });
    if (request.newUserId !== undefined) this.contacts.put({ ...contact, userId: request.newUserId });
    return id;
  }

  /** Somebody of the business writes on their own phone: it is in the chat and on its way. Gives its id. */
  echo(number: BusinessNumber, contact: Contact, echo: Echo): string {
    const { phoneNumberId } = number;
    const id = echo.id ?? createWamid();
    const atMs = this.now();
    const thread = this.threads.of(phoneNumberId, contact);
    this.threads.reply(thread, { id, direction: 'outbound', type: 'text', text: echo.text, atMs });
    const body = encodeWebhook(echoBody(number, contact, echo, id, atMs));
    this.delivery.sendRaw(phoneNumberId, body, 'smb_message_echoes');
    return id;
  }

  /** Puts a message of a contact on file and into its chat, unless its id is known there. */
  async record(
    phoneNumberId: string,
    contact: Contact,
    id: string,
    message: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const nowMs = this.now();
    if (!this.threads.receive(this.threads.of(phoneNumberId, contact), id, message, nowMs)) return;
    this.media.learn(phoneNumberId, message, nowMs);
    await this.inbound.append({
      at: new Date(nowMs).toISOString(),
      phoneNumberId,
      contactId: contact.id,
      contact: contactSettings(contact),
      id,
      message,
    });
  }

  /** What a message costs that is accepted now; it counts as delivered this month. */
  price(phoneNumberId: string, thread: Thread, atMs: number): Pricing {
    const { freeDeliveriesPerMonth } = this.limits;
    return this.freeTier.take(phoneNumberId, atMs, thread.isFreeEntryPoint(atMs), freeDeliveriesPerMonth);
  }

  /**
   * Sends `failed`, or `sent`, `delivered` and, when the phone is looked at, `read`, each after its delay. With
   * `sentIsTold` the first of them is left out.
   */
  reportOn(sent: SentMessage, failsWith: number | undefined, sentIsTold: boolean): void {
    const { statuses, statusDelaysMs } = this.delivery.current;
    if (failsWith !== undefined) {
      this.delivery.later(statusDelaysMs.sent, () => {
        if (sent.thread) this.threads.fail(sent.thread, sent.wamid, failsWith);
        this.sendStatus(sent, 'failed', { errorCode: failsWith });
      });
      return;
    }
    if (!statuses) return;
    if (!sentIsTold) this.delivery.later(statusDelaysMs.sent, () => this.sendStatus(sent, 'sent'));
    this.delivery.later(statusDelaysMs.delivered, () => this.sendStatus(sent, 'delivered'));
    this.delivery.later(statusDelaysMs.read, () => {
      const { thread } = sent;
      if (this.delivery.current.autoRead || (thread && this.threads.isLookedAt(thread))) {
        this.sendStatus(sent, 'read');
      } else if (thread) {
        thread.unseen.add(sent.wamid);
        this.callbackData.set(sent.wamid, { dialled: sent.dialled, callbackData: sent.callbackData });
      }
    });
  }

  /** Tells the `sent` status at once and waits until that was tried. False when deliveries are paused. */
  reportSentNow(sent: SentMessage): Promise<boolean> {
    if (this.delivery.current.paused) return Promise.resolve(false);
    return new Promise((resolve) => this.sendStatus(sent, 'sent', { onTried: () => resolve(true) }));
  }

  /** Somebody opened the phone at this chat: what waited there is read now. Call what is returned when they leave. */
  look(phoneNumberId: string, contactId: string): () => void {
    const leave = this.threads.look(phoneNumberId, contactId);
    const thread = this.threads.find(phoneNumberId, contactId);
    const number = this.accounts.numbers.get(phoneNumberId);
    if (thread && number) {
      for (const wamid of thread.unseen) {
        const known = this.callbackData.get(wamid);
        this.callbackData.delete(wamid);
        if (known) this.sendStatus({ wamid, number, thread, pricing: undefined, ...known }, 'read');
      }
      thread.unseen.clear();
    }
    return leave;
  }

  /** Everything but accounts (numbers, tokens, apps, WABAs) and chips is as on the first start, the two files are empty. */
  async reset(): Promise<void> {
    this.delivery.reset();
    this.faults.reset();
    this.pairRate.clear();
    this.throughput.clear();
    this.freeTier.clear();
    this.limits = defaultLimits;
    this.contacts.reset();
    this.threads.clear();
    this.media.clear();
    this.callbackData.clear();
    await Promise.all([this.journal.clear(), this.inbound.clear()]);
    this.threads.publish({ type: 'changed', what: 'everything' });
  }

  async close(): Promise<void> {
    await this.delivery.close();
    await Promise.all([this.journal.close(), this.inbound.close(), this.accountsFile.close()]);
  }

  private sendStatus(
    sent: SentMessage,
    status: StatusReport['status'],
    more: { errorCode?: number; onTried?: () => void } = {},
  ): void {
    const { wamid, number, thread, dialled, callbackData, pricing } = sent;
    const report: StatusReport = {
      wamid,
      status,
      contact: thread?.contact,
      dialled,
      callbackData,
      pricing,
      nowMs: this.now(),
      ...(more.errorCode !== undefined && { errorCode: more.errorCode }),
    };
    const { phoneNumberId } = number;
    const update = { phoneNumberId, value: statusValue(number, report), onTried: more.onTried };
    this.delivery.send(update, more.onTried !== undefined);
  }

  /** Chats from the files of an earlier run, in the order in which things happened. */
  private remember(): void {
    const calls = this.journal.entries
      .filter((call) => call.kind !== 'management')
      .map((call) => ({ at: call.at, call, line: undefined }));
    const lines = this.inbound.entries.map((line) => ({ at: line.at, line, call: undefined }));
    const all = [...lines, ...calls].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    for (const { line, call } of all) {
      if (line) {
        const contact = this.contacts.get(line.contactId) ?? { ...line.contact, id: line.contactId, listed: false };
        this.contacts.put(contact);
        this.threads.receive(this.threads.of(line.phoneNumberId, contact), line.id, line.message, Date.parse(line.at));
        this.media.learn(line.phoneNumberId, line.message, Date.parse(line.at));
        continue;
      }
      const contact = this.contacts.get(call.contactId ?? '');
      if (!contact) continue;
      const thread = this.threads.of(call.phoneNumberId, contact);
      if (call.kind === 'text') {
        // Who answers has got what came before.
        for (const message of thread.messages) if (message.ticks) this.threads.markDelivered(thread, message.id);
        this.threads.reply(thread, outboundMessage(call, Date.parse(call.at)));
        if (call.failsWith === undefined) this.price(call.phoneNumberId, thread, Date.parse(call.at));
      } else {
        this.threads.markRead(thread, call.wamid);
        if (call.kind === 'typing') thread.typingUntilMs = Date.parse(call.at) + typingMs;
      }
    }
  }
}

/** A journal line of kind text as the phone shows it. */
export function outboundMessage(call: MessageCallFields, atMs: number) {
  return {
    id: call.wamid,
    direction: 'outbound' as const,
    type: 'text',
    text: call.body ?? '',
    atMs,
    contextMessageId: call.contextMessageId,
    ...(call.failsWith !== undefined && { failedWith: call.failsWith }),
  };
}
