import { createInbox, nanos, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';

/** How long one request for messages stays open on the server. Short, so that a request lost on the way is soon replaced. */
const pullExpiresMs = 5_000;
/** A request that has not ended this long after its time is taken for lost (the server moved or restarted). */
const lostAfterMs = pullExpiresMs + 2_000;
/** Pause after an answer that says "not now": no leader, consumer deleted, too many waiting requests. */
const refusedPauseMs = 500;

/** How much the owner can take in at this moment. */
export interface Room {
  readonly messages: number;
  readonly bytes: number;
}

/**
 * One open request for messages of a durable pull consumer, never for more than there is room for.
 *
 * The client's own `consume()` keeps asking while its reader is busy elsewhere, cannot be paused, and drops what is on the
 * wire when it stops; dropped messages come back only after `ack_wait`. Here the owner's room decides, and `stop()` hands
 * over everything that the server sent. Protocol: https://github.com/nats-io/nats-architecture-and-design ADR-13.
 */
export class PullWindow {
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #inbox: string;
  readonly #room: () => Room;
  readonly #onMessage: (message: Msg) => void;
  readonly #onRefused: (status: number, description: string) => void;
  readonly #subscription: Subscription;
  #serial = 0;
  #awaited = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: {
    readonly connection: NatsConnection;
    readonly stream: string;
    readonly consumer: string;
    readonly room: () => Room;
    readonly onMessage: (message: Msg) => void;
    readonly onRefused: (status: number, description: string) => void;
  }) {
    this.#connection = options.connection;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
    this.#inbox = createInbox();
    this.#room = options.room;
    this.#onMessage = options.onMessage;
    this.#onRefused = options.onRefused;
    this.#subscription = this.#connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#receive(message);
        else this.#onRefused(403, error.message);
      },
    });
  }

  /** Asks for messages if there is room and no request is open. Cheap: call it whenever room may have appeared. */
  pull(): void {
    if (this.#stopped || this.#awaited > 0 || this.#connection.isClosed()) return;
    const { messages, bytes } = this.#room();
    if (messages < 1) return;
    this.#serial += 1;
    this.#awaited = messages;
    this.#onlyTimer(lostAfterMs, () => this.renew());
    // `max_bytes` keeps a backlog of 3 MB bodies from filling our memory and the server's buffer for this connection.
    const request = { batch: messages, max_bytes: bytes, expires: nanos(pullExpiresMs) };
    this.#connection.publish(this.#subject, JSON.stringify(request), { reply: `${this.#inbox}.${this.#serial}` });
  }

  /** Forgets the open request and asks again: after a reconnect the server knows nothing of the old one. */
  renew(): void {
    this.#awaited = 0;
    this.pull();
  }

  /** Asks no more. When it resolves, all that the server had sent has been handed to `onMessage`. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    // Draining fails when the connection is lost meanwhile; then there is nothing to hand over.
    if (!this.#connection.isClosed()) await this.#subscription.drain().catch(() => undefined);
  }

  #receive(message: Msg): void {
    // A stored message keeps its own subject; what comes on our inbox is an answer about a request.
    if (!message.subject.startsWith(this.#inbox)) {
      if (this.#awaited > 0) this.#awaited -= 1;
      this.#onMessage(message);
      if (this.#awaited === 0) this.pull();
      return;
    }
    if (message.subject !== `${this.#inbox}.${this.#serial}`) return;
    const status = message.headers?.code ?? 0;
    const description = message.headers?.description ?? '';
    this.#awaited = 0;
    // 408: its time is over. 409 with these words: what comes next has no room in `max_bytes`, or all was sent.
    if (status === 408 || (status === 409 && /maxbytes|batch completed/i.test(description))) {
      this.pull();
      return;
    }
    this.#onRefused(status, description);
    // Counts as an open request, so that nobody asks during the pause.
    this.#awaited = 1;
    this.#onlyTimer(refusedPauseMs, () => this.renew());
  }

  #onlyTimer(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(then, delayMs);
  }
}
