import { z } from 'zod';
import { callbackSchema } from './account-schemas.ts';

const id = z.string().min(1).max(300);
const waId = z
  .string()
  .regex(/^\d{5,20}$/, 'digits only, with the country code')
  .describe('The phone as Meta writes it, digits only.');
/** BSUID, e.g. `US.13491208655302741918` (Meta, "Business-scoped user ids"). */
const userId = z
  .string()
  .regex(/^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$/, 'a BSUID: two letters, a dot, up to 128 letters and digits')
  .describe('Business-scoped user id.');
const durationMs = z.number().min(0).max(604_800_000);
const share = z.number().min(0).max(1);

/**
 * Body of `PUT /sandbox/numbers/:phoneNumberId`: a business number, its app's secrets, and where its webhooks go as long as
 * neither an override nor its app's subscription says. What is left out has Meta's value for a healthy number.
 */
export const numberSettingsSchema = z.strictObject({
  displayPhoneNumber: z
    .string()
    .regex(/^\D*(\d\D*){5,20}$/, 'a phone number with its country code')
    .max(40),
  verifiedName: z.string().min(1).max(200),
  wabaId: id,
  appId: id,
  accessToken: z.string().min(1).max(2000),
  appSecret: z.string().min(1).max(200),
  callbackUrl: z.url({ protocol: /^https?$/ }).optional(),
  verifyToken: z.string().min(1).max(2000).optional(),
  override: callbackSchema
    .nullable()
    .optional()
    .describe('Callback of this number alone, set without a verification GET; null takes it away, left out keeps it.'),
  platformType: z
    .enum(['CLOUD_API', 'ON_PREMISE', 'NOT_APPLICABLE'])
    .default('CLOUD_API')
    .describe('NOT_APPLICABLE: not registered, so sends are refused with 133010.'),
  status: z
    .enum([
      'CONNECTED',
      'PENDING',
      'DISCONNECTED',
      'FLAGGED',
      'RESTRICTED',
      'RATE_LIMITED',
      'BANNED',
      'DELETED',
      'UNKNOWN',
    ])
    .default('CONNECTED'),
  codeVerificationStatus: z.enum(['VERIFIED', 'NOT_VERIFIED', 'EXPIRED']).default('VERIFIED'),
  qualityRating: z.enum(['GREEN', 'YELLOW', 'RED', 'UNKNOWN']).default('GREEN'),
  throughput: z.enum(['STANDARD', 'HIGH', 'NOT_APPLICABLE']).default('STANDARD'),
  isOnBizApp: z.boolean().default(false).describe('Also on a phone (coexistence): at most 20 messages a second.'),
  isTestNumber: z
    .boolean()
    .default(false)
    .describe('Refuses who is not on its list (131030), whatever the limits say.'),
});

/** A business number with its id. */
export const sandboxNumberSchema = numberSettingsSchema.extend({ phoneNumberId: id });
/** A business number as it is given; what has a default may be left out. */
export type SandboxNumber = z.input<typeof sandboxNumberSchema>;
/** A business number as the sandbox keeps it; its override is kept apart. */
export type BusinessNumber = Omit<z.output<typeof sandboxNumberSchema>, 'override'>;

/** Body of `PUT /sandbox/contacts/:id`. */
export const contactSettingsSchema = z
  .strictObject({
    name: z.string().min(1).max(200),
    waId: waId.optional(),
    userId: userId.optional(),
    username: z.string().min(1).max(100).optional(),
  })
  .refine((contact) => contact.waId !== undefined || contact.userId !== undefined, 'Give waId, userId or both.');
export type ContactSettings = z.infer<typeof contactSettingsSchema>;

/**
 * One message of a contact. Who: `contactId`, else `waId` or `userId` (an unknown one is made a contact). What: `type`
 * as Meta names it with `content` put under that name as it is, or the short forms: `text` (text, caption, emoji of a
 * reaction, new text of an edit, title of a button), `targetMessageId` (reaction, edit, revoke), `newWaId` and
 * `newUserId` (system). `extra` is laid over the message last; `null` in it removes a field.
 */
export const inboundMessageSchema = z
  .strictObject({
    phoneNumberId: id,
    contactId: id.optional(),
    waId: waId.optional(),
    userId: userId.optional(),
    type: z.string().min(1).max(40).default('text'),
    text: z.string().max(65_536).optional(),
    content: z.unknown().optional(),
    id: id.optional(),
    timestamp: z
      .union([z.string().regex(/^\d{1,12}$/), z.number().int().min(0)])
      .optional()
      .describe("Meta's time in unix seconds; now when left out. Sent on as the string or number that it is."),
    contextMessageId: id.optional(),
    targetMessageId: id.optional(),
    newWaId: waId.optional(),
    newUserId: userId.optional(),
    extra: z.record(z.string(), z.unknown()).optional(),
  })
  .refine((message) => message.contactId ?? message.waId ?? message.userId, 'Give contactId, waId or userId.');
