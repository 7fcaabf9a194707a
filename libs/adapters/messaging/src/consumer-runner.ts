import { type Msg, type NatsConnection } from '@nats-io/transport-node';
import { correlationHeader } from '@answerline/contracts';
import { toAppError, type AppError } from '@answerline/errors';
import { withCorrelation, type Logger } from '@answerline/logging';
import { delay } from './delay.ts';
import { toDelivery, type Delivery } from './delivery.ts';
import { PullWindow } from './pull-window.ts';
import { retryDelayMs } from './retry-delay.ts';
import { Discard, SnoozeFor } from './signals.ts';

/** A message that threw Unexpected this often is our bug, not bad luck: it becomes a dead letter. */
const maxFailures = 5;
/** How often a dependency that is away is asked for. */
const dependencyPollMs = 1_000;
/** How many bytes of messages a consumer holds at most: about ten of the largest bodies, thousands of usual ones. */
const maxHeldBytes = 40 * 1024 * 1024;
/**
 * How far back a lost message is asked for. A consumer waits for 512 at most, but one that is held for long keeps the floor
 * far behind the rest.
 */
const maxLostRange = 20_000;
/** How long the server may take to hear of them. */
const askTimeoutMs = 2_000;
/** The largest message of any stream (4 MiB) with its subject and headers: below this there is no room for a request. */
const largestMessageBytes = 5 * 1024 * 1024;

/** What a consumer does and how. */
export interface ConsumerOptions {
  readonly stream: string;
  readonly consumer: string;
  /** Most messages in one call of `handle`. It takes what lies waiting and never waits for more. */
  readonly batchSize: number;
  /** How many calls of `handle` run at once. With 1, messages come in stream order. */
  readonly concurrency: number;
  /**
   * Order matters: what a process took along when it was killed, or a connection when it broke, is asked for at once, at the
   * start and after a reconnect. Else it comes only after ack_wait, behind all that was published meanwhile. What another
   * living process holds at that moment is done twice.
   */
  readonly ordered?: boolean;
  /**
   * Does the work; must be safe to run twice. When it returns, the batch is acknowledged. When it throws for several
   * messages, each is done alone. When it throws for one: InvalidInput makes a dead letter at once; Transient holds the
   * message and tries again; anything else is tried 5 times, then it is a dead letter. {@link SnoozeFor} and
   * {@link Discard} say what else can be meant.
   */
  readonly handle: (batch: readonly Delivery[]) => Promise<void>;
  /** Asked after a Transient and at the start: nothing is pulled or handled before it says yes. */
  readonly dependenciesUp?: () => Promise<boolean>;
  /**
   * Messages of which nobody waits for what comes of them. They are put aside until the first of them has waited `forMs`, or
   * there are as many as a batch holds, and others go before them: fewer and larger batches.
   */
  readonly patience?: { readonly has: (delivery: Delivery) => boolean; readonly forMs: number };
  /** Called when all that was taken is settled. */
  readonly onIdle?: () => void;
  readonly logger: Logger;
  /** Milliseconds to wait after the n-th failure of a message. */
  readonly retryDelayMs?: (attempt: number) => number;
}

/** What the runner needs from the bus. */
export interface RunnerContext {
  readonly connection: NatsConnection;
  readonly ackWaitMs: number;
  /** What was handed out and is not settled, here or elsewhere. */
  readonly unsettled: () => Promise<Unsettled>;
  /** Stores the dead letter; resolves only when the stream acknowledged it. */
  readonly storeDeadLetter: (delivery: Delivery, attempts: number, errorCode: string) => Promise<void>;
  readonly now: () => number;
}

/** What a consumer waits for: `count` of the messages above `above` up to `upTo`, by stream sequence. */
export interface Unsettled {
  readonly count: number;
  readonly above: number;
  readonly upTo: number;
  /** The number of the latest delivery. */
  readonly delivery: number;
}

/** A message that we have and have not settled. */
interface Held {
  delivery: Delivery;
  /** Where acknowledgements go; of the latest delivery. */
  reply: string;
  /** How often the handler was tried on it alone. */
  attempts: number;
  /** How often that ended in Unexpected, and in Transient. */
  failures: number;
  transients: number;
  /** Failed before: never again in a batch with others. */
  alone: boolean;
}

const acknowledgement = { done: '+ACK', giveBack: '-NAK', working: '+WPI', never: '+TERM' };

