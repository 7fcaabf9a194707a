import * as z from 'zod';
import { businessHoursSchema } from './business-hours.ts';

/** What a human says to a contact. */
export const sendMessageSchema = z.strictObject({
  text: z
    .string()
    .trim()
    .min(1)
    .max(16_000)
    .describe('Markdown. It is sent in the format of the channel, in several messages if it is longer than one may be'),
});

/** Who is to speak in a conversation. */
export const changeHolderSchema = z.discriminatedUnion('action', [
  z.strictObject({
    action: z.literal('take_over'),
    untilHandBack: z
      .boolean()
      .default(false)
      .describe('Default false: the AI takes part again 24 hours after the last word of a human'),
  }),
  z.strictObject({
    action: z.literal('hand_back'),
    note: z
      .string()
      .trim()
      .min(1)
      .max(1_000)
      .optional()
      .describe('What the AI is to know of what was agreed meanwhile. The contact does not see it'),
  }),
]);

const phrases = z.array(z.string().trim().min(2).max(100)).min(1).max(100);
const words = z.array(z.string().trim().min(1).max(100)).min(1).max(50);

/** Settings of a chatbot about handing over to humans; in requests what is left out stays, and null is the default. */
export const handoffSettingsSchema = z.strictObject({
  handoff: z
    .strictObject({
      phrases: phrases
        .nullable()
        .optional()
        .describe(
          'What asks for a human, in any languages, as whole words; null: the usual English and Spanish phrases',
        ),
      byModel: z.boolean().optional().describe('Whether the model may hand over by its own judgement; default false'),
    })
    .optional(),
  optOut: z
    .strictObject({
      stopWords: words.nullable().optional().describe('Messages that end the AI’s part; null: stop, baja'),
      startWords: words.nullable().optional().describe('Messages that begin it again; null: start, alta'),
    })
    .optional(),
  businessHours: businessHoursSchema.nullable().optional().describe('When humans are there; told to who asks for one'),
  notifyEmails: z.array(z.email().max(254)).max(10).optional().describe('Who is told by mail; empty: the owner'),
  publicContact: z.string().trim().min(1).max(200).nullable().optional().describe('An address or number for contacts'),
});

/** The same settings as they are read. */
export const handoffSettingsReadSchema = z.object({
  handoff: z.object({
    phrases: z.array(z.string()).nullable().describe('Null: the usual English and Spanish phrases'),
    byModel: z.boolean(),
  }),
  optOut: z.object({
    stopWords: z.array(z.string()).nullable().describe('Null: stop, baja'),
    startWords: z.array(z.string()).nullable().describe('Null: start, alta'),
  }),
  businessHours: businessHoursSchema.nullable(),
  notifyEmails: z.array(z.string()),
  publicContact: z.string().nullable(),
});
