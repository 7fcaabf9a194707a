import { setTimeout as delay } from 'node:timers/promises';
import { createRandom, type Random } from '@answerline/testing';
import { questionAbout } from './catalogue.ts';
import { call } from './http.ts';
import { type SentMessage } from './judge.ts';
import { type Shop } from './shops.ts';

/** Of these, one asks only for what no passage has. */
const ASKS_IN_VAIN_EVERY = 6;
/** Messages that belong together come this far apart; Meta's seconds differ all the same. */
const TOGETHER_MS = [250, 900] as const;
/**
 * Pauses are about as long as their mean. Were some much shorter, people would write on and on until the longest wait (a minute)
 * ends the turn in the midst of a burst in disorder, and what arrives late from before would be a turn of its own by right.
 */
const PAUSE_SHARES = [0.85, 1.15] as const;
/** A sender who is held writes nothing, and what they wrote before has arrived. */
const ARRIVED_AFTER_MS = 6_000;
/**
 * Share of the messages that come a second time in a body of another shape, which no hash of the body can recognise. Half of
 * these come when the message has its answer: another one to it would be seen.
 */
const REWRAPPED_SHARE = 0.1;
const REWRAPPED_AFTER_MS = [100, 35_000] as const;

interface Sender {
  readonly shop: Shop;
  readonly waId: string;
  readonly asksInVain: boolean;
  count: number;
  lastSecond: number;
  lastSaidAt: number;
  held: Promise<unknown> | undefined;
}

/** People who write to the shops, through the sandbox. Everything random comes from the seed; only the pace is the machine's. */
export class Senders {
  /** The sender's list: every message that was written, in the order of writing. */
  readonly sent: SentMessage[] = [];
  rewrapped = 0;
  readonly #sandboxUrl: string;
  readonly #senders: readonly Sender[];
  readonly #together: number;
  readonly #random: Random;
  readonly #repeats = new Set<Promise<void>>();

  constructor(options: {
    readonly sandboxUrl: string;
    readonly shops: readonly Shop[];
    readonly count: number;
    /** They write one to this many messages in a row. */
    readonly together: number;
    readonly seed: number;
  }) {
    const { sandboxUrl, shops, count, together, seed } = options;
    this.#together = together;
    this.#sandboxUrl = sandboxUrl;
    this.#random = createRandom(seed);
    this.#senders = Array.from({ length: count }, (_, index) => ({
      shop: shops[index % shops.length] as Shop,
      waId: String(12_025_560_000 + index),
      asksInVain: index % ASKS_IN_VAIN_EVERY === ASKS_IN_VAIN_EVERY - 1,
      count: 0,
      lastSecond: 0,
      lastSaidAt: 0,
      held: undefined,
    }));
  }

  /** All write at once, `perSecond` messages together, until the time is over and what they had begun is said. */
  async write(perSecond: number, forMs: number): Promise<void> {
    const together = (1 + this.#together) / 2;
    const meanBurstMs = ((TOGETHER_MS[0] + TOGETHER_MS[1]) / 2) * (together - 1);
    const meanPauseMs = (this.#senders.length / perSecond) * together * 1000 - meanBurstMs;
    const until = performance.now() + forMs;
    await Promise.all(this.#senders.map((sender) => this.#writeAsOne(sender, meanPauseMs, until)));
    await Promise.all(this.#repeats);
  }

  /**
   * Says one more message for one of these people, whose turn is being answered from the knowledge base and who have said nothing
   * since, and holds back what else they have to say meanwhile.
   *
   * @param hasJoined resolves, when the message is stored, to whether that turn is still being answered
   * @returns undefined when there is nobody who could, or when the turn was over too soon
   */
  async sayMeanwhile(
    waIds: readonly string[],
    hasJoined: (message: SentMessage) => Promise<boolean>,
  ): Promise<SentMessage | undefined> {
    const sender = this.#senders.find(
      ({ waId, asksInVain, lastSaidAt }) =>
        waIds.includes(waId) && !asksInVain && performance.now() - lastSaidAt > ARRIVED_AFTER_MS,
    );
    if (!sender) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    sender.held = promise;
    try {
      const message = await this.#say(sender);
      if (!(await hasJoined(message))) return undefined;
      const joined = { ...message, joinsTurnBefore: true };
      this.sent[this.sent.indexOf(message)] = joined;
      return joined;
    } finally {
      sender.held = undefined;
      resolve();
    }
  }

  async #writeAsOne(sender: Sender, meanPauseMs: number, until: number): Promise<void> {
    // Random choices that do not hang on when others came to theirs.
    const random = createRandom(Number(sender.waId) ^ Math.floor(this.#random.next() * 2 ** 32));
    await delay(random.between(0, meanPauseMs));
    while (performance.now() < until) {
      const together = 1 + Math.floor(random.next() * this.#together);
      for (let said = 0; said < together; said += 1) {
        if (said > 0) await delay(random.between(...TOGETHER_MS));
        await sender.held;
        const message = await this.#say(sender);
        if (random.next() < REWRAPPED_SHARE) this.#repeatLater(sender.shop, message, random);
      }
      await delay(Math.min(random.between(...PAUSE_SHARES) * meanPauseMs, Math.max(0, until - performance.now())));
    }
  }

  async #say(sender: Sender): Promise<SentMessage> {
    const { shop, waId } = sender;
    const place = sender.asksInVain ? null : sender.count;
    sender.count += 1;
    sender.lastSaidAt = performance.now();
    sender.lastSecond = Math.max(sender.lastSecond + 1, Math.floor(Date.now() / 1000));
    const second = sender.lastSecond;
    const { messageId } = await call<{ messageId: string }>('POST', `${this.#sandboxUrl}/sandbox/messages`, {
      body: { phoneNumberId: shop.phoneNumberId, waId, text: questionAbout(place), timestamp: String(second) },
    });
    const message: SentMessage = {
      id: messageId,
      waId,
      phoneNumberId: shop.phoneNumberId,
      shop: shop.shop,
      second,
      place,
    };
    this.sent.push(message);
    return message;
  }

  #repeatLater(shop: Shop, message: SentMessage, random: Random): void {
    this.rewrapped += 1;
    const repeat = delay(random.between(...REWRAPPED_AFTER_MS)).then(() => this.#repeat(shop, message));
    // Whoever waits for all of them is told; until then a failure is not unhandled.
    repeat.catch(() => undefined);
    this.#repeats.add(repeat);
  }

  /** As Meta does when it retries a batch in other company: same message, same id, other bytes around it. */
  async #repeat(shop: Shop, { id, waId, second, place }: SentMessage): Promise<void> {
    const text = { body: questionAbout(place) };
    const value = {
      messaging_product: 'whatsapp',
      metadata: {
        display_phone_number: shop.displayPhoneNumber.replace(/\D/g, ''),
        phone_number_id: shop.phoneNumberId,
      },
      contacts: [{ profile: { name: 'Customer A' }, wa_id: waId }],
      messages: [{ from: waId, id, timestamp: String(second), type: 'text', text }],
    };
    const entry = [{ id: shop.wabaId, time: second, changes: [{ field: 'messages', value }] }];
    await call('POST', `${this.#sandboxUrl}/sandbox/webhooks`, {
      body: { phoneNumberId: shop.phoneNumberId, body: { object: 'whatsapp_business_account', entry } },
    });
  }
}
