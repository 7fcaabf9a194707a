import { Agent, type Dispatcher } from 'undici';
import type { Callback } from './account-schemas.ts';
import type { Accounts, WebhookTarget } from './accounts.ts';
import type { DeliveryCounts, DeliverySettings } from './control-schemas.ts';
import { createRandom } from './random.ts';
import { encodeWebhook, signWebhook } from './signature.ts';
import { webhookBody, type WebhookValue } from './webhook-bodies.ts';

/** How webhooks go out until it is set otherwise. */
export const defaultDeliverySettings: DeliverySettings = {
  statuses: true,
  autoRead: false,
  statusDelaysMs: { sent: 30, delivered: 150, read: 600 },
  repeatShare: 0,
  repeatDelayMs: 2_000,
  shuffleWithinMs: 0,
  batchUpTo: 1,
  batchWithinMs: 50,
  // Meta: at once, then with decreasing frequency for up to 7 days ("Create a webhook endpoint"). The steps are ours.
  retryDelaysMs: [0, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000],
  giveUpAfterMs: 604_800_000,
  // Meta does not publish its timeout; others have seen between 5 and 20 s.
  timeoutMs: 20_000,
  concurrency: 64,
  paused: false,
  seed: 1,
};

/** One thing to tell whoever gets the `messages` webhooks of a number. */
export interface Update {
  readonly phoneNumberId: string;
  readonly value: WebhookValue;
  /** Called once, when the body that holds it was answered 200. */
  readonly onDelivered?: (() => void) | undefined;
  /** Called once, after the first attempt, whatever its outcome. */
  readonly onTried?: (() => void) | undefined;
}

interface Job {
  readonly phoneNumberId: string;
  /** Webhook field; it decides where the body goes. */
  readonly field: string;
  readonly body: Buffer;
  readonly updates: readonly Update[];
  readonly firstAt: number;
  readonly isRepeat: boolean;
  attempts: number;
}

/** What came of the verification GET; `status` is null when there was no answer. */
export interface Verification {
  readonly verified: boolean;
  readonly status: number | null;
  readonly reason: string | null;
}

/**
 * Meta's delivery of webhooks: signed, many at a time in no promised order, again until answered 200. Repeats, disorder
 * and batches on request, drawn from a seeded source.
 */
export class WebhookDelivery {
  private settings: DeliverySettings;
  private random: () => number;
  private counts = createCounts();
  private readonly agent = new Agent({ connections: 256, pipelining: 1, keepAliveTimeout: 30_000 });
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly batches = new Map<string, Update[]>();
  private ready: Job[] = [];
  private firstReady = 0;
  private inFlight = 0;
  private generation = 0;

  constructor(
    private readonly accounts: Accounts,
    private readonly now: () => number,
    private readonly seed: number,
  ) {
    this.settings = { ...defaultDeliverySettings, seed };
    this.random = createRandom(seed);
  }

  get current(): DeliverySettings {
    return this.settings;
  }

  /** Changes settings. A given seed starts the random source anew. */
  configure(changes: { [K in keyof DeliverySettings]?: DeliverySettings[K] | undefined }): void {
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    this.settings = { ...this.settings, ...(Object.fromEntries(given) as Partial<DeliverySettings>) };
    if (changes.seed !== undefined) this.random = createRandom(changes.seed);
    this.pump();
  }

  status(): DeliveryCounts {
    const waiting = [...this.batches.values()].reduce((sum, batch) => sum + batch.length, 0);
    const pending = this.timers.size + waiting + this.ready.length - this.firstReady + this.inFlight;
    return { ...this.counts, pending };
  }

