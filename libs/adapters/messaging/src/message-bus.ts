import { jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream';
import {
  connect,
  errors as coreErrors,
  headers as natsHeaders,
  millis,
  type NatsConnection,
  type NodeConnectionOptions,
} from '@nats-io/transport-node';
import {
  correlationHeader,
  deadLetterSubject,
  doorbellSubject,
  messagingTopology,
  minMaxPayloadBytes,
  workspaceOfSubject,
  type DeadLetter,
  type Doorbell,
  type MessagingProfile,
  type MessagingTopology,
} from '@answerline/contracts';
import { InvalidInput, Transient, Unexpected } from '@answerline/errors';
import { currentCorrelationId, type Logger } from '@answerline/logging';
import { ConsumerRunner, type ConsumerOptions, type Unsettled } from './consumer-runner.ts';
import {
  deadLetterStream,
  orNothing,
  readDeadLetters,
  readForReplay,
  replayId,
  type StoredDeadLetter,
} from './dead-letters.ts';
import { delay } from './delay.ts';
import { plainHeaders, type Delivery } from './delivery.ts';
import { fromNatsError, natsUnavailable } from './nats-errors.ts';
import { reconcileTopology, type ReconcileResult } from './reconcile.ts';

/** Per-message settings of pulls, filters and stream compression that we rely on came with 2.11. */
const minServerVersion = [2, 11] as const;
/** A server that starts at the same time as we do is given this long. */
const defaultConnectTimeoutMs = 15_000;
/** Pause between attempts to connect, first or again: a restarted server is found soon, one that is away costs little. */
const reconnectPauseMs = 250;
/** A server that hangs is noticed after two of these without an answer. */
const pingIntervalMs = 10_000;
/** A publish that was not acknowledged by then is refused; Meta waits longer than this for its answer. */
const defaultPublishTimeoutMs = 3_000;
/** For streams, consumers and stored messages; a cluster may be choosing a leader. */
const apiTimeoutMs = 5_000;
/** How long running handlers get when the bus is closed without their consumers having been stopped. */
const closeDeadlineMs = 10_000;
/** How long the last acknowledgements may take to get out. */
const drainDeadlineMs = 3_000;
/** A dead letter must stay far under its stream's 64 KiB, whatever message id a publisher made up. */
const maxStoredMessageIdLength = 1_024;

/** Where and how to connect. Credentials may also stand in `url`; what is given here wins. */
export interface MessageBusOptions {
  /** `nats://host:port` or `tls://…`; several, separated by commas, for a cluster. */
  readonly url: string;
  readonly token?: string;
  readonly user?: string;
  readonly pass?: string;
  /** How the server's monitoring shows this process. */
  readonly name: string;
  readonly logger: Logger;
  readonly profile: MessagingProfile;
  /** Copies of each stream: 1, or 3 on a cluster. */
  readonly replicas?: number;
  /** How long the first connection may take, in ms. */
  readonly connectTimeoutMs?: number;
  readonly now?: () => number;
}

/** What a publish came to: `duplicate` when the stream had this message id already. */
export interface PublishResult {
  readonly duplicate: boolean;
  readonly sequence: number;
}

/** A message as it lies in its stream. */
export interface StoredMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/** A consumer at work. */
export interface RunningConsumer {
  /** Stops pulling, gives back what was not begun, waits up to `deadlineMs` for what runs. Never throws. */
  stop(deadlineMs: number): Promise<void>;
}

/** NATS for the whole process: streams, consumers, doorbells. One instance a process; it reconnects for ever. */
export class MessageBus {
  readonly #connection: NatsConnection;
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;
  readonly #options: MessageBusOptions;
  readonly #logger: Logger;
  readonly #now: () => number;
  /** Publishes that wait for their ack; told at once when the connection is lost. */
  readonly #inFlight = new Set<(error: Transient) => void>();
  readonly #runners = new Set<ConsumerRunner>();
  #connected = true;

  private constructor(connection: NatsConnection, manager: JetStreamManager, options: MessageBusOptions) {
    this.#connection = connection;
    this.#manager = manager;
    this.#client = jetstream(connection, { timeout: apiTimeoutMs });
    this.#options = options;
    this.#logger = options.logger;
    this.#now = options.now ?? Date.now;
    void this.#watch();
  }

  /**
   * Connects, trying again for up to `connectTimeoutMs` (15 s).
   *
   * @throws Transient `nats_unreachable`
   * @throws InvalidInput `nats_url_invalid`, `nats_unauthorized`
   */
  static async connect(options: MessageBusOptions): Promise<MessageBus> {
    const connection = await connectWithin(options.connectTimeoutMs ?? defaultConnectTimeoutMs, {
      ...connectionOptions(options),
      name: options.name,
      maxReconnectAttempts: -1,
      reconnectTimeWait: reconnectPauseMs,
      // A token that is changed on the server first must not end the process for good.
      ignoreAuthErrorAbort: true,
      pingInterval: pingIntervalMs,
      // A stack for each publish would cost more than the publish.
      noAsyncTraces: true,
    });
    // `checkAPI: false`: whether JetStream works is asked by reconcile and by each use.
    const manager = await jetstreamManager(connection, { timeout: apiTimeoutMs, checkAPI: false });
    return new MessageBus(connection, manager, options);
  }

  /** False from the moment the connection is lost until it is back. */
  isConnected(): boolean {
    return this.#connected && !this.#connection.isClosed();
  }

  /**
   * For readiness: null when all is well, else a code: `nats_unavailable`, `nats_version_too_old` (below 2.11) or
   * `nats_max_payload_too_small` (below 4 MiB). Says what the last handshake said; asks nothing.
   */
  problem(): 'nats_unavailable' | 'nats_version_too_old' | 'nats_max_payload_too_small' | null {
    const { info } = this.#connection;
    if (!this.isConnected() || info === undefined) return 'nats_unavailable';
    const [major = 0, minor = 0] = info.version.split('.').map(Number);
    const [minMajor, minMinor] = minServerVersion;
    if (major < minMajor || (major === minMajor && minor < minMinor)) return 'nats_version_too_old';
    return info.max_payload < minMaxPayloadBytes ? 'nats_max_payload_too_small' : null;
  }

  /**
   * Checks the server and makes its streams and consumers fit, changing only what differs and removing nothing.
   *
   * @throws InvalidInput `nats_version_too_old`, `nats_max_payload_too_small`, `nats_subjects_overlap`,
   *   `nats_change_refused`, `nats_stream_would_lose_messages`
   * @throws Transient `nats_unavailable`, `nats_timeout`, `nats_no_jetstream`, `nats_storage_too_small`
   */
  async reconcile(
    topology: MessagingTopology = messagingTopology({ profile: this.#options.profile }),
  ): Promise<ReconcileResult> {
    const problem = this.problem();
    if (problem === 'nats_unavailable') throw natsUnavailable();
    if (problem === 'nats_version_too_old') {
      throw new InvalidInput(problem, `The NATS server must be ${minServerVersion.join('.')} or newer.`, {
        context: { version: this.#connection.info?.version },
      });
    }
    if (problem === 'nats_max_payload_too_small') {
      throw new InvalidInput(problem, `The NATS server's max_payload must be at least ${minMaxPayloadBytes} bytes.`, {
        context: { maxPayloadBytes: this.#connection.info?.max_payload },
      });
    }
    const { replicas = 1 } = this.#options;
    const result = await reconcileTopology(this.#manager, topology, { replicas, now: this.#now });
    if (result.created.length + result.updated.length > 0)
      this.#logger.info(result, 'Streams and consumers reconciled');
    return result;
  }

  /**
   * Stores a message in the stream of its subject and resolves when the stream acknowledged it. The correlation id of
   * the caller goes along as a header. Tries once: whether to try again is the caller's business.
   *
   * @param options.messageId what makes two messages the same within the stream's duplicate window (5 minutes)
   * @throws Transient `nats_unavailable` (at once while disconnected, and when the connection breaks before the ack),
   *   `nats_timeout` (may be stored), `stream_full`, `nats_no_jetstream` (also when no stream takes the subject)
   * @throws InvalidInput `message_too_large`
   */
  async publish(
    subject: string,
    data: Uint8Array,
    options: {
      readonly messageId: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly timeoutMs?: number;
    },
  ): Promise<PublishResult> {
    if (!this.isConnected()) throw natsUnavailable();
    const headers = natsHeaders();
    for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value);
    const correlationId = currentCorrelationId();
    if (correlationId !== undefined && !headers.has(correlationHeader)) headers.set(correlationHeader, correlationId);
    return new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      this.#client
        .publish(subject, data, {
          msgID: options.messageId,
          headers,
          timeout: options.timeoutMs ?? defaultPublishTimeoutMs,
        })
        .then(
          (ack) => resolve({ duplicate: ack.duplicate, sequence: ack.seq }),
          (error: unknown) => reject(fromNatsError(error)),
        )
        .finally(() => this.#inFlight.delete(reject));
    });
  }

  /** Rings: at most once, not stored, never throws, lost while disconnected. `payload` is an id or nothing. */
  ring(doorbell: Doorbell, payload = ''): void {
    if (!this.isConnected()) return;
    try {
      this.#connection.publish(doorbellSubject(doorbell), payload);
    } catch (error) {
      this.#logger.warn({ err: error, doorbell }, 'Doorbell not rung');
    }
  }

  /**
   * Calls `handler` for each ring, with what was rung. Processes with the same `queue` share the rings. What the handler
   * throws is logged. Returns a function that ends it.
   */
  onRing(
    doorbell: Doorbell,
    handler: (payload: string) => void | Promise<void>,
    options: { readonly queue?: string } = {},
  ): () => void {
    const subscription = this.#connection.subscribe(doorbellSubject(doorbell), {
      ...options,
      callback: (error, message) => {
        if (error !== null) this.#logger.error({ err: error, doorbell }, 'Doorbell subscription refused');
        else void this.#answer(doorbell, handler, message.string());
      },
    });
    return () => {
      if (!subscription.isClosed()) subscription.unsubscribe();
    };
  }

  /**
   * Starts to consume; see {@link ConsumerOptions} for what a handler may do. The consumer must exist (reconcile).
   *
   * @throws Unexpected `consumer_missing`
   * @throws Transient when the server is away
   */
  async startConsumer(options: ConsumerOptions): Promise<RunningConsumer> {
    const info = await this.#ask(() => this.#manager.consumers.info(options.stream, options.consumer)).catch(
      (cause: unknown) => {
        if (cause instanceof Transient) throw cause;
        const context = { stream: options.stream, consumer: options.consumer };
        throw new Unexpected('consumer_missing', 'The consumer does not exist on the server.', { cause, context });
      },
    );
    const runner = new ConsumerRunner(options, {
      connection: this.#connection,
      // The server's own default is 30 s.
      ackWaitMs: info.config.ack_wait === undefined ? 30_000 : millis(info.config.ack_wait),
      unsettled: () => this.#unsettled(options.stream, options.consumer),
      storeDeadLetter: (delivery, attempts, errorCode) => this.#storeDeadLetter(options, delivery, attempts, errorCode),
      now: this.#now,
    });
    this.#runners.add(runner);
    return {
      stop: async (deadlineMs) => {
        await runner.stop(deadlineMs);
        this.#runners.delete(runner);
      },
    };
  }

  /** How far a consumer is behind: `pending` not yet handed out, `ackPending` handed out and not settled. Both 0: caught up. */
  async streamLag(stream: string, consumer: string): Promise<{ pending: number; ackPending: number }> {
    const info = await this.#ask(() => this.#manager.consumers.info(stream, consumer));
    return { pending: info.num_pending, ackPending: info.num_ack_pending };
  }

  /**
   * How long ago the stream took the oldest message that the consumer has not settled, in ms; 0 when it has settled all. What
   * was taken before then is settled. Null when nobody can say, because that message is gone from the stream.
   */
  async lagMs(stream: string, consumer: string): Promise<number | null> {
    const info = await this.#ask(() => this.#manager.consumers.info(stream, consumer));
    if (info.num_pending === 0 && info.num_ack_pending === 0) return 0;
    const seq = info.ack_floor.stream_seq + 1;
    const oldest = await this.#ask(() => orNothing(this.#manager.streams.getMessage(stream, { seq })));
    if (oldest === null || info.ts === undefined) return null;
    return Math.max(0, Date.parse(info.ts) - oldest.time.getTime());
  }

  /** Dead letters, oldest first, up to `limit`; the next page begins after the last `sequence`. */
  async listDeadLetters(options: {
    readonly limit: number;
    readonly afterSequence?: number;
  }): Promise<StoredDeadLetter[]> {
    const { limit, afterSequence = 0 } = options;
    return this.#ask(() => readDeadLetters(this.#manager, { limit, afterSequence }));
  }

  /**
   * Publishes the message of a dead letter again, with the message id `<id>:r<n>`, and removes the dead letter. Every
   * consumer of the stream gets it; they are safe to run twice.
   *
   * @param sequence the dead letter's sequence in DEAD_LETTERS
   * @returns the message's new sequence in its stream; `duplicate` when an earlier attempt had published it already
   * @throws InvalidInput `dead_letter_not_found`, `dead_letter_original_gone` (older than its stream keeps messages)
   */
  async putBack(sequence: number): Promise<PublishResult> {
    const { deadLetter, original, headers } = await this.#ask(() => readForReplay(this.#manager, sequence));
    const result = await this.publish(original.subject, original.data, { messageId: replayId(deadLetter), headers });
    await this.#ask(() => this.#manager.streams.deleteMessage(deadLetterStream, sequence));
    return result;
  }

  /** Takes a message out of its stream and overwrites its bytes. What consumers have of it already they keep. */
  async erase(stream: string, sequence: number): Promise<void> {
    await this.#ask(() => this.#manager.streams.deleteMessage(stream, sequence, true));
  }

  /** The message at a sequence of a stream, without the headers that NATS itself sets; null when it is gone. */
  async readStored(stream: string, sequence: number): Promise<StoredMessage | null> {
    const stored = await this.#ask(() => orNothing(this.#manager.streams.getMessage(stream, { seq: sequence })));
    if (stored === null) return null;
    const headers = Object.entries(plainHeaders(stored.header)).filter(([name]) => !name.startsWith('Nats-'));
    return { subject: stored.subject, data: stored.data, headers: Object.fromEntries(headers) };
  }

  /** Stops the consumers that still run, lets what was sent get out, and ends the connection. */
  async close(): Promise<void> {
    await Promise.all([...this.#runners].map((runner) => runner.stop(closeDeadlineMs)));
    this.#runners.clear();
    if (this.#connection.isClosed()) return;
    // Draining waits for an answer that a lost connection never gives.
    if (this.#connected) {
      const deadline = delay(drainDeadlineMs);
      await Promise.race([this.#connection.drain().catch(() => undefined), deadline.passed]);
      deadline.cancel();
    }
    if (!this.#connection.isClosed()) await this.#connection.close();
  }

  async #unsettled(stream: string, consumer: string): Promise<Unsettled> {
    const { num_ack_pending, ack_floor, delivered } = await this.#ask(() =>
      this.#manager.consumers.info(stream, consumer),
    );
    return {
      count: num_ack_pending,
      above: ack_floor.stream_seq,
      upTo: delivered.stream_seq,
      delivery: delivered.consumer_seq,
    };
  }

  async #storeDeadLetter(
    { stream, consumer }: ConsumerOptions,
    delivery: Delivery,
    attempts: number,
    errorCode: string,
  ): Promise<void> {
    const { subject, streamSequence } = delivery;
    const workspaceId = workspaceOfSubject(subject);
    const deadLetter: DeadLetter = {
      id: `dead:${stream}:${consumer}:${streamSequence}`,
      stream,
      consumer,
      subject,
      streamSequence,
      messageId: delivery.messageId?.slice(0, maxStoredMessageIdLength) ?? null,
      workspaceId,
      attempts,
      errorCode,
      occurredAt: new Date(this.#now()).toISOString(),
    };
    const data = new TextEncoder().encode(JSON.stringify(deadLetter));
    await this.publish(deadLetterSubject(stream, consumer, workspaceId), data, { messageId: deadLetter.id });
  }

  /** A question to the server, failing at once while it is away, with its errors turned into ours. */
  async #ask<T>(question: () => Promise<T>): Promise<T> {
    if (!this.isConnected()) throw natsUnavailable();
    try {
      return await question();
    } catch (error) {
      throw fromNatsError(error);
    }
  }

  async #answer(doorbell: Doorbell, handler: (payload: string) => void | Promise<void>, payload: string) {
    try {
      await handler(payload);
    } catch (error) {
      this.#logger.error({ err: error, doorbell }, 'Doorbell handler failed');
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === 'disconnect') this.#lost();
      else if (status.type === 'reconnect') this.#regained();
      else if (status.type === 'error') this.#logger.warn({ err: status.error }, 'NATS error');
    }
    this.#lost();
  }

  #lost(): void {
    if (this.#connected && !this.#connection.isClosed()) this.#logger.warn('NATS connection lost');
    this.#connected = false;
    for (const refuse of this.#inFlight) refuse(natsUnavailable());
    this.#inFlight.clear();
  }

  #regained(): void {
    this.#connected = true;
    this.#logger.info('NATS connection is back');
    for (const runner of this.#runners) runner.reconnected();
  }
}

/** Servers, credentials and TLS from the URL and the options. */
function connectionOptions(options: MessageBusOptions): NodeConnectionOptions {
  const urls = options.url.split(',').map((url) => URL.parse(url.trim()));
  const servers: string[] = [];
  for (const url of urls) {
    if (url === null || !['nats:', 'tls:'].includes(url.protocol) || url.hostname === '') {
      throw new InvalidInput('nats_url_invalid', 'NATS_URL must look like nats://host:4222 (or tls://…).');
    }
    servers.push(url.host);
  }
  const [first] = urls;
  const user = options.user ?? decodeURIComponent(first?.username ?? '');
  const pass = options.pass ?? decodeURIComponent(first?.password ?? '');
  // `nats://token@host`: a user without a password is a token, as in NATS's own tools.
  const token = options.token ?? (pass === '' ? user : '');
  return {
    servers,
    ...(first?.protocol === 'tls:' && { tls: {} }),
    ...(token !== '' ? { token } : user !== '' && { user, pass }),
  };
}

async function connectWithin(deadlineMs: number, options: NodeConnectionOptions): Promise<NatsConnection> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    try {
      const timeout = Math.max(1, Math.ceil(deadline - performance.now()));
      return await connect({ ...options, timeout });
    } catch (error) {
      if (error instanceof coreErrors.AuthorizationError) {
        throw new InvalidInput('nats_unauthorized', 'The NATS server refuses our credentials.', { cause: error });
      }
      if (performance.now() + reconnectPauseMs >= deadline) {
        const servers = [options.servers].flat().join(', ');
        throw new Transient('nats_unreachable', `No NATS server answers at ${servers}.`, { cause: error });
      }
      await delay(reconnectPauseMs).passed;
    }
  }
}