export type InboundMessage = z.infer<typeof inboundMessageSchema>;

/** Body of `POST /sandbox/messages`: one message, or up to 10,000 at once. */
export const messagesRequestSchema = z.union([
  z.strictObject({ messages: z.array(inboundMessageSchema).min(1).max(10_000) }),
  inboundMessageSchema,
]);

/**
 * Body of `POST /sandbox/webhooks`: exactly this is signed and delivered, an object in Meta's escaping or bytes in
 * base64. What an object holds in messages is known to the sandbox afterwards, as if it had made them.
 */
export const webhookRequestSchema = z.union([
  z.strictObject({ phoneNumberId: id, body: z.record(z.string(), z.unknown()) }),
  z.strictObject({ phoneNumberId: id, rawBase64: z.base64() }),
]);

/** Body of `POST /sandbox/echoes`: what somebody of the business wrote to a contact in the app on their phone. */
export const echoSchema = z
  .strictObject({
    phoneNumberId: id,
    contactId: id.optional(),
    waId: waId.optional(),
    userId: userId.optional(),
    text: z.string().min(1).max(65_536),
    id: id.optional(),
    timestamp: z.number().int().min(0).optional().describe("Meta's time in unix seconds; now when left out."),
  })
  .refine((echo) => echo.contactId ?? echo.waId ?? echo.userId, 'Give contactId, waId or userId.');
export type Echo = z.infer<typeof echoSchema>;

/** Body of `PUT /sandbox/media/:mediaId`: a file that contacts can send, with `content: {id, mime_type}`. */
export const mediaSettingsSchema = z.strictObject({
  phoneNumberId: id,
  mimeType: z
    .string()
    .regex(/^[\w.+-]+\/[\w.+-]+(; ?[\w.+=-]+)*$/)
    .max(200),
  contentBase64: z.base64(),
});

/** Kinds of accepted calls of `/messages`. */
const messageCallKinds = ['text', 'read', 'typing'] as const;
/** Kinds of Graph calls; `management` is every one but those of `/messages`. */
export const callKindSchema = z.enum([...messageCallKinds, 'management']);
export type CallKind = z.infer<typeof callKindSchema>;

/** Body of `PUT /sandbox/faults`. It replaces what was set; a fault that is left out is off. */
export const faultsSchema = z.strictObject({
  kinds: z.array(callKindSchema).min(1).optional().describe('Only these calls; all when left out.'),
  pathEndsWith: z.string().min(1).max(300).optional().describe('Only calls of such a path, as `/subscribed_apps`.'),
  share: share.default(1).describe('Share of the calls that are hit.'),
  forNextCalls: z.number().int().positive().optional().describe('Only the next n calls that match, hit or not.'),
  latencyMs: durationMs.default(0).describe('Half before the call is taken, half before its answer.'),
  latencyJitterMs: durationMs.default(0).describe('Up to this much more.'),
  graphErrorStatus: z.number().int().min(400).max(599).optional(),
  graphErrorBody: z.boolean().default(true).describe('false: a plain page, as a proxy in front of Graph gives.'),
  errorCode: z.number().int().nonnegative().optional(),
  errorSubcode: z.number().int().positive().optional(),
  expiredToken: z.boolean().default(false),
  cutBeforeAccept: share.default(0).describe('Chance that the connection is cut and nothing was taken.'),
  cutAfterAccept: share.default(0).describe('Chance that the connection is cut after the call was taken.'),
  statusBeforeAnswer: z.boolean().default(false).describe('`sent` is delivered and answered before the call is.'),
});
export type Faults = z.infer<typeof faultsSchema>;