  /** Runs `action` after a delay, unless everything is reset before. It counts as pending. */
  later(delayMs: number, action: () => void): void {
    if (delayMs <= 0) {
      action();
      return;
    }
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, delayMs);
    this.timers.add(timer);
  }

  /** Delivers an update, in a body with others when batches are on. `alone` is for one that somebody waits for. */
  send(update: Update, alone = false): void {
    if (alone || this.settings.batchUpTo <= 1) {
      this.submit([update], alone);
      return;
    }
    const account = this.accountOf(update.phoneNumberId);
    const batch = this.batches.get(account);
    if (!batch) {
      this.batches.set(account, [update]);
      this.later(this.settings.batchWithinMs, () => this.flush(account));
    } else if (batch.push(update) >= this.settings.batchUpTo) {
      this.flush(account);
    }
  }

  /** Delivers exactly these bytes, as a webhook with this field. */
  sendRaw(phoneNumberId: string, body: Buffer, field = 'messages'): void {
    this.enqueue({ phoneNumberId, field, body, updates: [], firstAt: this.now(), isRepeat: false, attempts: 0 });
  }

  /** Forgets what waits and every count; an attempt under way is not counted any more. */
  reset(): void {
    this.generation += 1;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.batches.clear();
    this.ready = [];
    this.firstReady = 0;
    this.inFlight = 0;
    this.counts = createCounts();
    this.settings = { ...defaultDeliverySettings, seed: this.seed };
    this.random = createRandom(this.seed);
  }

  async close(): Promise<void> {
    this.reset();
    await this.agent.destroy();
  }

  /** Numbers of one app share a callback, so their updates may share a body. */
  private accountOf(phoneNumberId: string): string {
    const target = this.accounts.webhookTarget(phoneNumberId, 'messages');
    return target ? `${target.callbackUrl} ${target.appSecret}` : phoneNumberId;
  }

  private flush(account: string): void {
    const batch = this.batches.get(account);
    if (!batch) return;
    this.batches.delete(account);
    this.submit(batch, false);
  }

  private submit(updates: readonly Update[], atOnce: boolean): void {
    const { phoneNumberId } = updates[0]!;
    const parts = updates.map((update) => ({
      wabaId: this.accounts.numbers.get(update.phoneNumberId)?.wabaId ?? '0',
      value: update.value,
    }));
    const body = encodeWebhook(webhookBody(parts, this.random));
    const job: Job = {
      phoneNumberId,
      field: 'messages',
      body,
      updates,
      firstAt: this.now(),
      isRepeat: false,
      attempts: 0,
    };
    if (atOnce) {
      void this.attempt(job);
      return;
    }
    this.enqueue(job);
  }

  private enqueue(job: Job): void {
    const { shuffleWithinMs } = this.settings;
    this.schedule(job, shuffleWithinMs === 0 ? 0 : this.random() * shuffleWithinMs);
  }

  private schedule(job: Job, delayMs: number): void {
    this.later(delayMs, () => {
      this.ready.push(job);
      this.pump();
    });
  }

  private pump(): void {
    while (!this.settings.paused && this.inFlight < this.settings.concurrency && this.firstReady < this.ready.length) {
      const job = this.ready[this.firstReady++]!;
      if (this.firstReady === this.ready.length || this.firstReady > 1000) {
        this.ready.splice(0, this.firstReady);
        this.firstReady = 0;
      }
      void this.attempt(job);
    }
  }

  private async attempt(job: Job): Promise<void> {
    const { generation } = this;
    // Looked up each time: a cure helps at once.
    const target = this.accounts.webhookTarget(job.phoneNumberId, job.field);
    if (!target) {
      this.counts.unsubscribed += 1;
      for (const update of job.updates) update.onTried?.();
      return;
    }
    this.inFlight += 1;
    this.counts.attempts += 1;
    if (job.attempts > 0) this.counts.retries += 1;
    job.attempts += 1;
    const outcome = await this.post(job.body, target);
    if (job.attempts === 1 && !job.isRepeat) for (const update of job.updates) update.onTried?.();
    // A reset in the meantime has forgotten this one.
    if (generation !== this.generation) return;
    this.inFlight -= 1;
    if (outcome === 200) this.delivered(job);
    else this.refused(job, outcome);
    this.pump();
  }

  private delivered(job: Job): void {
    this.counts.delivered += 1;
    if (job.isRepeat) return;
    for (const update of job.updates) update.onDelivered?.();
    if (this.settings.repeatShare > 0 && this.random() < this.settings.repeatShare) {
      this.counts.repeats += 1;
      const repeat: Job = { ...job, updates: [], isRepeat: true, attempts: 0, firstAt: this.now() };
      this.schedule(repeat, this.settings.repeatDelayMs);
    }
  }

  private refused(job: Job, outcome: number | string): void {
    this.counts.refused += 1;
    this.counts.lastRefusal = { at: new Date(this.now()).toISOString(), outcome: String(outcome) };
    const { retryDelaysMs, giveUpAfterMs } = this.settings;
    if (this.now() - job.firstAt > giveUpAfterMs) {
      this.counts.givenUp += 1;
      return;
    }
    this.schedule(job, retryDelaysMs[Math.min(job.attempts, retryDelaysMs.length) - 1] ?? 0);
  }

  /** HTTP status of one try, or the code of what went wrong. */
  private async post(body: Buffer, { callbackUrl, appSecret }: WebhookTarget): Promise<number | string> {
    const { origin, pathname, search } = new URL(callbackUrl);
    const { timeoutMs } = this.settings;
    try {
      const response = await this.agent.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'facebookexternalua',
          'x-hub-signature-256': signWebhook(appSecret, body),
        },
        body,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      await response.body.dump();
      return response.statusCode;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'no_answer';
    }
  }

  /**
   * Meta's check of a callback URL: a GET with the verify token and a random challenge, which must come back alone with
   * status 200 (Meta, "Create a webhook endpoint").
   */
  async verify({ callbackUrl, verifyToken }: Callback): Promise<Verification> {
    const { origin, pathname, search } = new URL(callbackUrl);
    const challenge = String(100_000_000 + Math.floor(Math.random() * 900_000_000));
    const query = new URLSearchParams({
      'hub.mode': 'subscribe',
      'hub.challenge': challenge,
      'hub.verify_token': verifyToken,
    });
    const { timeoutMs } = this.settings;
    let response: Dispatcher.ResponseData;
    try {
      response = await this.agent.request({
        origin,
        path: `${pathname}${search === '' ? '?' : `${search}&`}${query.toString()}`,
        method: 'GET',
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const text = await response.body.text();
      if (response.statusCode !== 200) return { verified: false, status: response.statusCode, reason: 'status' };
      if (text !== challenge) return { verified: false, status: 200, reason: 'challenge' };
      return { verified: true, status: 200, reason: null };
    } catch (error) {
      return { verified: false, status: null, reason: (error as NodeJS.ErrnoException).code ?? 'no_answer' };
    }
  }
}

function createCounts() {
  return {
    delivered: 0,
    refused: 0,
    attempts: 0,
    retries: 0,
    repeats: 0,
    givenUp: 0,
    unsubscribed: 0,
    lastRefusal: null as DeliveryCounts['lastRefusal'],
  };
}