/**
 * The one way to consume a stream: pulls, hands out, acknowledges. Waiting messages are held here and reported as being
 * worked on; a nak is only sent to give work back, because delayed naks fill `max_ack_pending` and use up `max_deliver`.
 */
export class ConsumerRunner {
  readonly #options: ConsumerOptions;
  readonly #context: RunnerContext;
  readonly #logger: Logger;
  readonly #window: PullWindow;
  /** Everything taken and not settled, by stream sequence. */
  readonly #held = new Map<number, Held>();
  /** What may be handed out now, in order. */
  readonly #ready: Held[] = [];
  /** What was put aside; see `patience`. */
  readonly #patient: Held[] = [];
  #patienceEnds: NodeJS.Timeout | undefined;
  /** What waits for its next try. */
  readonly #waiting = new Map<Held, NodeJS.Timeout>();
  readonly #workers: Promise<void>[];
  readonly #working: NodeJS.Timeout;
  /** The dependencies may be down. */
  #suspicious: boolean;
  #gate: Promise<void> | undefined;
  #heldBytes = 0;
  #stopping = false;
  #stopped: Promise<void> | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(options: ConsumerOptions, context: RunnerContext) {
    this.#options = options;
    this.#context = context;
    const { stream, consumer } = options;
    this.#logger = options.logger.child({ stream, consumer });
    this.#suspicious = options.dependenciesUp !== undefined;
    this.#window = new PullWindow({
      connection: context.connection,
      stream,
      consumer,
      room: () => this.#room(),
      onMessage: (message) => this.#take(message),
      onRefused: (status, description) => this.#logger.warn({ status, description }, 'Pull refused'),
    });
    // A third of ack_wait: two of these may be lost before the message is handed to somebody else.
    this.#working = setInterval(() => this.#reportWorking(), context.ackWaitMs / 3);
    this.#workers = Array.from({ length: options.concurrency }, () => this.#work());
    void this.#askForLost().then(() => this.#window.pull());
  }

  /** The connection is back. */
  reconnected(): void {
    void this.#askForLost().then(() => this.#window.renew());
  }

  /**
   * Stops pulling, gives back what was taken and not begun, waits up to `deadlineMs` for what runs, then gives that back
   * too. Never throws.
   */
  stop(deadlineMs: number): Promise<void> {
    this.#stopped ??= this.#stop(deadlineMs);
    return this.#stopped;
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#stopping = true;
    this.#wakeUp();
    const deadline = delay(deadlineMs);
    await Promise.race([this.#window.stop(), deadline.passed]);
    let givenBack = this.#giveBackWhatDoesNotRun();
    await Promise.race([Promise.all(this.#workers), deadline.passed]);
    deadline.cancel();
    clearInterval(this.#working);
    // What a batch that was cut short put back, or what failed meanwhile.
    givenBack += this.#giveBackWhatDoesNotRun();
    const unfinished = this.#held.size;
    for (const held of [...this.#held.values()]) this.#settle(held, 'giveBack');
    this.#logger.info({ givenBack, unfinished }, 'Consumer stopped');
  }

  #giveBackWhatDoesNotRun(): number {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    clearTimeout(this.#patienceEnds);
    const idle = [...this.#ready.splice(0), ...this.#patient.splice(0), ...this.#waiting.keys()];
    this.#waiting.clear();
    for (const held of idle) this.#settle(held, 'giveBack');
    return idle.length;
  }

  // Taking

  #room() {
    const { batchSize, concurrency } = this.#options;
    const bytes = maxHeldBytes - this.#heldBytes;
    const isClosed = this.#suspicious || this.#stopping || bytes < largestMessageBytes;
    // One batch for each worker and one on the way.
    return { messages: isClosed ? 0 : batchSize * (concurrency + 1) - this.#held.size, bytes };
  }

  #take(message: Msg): void {
    const delivery = toDelivery(message);
    if (delivery === null) return;
    const reply = message.reply ?? '';
    const known = this.#held.get(delivery.streamSequence);
    if (known) {
      // Redelivered while we have it (this process was halted for longer than ack_wait): same work, newer receipt.
      known.reply = reply;
      known.delivery = delivery;
      return;
    }
    const held: Held = { delivery, reply, attempts: 0, failures: 0, transients: 0, alone: false };
    this.#held.set(delivery.streamSequence, held);
    this.#heldBytes += delivery.data.length;
    if (this.#options.patience?.has(delivery)) return this.#putAside(held, this.#options.patience.forMs);
    this.#ready.push(held);
    this.#wakeUp();
  }

  #putAside(held: Held, forMs: number): void {
    this.#patient.push(held);
    if (this.#patient.length >= this.#options.batchSize) this.#endPatience();
    else this.#patienceEnds ??= setTimeout(() => this.#endPatience(), forMs);
  }

  #endPatience(): void {
    clearTimeout(this.#patienceEnds);
    this.#patienceEnds = undefined;
    this.#ready.push(...this.#patient.splice(0));
    this.#wakeUp();
  }

  /** See `ordered`. A nak makes the server hand a message out again at once, and before newer ones. */
  async #askForLost(): Promise<void> {
    const { stream, consumer, ordered } = this.#options;
    if (ordered !== true) return;
    try {
      const { count, above, upTo, delivery } = await this.#context.unsettled();
      if (count === 0) return;
      const receipts: string[] = [];
      for (let sequence = Math.max(above + 1, upTo - maxLostRange); sequence <= upTo; sequence += 1) {
        // The receipt that the lost delivery had (see toDelivery). The server passes over what it does not wait for.
        const receipt = `$JS.ACK.${stream}.${consumer}.1.${String(sequence)}.${String(delivery)}.0.0`;
        if (!this.#held.has(sequence)) receipts.push(receipt);
      }
      const { connection } = this.#context;
      const last = receipts.pop();
      for (const receipt of receipts) connection.publish(receipt, acknowledgement.giveBack);
      // An answer to the last one says that all were heard, so that no pull comes first.
      if (last !== undefined) await connection.request(last, acknowledgement.giveBack, { timeout: askTimeoutMs });
    } catch (error) {
      this.#logger.warn({ err: error }, 'Lost messages could not be asked for; they come after ack_wait');
    }
  }

  #nextBatch(): Held[] {
    const firstAlone = this.#ready.findIndex((held) => held.alone);
    if (firstAlone === 0) return this.#ready.splice(0, 1);
    const available = firstAlone === -1 ? this.#ready.length : firstAlone;
    return this.#ready.splice(0, Math.min(this.#options.batchSize, available));
  }

  // Working

  async #work(): Promise<void> {
    while (!this.#stopping) {
      if (this.#suspicious) {
        await this.#dependenciesAreUp();
        // Stop may have been asked for meanwhile; its wake-up has passed.
        continue;
      }
      const batch = this.#nextBatch();
      if (batch.length === 0) {
        await this.#wake.promise;
        continue;
      }
      await this.#handle(batch);
      this.#window.pull();
      if (this.#held.size === 0) this.#options.onIdle?.();
    }
  }

  async #handle(batch: readonly Held[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    if (batch.length === 1) return this.#handleOne(first);
    const startedAt = this.#context.now();
    const fields = {
      count: batch.length,
      firstSequence: first.delivery.streamSequence,
      lastSequence: batch.at(-1)?.delivery.streamSequence,
    };
    try {
      await this.#options.handle(batch.map((held) => held.delivery));
    } catch (error) {
      const durationMs = this.#context.now() - startedAt;
      this.#logger.warn({ ...fields, outcome: 'one_by_one', durationMs, err: error }, 'Batch failed');
      await this.#handleOneByOne(batch);
      return;
    }
    for (const held of batch) this.#settle(held, 'done');
    this.#logger.info({ ...fields, outcome: 'done', durationMs: this.#context.now() - startedAt }, 'Batch handled');
  }

  async #handleOneByOne(batch: readonly Held[]): Promise<void> {
    for (const [index, held] of batch.entries()) {
      if (this.#stopping || this.#suspicious) {
        this.#ready.unshift(...batch.slice(index));
        return;
      }
      await this.#handleOne(held);
    }
  }

  #handleOne(held: Held): Promise<void> {
    const { delivery } = held;
    const sequence = `${this.#options.stream}:${delivery.streamSequence}`;
    return withCorrelation(delivery.headers[correlationHeader] ?? delivery.messageId ?? sequence, async () => {
      const startedAt = this.#context.now();
      held.attempts += 1;
      let failure: unknown;
      let outcome: string;
      try {
        await this.#options.handle([delivery]);
        this.#settle(held, 'done');
        outcome = 'done';
      } catch (error) {
        failure = error;
        outcome = await this.#failed(held, error);
      }
      const { subject, messageId, streamSequence } = delivery;
      const durationMs = this.#context.now() - startedAt;
      const fields = { subject, messageId, streamSequence, attempt: held.attempts, outcome, durationMs };
      if (failure === undefined || failure instanceof SnoozeFor) this.#logger.info(fields, 'Message handled');
      else if (failure instanceof Discard) this.#logger.info({ ...fields, reason: failure.reason }, 'Message handled');
      else if (toAppError(failure).kind === 'unexpected')
        this.#logger.error({ ...fields, err: failure }, 'Message failed');
      else this.#logger.warn({ ...fields, err: failure }, 'Message failed');
    });
  }

  /** Decides what becomes of a message that failed alone, does it, and returns the outcome for the log. */
  async #failed(held: Held, error: unknown): Promise<string> {
    if (error instanceof Discard) {
      this.#settle(held, 'never');
      return 'discarded';
    }
    if (error instanceof SnoozeFor) {
      this.#again(held, error.delayMs);
      return 'snoozed';
    }
    const retryDelay = this.#options.retryDelayMs ?? retryDelayMs;
    const known = toAppError(error);
    if (known.kind === 'transient') {
      held.transients += 1;
      this.#suspicious = this.#options.dependenciesUp !== undefined;
      this.#again(held, retryAfterMs(known) ?? retryDelay(held.transients));
      return 'held';
    }
    if (known.kind === 'unexpected') {
      held.failures += 1;
      if (held.failures < maxFailures) {
        this.#again(held, retryDelay(held.failures));
        return 'retry';
      }
    }
    try {
      await this.#context.storeDeadLetter(held.delivery, held.attempts, known.code);
    } catch (cause) {
      // Never lose both: without its dead letter the message stays.
      held.transients += 1;
      this.#logger.error({ err: cause, streamSequence: held.delivery.streamSequence }, 'Dead letter not stored');
      this.#again(held, retryDelay(held.transients));
      return 'held';
    }
    this.#settle(held, 'never');
    return 'dead_letter';
  }

  /** Holds the message and hands it out again, alone, after `delayMs`. */
  #again(held: Held, delayMs: number): void {
    held.alone = true;
    const timer = setTimeout(() => {
      this.#waiting.delete(held);
      this.#ready.unshift(held);
      this.#wakeUp();
    }, delayMs);
    this.#waiting.set(held, timer);
  }

  #settle(held: Held, how: 'done' | 'never' | 'giveBack'): void {
    // Given back at the deadline while its handler still ran: the receipt is no longer ours.
    if (!this.#held.delete(held.delivery.streamSequence)) return;
    this.#heldBytes -= held.delivery.data.length;
    this.#acknowledge(held, how);
  }

  #reportWorking(): void {
    for (const held of this.#held.values()) this.#acknowledge(held, 'working');
  }

  #acknowledge(held: Held, how: keyof typeof acknowledgement): void {
    const { connection } = this.#context;
    // What cannot be said is not missed: the server hands the message out again.
    if (!connection.isClosed()) connection.publish(held.reply, acknowledgement[how]);
  }

  // Waiting

  #wakeUp(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** Resolves when the dependencies are up, or at stop. All workers share one question. */
  #dependenciesAreUp(): Promise<void> {
    this.#gate ??= this.#askForDependencies().finally(() => {
      this.#gate = undefined;
    });
    return this.#gate;
  }

  async #askForDependencies(): Promise<void> {
    let told = false;
    while (!this.#stopping) {
      const up = await Promise.resolve(this.#options.dependenciesUp?.() ?? true).catch(() => false);
      if (up) {
        this.#suspicious = false;
        if (told) this.#logger.info('Dependencies are back');
        this.#window.pull();
        this.#wakeUp();
        return;
      }
      if (!told) this.#logger.warn('A dependency is down, nothing is pulled');
      told = true;
      const pause = delay(dependencyPollMs);
      while (!this.#stopping && !pause.isOver()) await Promise.race([pause.passed, this.#wake.promise]);
      pause.cancel();
    }
  }
}

function retryAfterMs(error: AppError): number | undefined {
  return 'retryAfterMs' in error && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : undefined;
}