/** Body of `PUT /sandbox/delivery`. Fields that are left out keep their value. */
export const deliverySettingsSchema = z.strictObject({
  statuses: z.boolean().describe('Send sent, delivered and read.'),
  autoRead: z.boolean().describe('Send read even though nobody looks at the phone.'),
  statusDelaysMs: z
    .strictObject({ sent: durationMs, delivered: durationMs, read: durationMs })
    .describe('From the accepted call.'),
  repeatShare: share.describe('Share of the bodies that are delivered once more after they were answered 200.'),
  repeatDelayMs: durationMs,
  shuffleWithinMs: durationMs.describe('Each body waits a random time up to this.'),
  batchUpTo: z.number().int().min(1).max(1000).describe('Updates in one body; more than one waits for others.'),
  batchWithinMs: durationMs.describe('How long an update waits for others.'),
  retryDelaysMs: z.array(durationMs).min(1).describe('Waits before the first, second, … retry; the last one goes on.'),
  giveUpAfterMs: durationMs,
  timeoutMs: z.number().int().min(10).max(120_000),
  concurrency: z.number().int().min(1).max(1000),
  paused: z.boolean(),
  seed: z.number().int().min(0).max(4_294_967_295),
});
export type DeliverySettings = z.infer<typeof deliverySettingsSchema>;

/** Body of `PUT /sandbox/limits`. Fields that are left out keep their value. */
export const limitsSchema = z.strictObject({
  pairRate: z.boolean(),
  pairIntervalMs: durationMs,
  pairBurst: z.number().int().positive(),
  messagesPerSecond: z.number().positive(),
  unknownRecipient: z
    .enum(['refused', 'undeliverable'])
    .describe('refused: 131030 at once, as a test number does. undeliverable: accepted, then failed with 131026.'),
  freeDeliveriesPerMonth: z.number().int().min(0).describe('Messages of a number and month that cost nothing.'),
});
export type Limits = z.infer<typeof limitsSchema>;

/** Body of `PUT /sandbox/chips`: questions that the phone page offers for a number. */
export const chipsSchema = z.strictObject({
  phoneNumberId: id,
  chips: z.array(z.strictObject({ label: z.string().min(1).max(60), text: z.string().min(1).max(4096) })).max(20),
});
export type Chip = z.infer<typeof chipsSchema>['chips'][number];

export const contactsQuerySchema = z.object({ phoneNumberId: id.optional() });
export const threadQuerySchema = z.object({ phoneNumberId: id, contactId: id });
export const entriesQuerySchema = z.object({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(100_000).default(10_000),
  kind: callKindSchema.optional(),
});

/** A line of `sandbox-journal.jsonl`: one call of `/messages` that was accepted. `at` is ISO 8601; `to` is verbatim. */
export interface MessageCallFields {
  readonly at: string;
  readonly kind: (typeof messageCallKinds)[number];
  readonly phoneNumberId: string;
  /** Contact that the call concerns; unset for a recipient nobody knows. */
  readonly contactId?: string;
  readonly to?: string;
  readonly recipient?: string;
  /** Text: the id given to the message. Read and typing: the id of the message that was read. */
  readonly wamid: string;
  readonly contextMessageId?: string;
  readonly body?: string;
  readonly callbackData?: string;
  readonly typing?: boolean;
  /** Accepted, but fails afterwards by status with this code (window closed, undeliverable). */
  readonly failsWith?: number;
}
/** A line of the same file: any other Graph call, accepted or refused. It never holds a token or a value. */
export interface ManagementCallFields {
  readonly at: string;
  readonly kind: 'management';
  readonly method: string;
  /** Without query, as `/v26.0/102290000000001/phone_numbers`. */
  readonly path: string;
  /** Names of its parameters in query and body, sorted. */
  readonly parameters: readonly string[];
  readonly phoneNumberId?: string;
  readonly wabaId?: string;
  readonly appId?: string;
  /** Graph's error code. */
  readonly refusedWith?: number;
}
export type JournalFields = MessageCallFields | ManagementCallFields;
export type JournalEntry = MessageCallFields & { readonly n: number };
export type ManagementEntry = ManagementCallFields & { readonly n: number };

/** A line of `sandbox-inbound.jsonl`: one message of a contact, as it stands in the webhook. */
export interface InboundFields {
  readonly at: string;
  readonly phoneNumberId: string;
  readonly contactId: string;
  readonly contact: ContactSettings;
  readonly id: string;
  readonly message: Readonly<Record<string, unknown>>;
}
export type InboundEntry = InboundFields & { readonly n: number };

/** Answer of `GET /sandbox/deliveries`. */
export interface DeliveryCounts {
  /** Bodies answered 200, repeats included. */
  readonly delivered: number;
  /** Attempts that got anything else, or no answer. */
  readonly refused: number;
  /** Bodies waiting, under way or to be sent later, statuses and repeats included. */
  readonly pending: number;
  readonly attempts: number;
  readonly retries: number;
  readonly repeats: number;
  readonly givenUp: number;
  /** Bodies that nobody is subscribed to: Meta sends none then, and keeps none. */
  readonly unsubscribed: number;
  readonly lastRefusal: { readonly at: string; readonly outcome: string } | null;
}
