import * as z from 'zod';
import { channelStateSchema } from './http.ts';

const time = z.iso.datetime();
/** What a person reads: what is wrong, and what to do. */
const told = {
  message: z.string().describe('What is so'),
  action: z.string().nullable().describe('What to do about it; null: nothing'),
};

/**
 * How much it matters. `broken`: the channel cannot send or cannot receive until a person acts · `degraded`: it works, and
 * that will not last or is not all of it · `notice`: good to know.
 */
export const reasonSeveritySchema = z.enum(['broken', 'degraded', 'notice']);
export type ReasonSeverity = z.infer<typeof reasonSeveritySchema>;

export const channelReasonSchema = z.object({ code: z.string(), severity: reasonSeveritySchema, ...told });

/** `not_checked`: it could not be asked, so nothing is called wrong. */
export const checkStatusSchema = z.enum(['ok', 'warning', 'failed', 'not_checked']);
export type CheckStatus = z.infer<typeof checkStatusSchema>;

export const channelHealthSchema = z.object({
  channelId: z.uuid(),
  state: channelStateSchema,
  answers: z.boolean(),
  unsigned: z.boolean().describe('True: no App Secret, so deliveries are not verified'),
  reasons: z.array(channelReasonSchema).describe('Why it is not live, or will not stay so; worst first'),
  checkedAt: time.nullable().describe('When all checks last ran; null: never'),
  ageSeconds: z.int().nullable().describe('How long ago that was'),
  checks: z
    .array(z.object({ check: z.string(), status: checkStatusSchema, code: z.string().nullable(), ...told }))
    .describe('Each check of the last run'),
  delivery: z
    .object({
      hop: z
        .enum(['dns', 'connect', 'tls', 'answer', 'signature', 'storage'])
        .nullable()
        .describe('Where it ended; null when it arrived'),
      code: z.string().nullable().describe('Why; null when it arrived and was read'),
      httpStatus: z.int().nullable(),
      ...told,
    })
    .nullable()
    .describe('A signed delivery of our own, sent to the public address of the callback'),
  webhookVerifiedAt: time.nullable().describe('When the callback last answered Meta’s verification'),
  lastSignedDeliveryAt: time.nullable().describe('The last delivery of this Meta app with a right signature'),
  lastInboundAt: time.nullable().describe('The last message of a contact'),
  lastInboundAgeSeconds: z.int().nullable(),
  number: z
    .object({
      qualityRating: z.string().nullable().describe('GREEN, YELLOW, RED or UNKNOWN, as Meta says'),
      throughput: z.string().nullable().describe('STANDARD, HIGH or NOT_APPLICABLE, as Meta says'),
      status: z.string().nullable(),
      displayPhoneNumber: z.string().nullable(),
    })
    .nullable()
    .describe('The number as Meta showed it in the last run; null when it could not be read'),
  token: z
    .object({
      issuedAt: time.nullable(),
      ageDays: z.int().nullable(),
      expiresAt: time.nullable().describe('Null: never, or not known'),
      daysLeft: z.int().nullable(),
    })
    .nullable()
    .describe('Null when Meta did not tell'),
  sendErrors: z
    .array(z.object({ code: z.string(), count: z.int(), lastAt: time, ...told }))
    .describe('Failed calls and deliveries of the last 7 days, by code, newest first'),
});
export type ChannelHealth = z.infer<typeof channelHealthSchema>;
