import * as z from 'zod';

const count = z.int().nonnegative();

/** What disconnecting a channel came to. */
export const disconnectedChannelSchema = z.object({
  channelId: z.uuid(),
  state: z.literal('disconnected'),
  supersededSends: count.describe(
    'Messages that had not left yet, of the AI and of people; they do not leave any more',
  ),
  callsUnderWay: count.describe('Calls to Meta whose end was not seen within 15 s. No further call is made'),
  callbackOverride: z
    .object({
      outcome: z
        .enum(['none', 'removed', 'not_removed'])
        .describe('none: the number delivers where its app says · not_removed: Meta still delivers to the old address'),
      code: z.string().nullable().describe('Why it was not removed'),
    })
    .describe('The number’s own callback at Meta, where one had been set when it was connected'),
  erased: z
    .array(z.enum(['accessToken', 'appSecret', 'verifyToken']))
    .describe('Secrets that were erased now. App Secret and verify token belong to all numbers of the Meta app'),
  action: z.string().nullable().describe('What is left to do at Meta; null: nothing'),
});

/** An address by which Meta knows a contact. */
const identitySchema = z.object({
  kind: z.string().describe('wa_id: a phone number · bsuid, parent_bsuid: Meta’s own ids of a person'),
  value: z.string(),
});

export const contactSchema = z.object({
  id: z.uuid(),
  name: z.string().nullable(),
  username: z.string().nullable(),
  identities: z.array(identitySchema),
  conversationIds: z.array(z.uuid()),
  createdAt: z.iso.datetime(),
});

/** Rows that went, by place. */
const deletedCountsSchema = z.object({
  contacts: count.describe('More than one where addresses of several contacts turned out to be one person’s'),
  identities: count,
  conversations: count,
  messages: count,
  turns: count,
  replies: count,
  receipts: count,
  sends: count,
  attempts: count,
  statuses: count,
  mails: count.describe(
    'Mails to the owner about the conversations; they hold ids, and one that was to be sent is not sent',
  ),
});

export const deletedContactSchema = z.object({
  contactId: z.uuid(),
  deletedAt: z.iso.datetime(),
  deleted: deletedCountsSchema,
  remains: z
    .object({
      rawBodiesUntil: z.iso
        .datetime()
        .describe('What Meta delivered is in the stream WEBHOOKS until then, and then gone'),
      eventsUntil: z.iso.datetime().describe('Events, which hold ids only'),
      deadLettersUntil: z.iso.datetime().describe('Dead letters, which hold ids only'),
      marksUntil: z.iso
        .datetime()
        .describe('Keyed hashes of ids and addresses, so that no repeat of Meta’s brings anything back'),
      backups: z.string(),
    })
    .describe('What is left elsewhere, and until when'),
});

/** Rows of a table as they are stored, names in camelCase. */
const rowsSchema = z.array(z.record(z.string(), z.unknown()));

export const exportedContactSchema = z.object({
  exportedAt: z.iso.datetime(),
  contacts: rowsSchema,
  identities: rowsSchema,
  conversations: rowsSchema,
  messages: rowsSchema,
  turns: rowsSchema,
  replies: rowsSchema,
  receipts: rowsSchema,
  sends: rowsSchema,
  attempts: rowsSchema,
  statuses: rowsSchema,
  notices: rowsSchema,
  tokens: rowsSchema,
  mails: rowsSchema,
  usageEntries: rowsSchema.describe(
    'What their turns cost of the quota. Kept after a deletion, without a link to them',
  ),
});
