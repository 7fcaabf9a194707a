import * as z from 'zod';

/**
 * Facts on the stream EVENTS. They carry ids and codes, never text, names or numbers: whoever needs more reads it from
 * Postgres, where a deleted contact is gone at once. Consumers take unknown fields and unknown types in their stride.
 */
const id = z.uuid();
const code = z.string().regex(/^[a-z0-9_]{1,64}$/);

const conversation = {
  conversationId: id.describe('The conversation'),
  channelId: id.describe('The channel it is on'),
};
const withContact = { ...conversation, contactId: id.describe('The contact who writes') };

const conversationStarted = z
  .object({
    ...withContact,
    reason: z
      .enum(['first', 'after_silence'])
      .describe('`first`: the first message ever; `after_silence`: the first after 24 hours without one'),
  })
  .describe('A contact begins to write, for the first time or after 24 hours of silence.');

const messageReceived = z
  .object({
    ...withContact,
    messageId: id.describe('The message'),
    messageType: code.meta({ examples: ['text'] }).describe('`text`, `image`, `reaction`, … as stored'),
    number: z
      .int()
      .positive()
      .nullable()
      .describe('Its number in the conversation; null when it starts no turn (a reaction, or history)'),
  })
  .describe('A message of a contact is stored. Once per inbound message.');

const replyAccepted = z
  .object({
    ...conversation,
    replyId: id.describe('The reply'),
    kind: code.meta({ examples: ['answer'] }).describe('`answer`, `abstain`, `fallback`, `over_quota`, `human`, …'),
    turnId: id.nullable().describe('The turn it answers; null for what a human wrote'),
  })
  .describe('Every part of a reply was accepted by the provider.');

const replyFailed = z
  .object({
    ...replyAccepted.shape,
    failureCode: code.meta({ examples: ['window_closed'] }).describe('Why: a stable code'),
  })
  .describe('A reply could not be sent and will not be tried again.');

const handoffRequested = z
  .object({
    ...withContact,
    mutedUntil: z.iso.datetime().nullable().describe('The AI is silent until then; null: until a human hands back'),
  })
  .describe('A contact asked for a human, or the AI gave up; the AI is silent and the owner is told.');

const channelAlarm = z
  .object({
    channelId: id.describe('The channel'),
    code: code
      .meta({ examples: ['token_invalid'] })
      .describe('What the check of its credentials found; `token_expiring` before an expiry'),
    daysLeft: z
      .int()
      .nonnegative()
      .nullable()
      .describe('Days until the token expires; null when it is refused already'),
  })
  .describe('Meta refuses the credentials of a channel, or its token expires in 14, 7 or 1 days. Once per cause.');

const quotaReached = z
  .object({
    month: z
      .string()
      .regex(/^\d{4}-\d{2}$/)
      .meta({ examples: ['2026-11'] })
      .describe('The month, in the time zone of the workspace'),
    percent: z.int().positive().describe('80 or 100: the share of the month’s replies that is used'),
    limit: z.int().nonnegative().describe('Replies of the month'),
  })
  .describe('A workspace has used 80 or 100 % of its replies of the month. Once a month, share and limit.');

/** Every event: its type and the schema of its `data`. The one list that types, checks and docs are made from. */
export const eventDataSchemas = {
  conversation_started: conversationStarted,
  message_received: messageReceived,
  reply_accepted: replyAccepted,
  reply_failed: replyFailed,
  handoff_requested: handoffRequested,
  channel_alarm: channelAlarm,
  quota_reached: quotaReached,
};

/** The public name of an event; also the second token of its subject. */
export type EventType = keyof typeof eventDataSchemas;

/** The `data` of one event type. */
export type EventData<T extends EventType> = z.infer<(typeof eventDataSchemas)[T]>;

/** What every event carries around its `data`. */
export const eventEnvelopeSchema = z.object({
  id: z
    .string()
    .regex(/^[a-z0-9_]{1,64}:[0-9a-f-]{36}$/)
    .describe('`<type>:<row id>`; also the message id on the stream. It never changes, whatever is repeated'),
  type: code.describe('What happened'),
  occurredAt: z.iso.datetime().describe('When it was stored (ISO 8601, UTC)'),
  workspaceId: id.describe('The workspace'),
  correlationId: z.string().min(1).max(128).describe('Follows one webhook through every log line'),
  data: z.record(z.string(), z.unknown()).describe('Depends on `type`'),
});

/** An event with its typed `data`; `AnswerlineEvent` without a type argument is the union over all types. */
export type AnswerlineEvent<T extends EventType = EventType> = {
  [K in T]: Omit<z.infer<typeof eventEnvelopeSchema>, 'type' | 'data'> & { type: K; data: EventData<K> };
}[T];

/** The event id `<type>:<row id>`. `rowId` is the UUID of the row that the event is about. */
export function eventId(type: EventType, rowId: string): string {
  return `${type}:${rowId}`;
}

/** True when this version knows the event type. */
export function isEventType(type: string): type is EventType {
  return Object.hasOwn(eventDataSchemas, type);
}

// Made once: zod compiles each schema at its first use, which takes a hundred times as long as a check.
const knownEnvelopeSchema = eventEnvelopeSchema
  .refine((event) => isEventType(event.type), { path: ['type'], error: 'unknown event type' })
  .refine((event) => event.id.startsWith(`${event.type}:`), { path: ['id'], error: 'does not begin with the type' });

/**
 * Checks a parsed JSON value and returns the event: envelope, type and data fit together and `id` begins with the type.
 * Throws ZodError. An unknown type throws too: ask {@link isEventType} first where later versions may publish.
 */
export function parseEvent(value: unknown): AnswerlineEvent {
  const envelope = knownEnvelopeSchema.parse(value);
  const data = eventDataSchemas[envelope.type as EventType].parse(envelope.data);
  return { ...envelope, data } as AnswerlineEvent;
}

/**
 * What is kept of a message that a consumer gave up: where it lies and why it failed. The body stays in its stream and
 * is put back from there by its sequence. Ids and codes only.
 */
export const deadLetterSchema = z.object({
  id: z.string().max(256).describe('`dead:<stream>:<consumer>:<sequence>`; also the message id on DEAD_LETTERS'),
  stream: z.string().max(64).describe('The stream the message lies in'),
  consumer: z.string().max(64).describe('The consumer that gave it up'),
  subject: z.string().max(4096).describe('Its subject'),
  streamSequence: z.int().positive().describe('Its sequence in the stream'),
  messageId: z.string().max(1024).nullable().describe('Its Nats-Msg-Id'),
  workspaceId: id.nullable().describe('The workspace named in the subject; null when it names none'),
  attempts: z.int().nonnegative().describe('How often the handler was tried on it alone'),
  errorCode: code.describe('The code of the last error'),
  occurredAt: z.iso.datetime().describe('When it was given up (ISO 8601, UTC)'),
});

/** See {@link deadLetterSchema}. */
export type DeadLetter = z.infer<typeof deadLetterSchema>;
