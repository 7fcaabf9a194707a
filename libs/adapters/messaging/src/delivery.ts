import { type Msg } from '@nats-io/transport-node';

/** One message as a handler gets it. Acknowledging is the runner's business. */
export interface Delivery {
  readonly subject: string;
  readonly data: Uint8Array;
  /** Nats-Msg-Id; null when the publisher gave none. */
  readonly messageId: string | null;
  /** The first value of each header. */
  readonly headers: Readonly<Record<string, string>>;
  /** Its place in the stream; the same at every delivery. */
  readonly streamSequence: number;
  /** 1 at the first delivery; also raised when work was given back or a process died. */
  readonly deliveryCount: number;
  /** When the stream stored it. */
  readonly publishedAt: Date;
}

/** The headers of a message as plain data, first value of each. */
export function plainHeaders(headers: Msg['headers']): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, [value]] of headers ?? []) plain[name] = value ?? '';
  return plain;
}

/**
 * Reads a message that a pull consumer delivered, or null when it is none. Where it stands is in its reply subject:
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time, ns>.<pending>[.<random>]`
 * (https://github.com/nats-io/nats-architecture-and-design ADR-15).
 */
export function toDelivery(message: Msg): Delivery | null {
  const tokens = message.reply?.split('.') ?? [];
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return null;
  const [deliveries, sequence, , timeNs] = tokens.slice(tokens.length === 9 ? 4 : 6);
  const headers = plainHeaders(message.headers);
  return {
    subject: message.subject,
    data: message.data,
    messageId: headers['Nats-Msg-Id'] ?? null,
    headers,
    streamSequence: Number(sequence),
    deliveryCount: Number(deliveries),
    publishedAt: new Date(Number(timeNs) / 1e6),
  };
}
