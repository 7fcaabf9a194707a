/** Streams and consumers, as data. `reconcile()` of @answerline/messaging makes the server look like this. */

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;
const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** The largest message that NATS must take: Meta sends up to 3 MB, and headers come on top. NATS's own default is 1 MiB. */
export const minMaxPayloadBytes = 4 * MiB;

/** The header that carries the correlation id of a stored message. */
export const correlationHeader = 'Answerline-Correlation-Id';

/** `standalone`: one machine that also does everything else. `production`: a NATS of its own. */
export type MessagingProfile = 'standalone' | 'production';

/** One stream: file storage, s2 compression, retention by limits. */
export interface StreamDefinition {
  readonly name: string;
  readonly description: string;
  readonly subjects: readonly string[];
  /** What happens when it is full: `new` refuses what comes, `old` forgets the oldest. */
  readonly discard: 'new' | 'old';
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
  readonly duplicateWindowMs: number;
  /** Single messages can be read without a consumer, from any replica. */
  readonly allowDirect: boolean;
  /** What its message ids are made of (for the docs). */
  readonly messageId: string;
}

/** One durable pull consumer with explicit acks. It has no `backoff`: that would replace `ackWaitMs`. */
export interface ConsumerDefinition {
  readonly stream: string;
  readonly name: string;
  readonly description: string;
  readonly filterSubject: string;
  readonly ackWaitMs: number;
  /** How often a message is handed out at most; -1: until it is acked. */
  readonly maxDeliver: number;
  readonly maxAckPending: number;
}

/** Everything that must exist on the server. */
export interface MessagingTopology {
  readonly streams: readonly StreamDefinition[];
  readonly consumers: readonly ConsumerDefinition[];
}

/** The streams and consumers of Answerline. `profile` decides how much disk WEBHOOKS may take. */
export function messagingTopology(options: { readonly profile: MessagingProfile }): MessagingTopology {
  const streams: StreamDefinition[] = [
    {
      name: 'WEBHOOKS',
      description: 'Raw bodies as Meta sent them, kept until they are understood and for a week after.',
      subjects: ['webhooks.>'],
      // A body that we cannot keep is refused, so that Meta sends it again. Never forget one to make room for another.
      discard: 'new',
      // Meta repeats a refused delivery for up to 7 days: nothing older can come again.
      maxAgeMs: 7 * day,
      // Standalone shares the disk with Postgres and the index.
      maxBytes: (options.profile === 'standalone' ? 2 : 10) * GiB,
      maxMessageBytes: minMaxPayloadBytes,
      // Meta's first repeats come within minutes; the unique index on messages catches the later ones.
      duplicateWindowMs: 5 * minute,
      allowDirect: false,
      messageId: '`<keyId>:<sha256 of the body>`',
    },
    {
      name: 'EVENTS',
      description: 'What happened, as ids and codes.',
      subjects: ['events.>'],
      // Every event can be made again from Postgres; a full stream must not stop the product.
      discard: 'old',
      // A weekend during which nobody looks after a stopped consumer.
      maxAgeMs: 3 * day,
      maxBytes: 5 * GiB,
      // An event is well under 1 KiB; more would mean that somebody puts content into it.
      maxMessageBytes: 256 * KiB,
      // The relay publishes again what it could not delete from the outbox in time.
      duplicateWindowMs: 5 * minute,
      allowDirect: false,
      messageId: 'the event id',
    },
    {
      name: 'DEAD_LETTERS',
      description: 'What a consumer gave up, as ids and codes. The bodies stay in their streams.',
      subjects: ['dead.>'],
      // A dead letter that cannot be stored leaves its message where it is.
      discard: 'new',
      // As long as the body of a webhook, without which a dead letter cannot be put back.
      maxAgeMs: 7 * day,
      maxBytes: 1 * GiB,
      maxMessageBytes: 64 * KiB,
      duplicateWindowMs: 5 * minute,
      // Listing walks from one message to the next.
      allowDirect: true,
      messageId: '`dead:<stream>:<consumer>:<sequence>`',
    },
  ];

  /** A batch is one transaction, well under a second; 30 s lets a stalled process come back, and `working` is sent each 10 s. */
  const ackWaitMs = 30 * second;

  const consumers: ConsumerDefinition[] = [
    {
      stream: 'WEBHOOKS',
      name: 'ingest',
      description: 'Raw bodies become messages.',
      filterSubject: 'webhooks.>',
      ackWaitMs,
      // Never given up by count: a long outage of Postgres is not the message's fault.
      maxDeliver: -1,
      // Five batches of 100, so that several ingest processes have work, and a dead one holds up few messages.
      maxAckPending: 512,
    },
    {
      stream: 'EVENTS',
      name: 'presence',
      description: 'Blue ticks for every message, and the typing sign.',
      filterSubject: 'events.message_received.>',
      ackWaitMs,
      // Ticks and typing are worth little later: after three tries they are dropped.
      maxDeliver: 3,
      // Each is one short call to Meta; more in flight than this would only wait in the process.
      maxAckPending: 256,
    },
    {
      stream: 'EVENTS',
      name: 'fanout',
      description: 'Events become delivery rows of outgoing webhooks and integrations (a later part).',
      filterSubject: 'events.>',
      ackWaitMs,
      // A delivery is promised at least once.
      maxDeliver: -1,
      maxAckPending: 512,
    },
  ];
  return { streams, consumers };
}
