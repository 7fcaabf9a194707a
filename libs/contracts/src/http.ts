import * as z from 'zod';
import { planSchema } from './plans.ts';

/**
 * Shapes of the management API: camelCase, times in ISO 8601 UTC, lists as { items, nextCursor }. Both sides use these
 * schemas; unknown fields of a request are refused, so that a typing error does not pass in silence.
 */
const id = z.uuid();
const time = z.iso.datetime();
const name = z.string().trim().min(1).max(200);
/** Meta's ids are digits; kept as text because they do not fit a number. */
const metaId = z.string().regex(/^\d{1,32}$/, 'Only digits: the number that Meta shows.');

/** A page of a list. `nextCursor` goes into `?cursor=` of the next call; null on the last page. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

export const pageQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(25).describe('How many, at most 100'),
  cursor: z.string().max(200).optional().describe('The nextCursor of the page before'),
});

/** RFC 9457. `code` is stable; `errors` names the fields of a request that was refused with 422. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  correlationId: z.string().optional().describe('With a fault of ours: the id under which it stands in the log'),
});
export type Problem = z.infer<typeof problemSchema>;

export const createWorkspaceSchema = z.strictObject({
  name: name.describe('What the workspace is called'),
  plan: planSchema.optional().describe('Default: the installation’s DEFAULT_PLAN'),
  timeZone: z
    .string()
    .refine(isTimeZone, 'An IANA time zone such as Europe/Madrid.')
    .optional()
    .describe('IANA time zone in which months begin; default UTC'),
});
export const workspaceSchema = z.object({
  id,
  name: z.string(),
  plan: planSchema,
  timeZone: z.string(),
  createdAt: time,
});
export const createdWorkspaceSchema = z.object({
  workspace: workspaceSchema,
  apiKey: z.string().describe('A key of the new workspace with all scopes. Shown once.'),
});

export const createChatbotSchema = z.strictObject({
  name,
  instructions: z.string().max(8_000).optional(),
  language: z.enum(['en', 'es']).optional().describe('Used when the contact’s own language is not known; default en'),
  quietMs: z.int().min(0).max(30_000).optional().describe('Wait this long for more before answering; default 1500'),
  quietMaxMs: z.int().min(0).max(60_000).optional().describe('But never longer than this; default 6000'),
  showSources: z.boolean().optional(),
});
export const chatbotSchema = z.object({
  id,
  name: z.string(),
  instructions: z.string(),
  language: z.string(),
  aiEnabled: z.boolean(),
  quietMs: z.int(),
  quietMaxMs: z.int(),
  showSources: z.boolean(),
  createdAt: time,
});

export const sourceTypeSchema = z.enum(['text', 'markdown']);
export type SourceType = z.infer<typeof sourceTypeSchema>;
export const sourceStateSchema = z.enum(['pending', 'ready', 'failed', 'deleting']);
export type SourceState = z.infer<typeof sourceStateSchema>;
/** Room for a long handbook; files come in a later version. */
export const SOURCE_TEXT_MAX = 1_000_000;
export const createSourceSchema = z.strictObject({
  type: sourceTypeSchema,
  title: name,
  text: z.string().min(1).max(SOURCE_TEXT_MAX),
  url: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .optional()
    .describe('Where the text is public, to be shown as its source'),
});
export const sourceSchema = z.object({
  id,
  chatbotId: id,
  type: sourceTypeSchema,
  title: z.string(),
  url: z.string().nullable(),
  state: sourceStateSchema,
  errorCode: z.string().nullable(),
  passageCount: z.int(),
  createdAt: time,
  updatedAt: time,
});

export const searchQuerySchema = z.strictObject({
  q: z.string().trim().min(1).max(2_000),
  limit: z.coerce.number().int().min(1).max(50).default(10),
});
/** By words and by meaning, or by words only. */
export const searchModeSchema = z.enum(['hybrid', 'lexical']);
/** Where a passage stood in the two lists of a search; null where it was in none, or the list was not asked for. */
const listPlaces = {
  lexicalRank: z.int().nullable().describe('Place among the passages found by words, from 1'),
  lexicalScore: z.number().nullable().describe('BM25'),
  vectorRank: z.int().nullable().describe('Place among the passages found by meaning, from 1'),
  vectorScore: z.number().nullable().describe('Cosine'),
};
export const searchResultSchema = z.object({
  mode: searchModeSchema,
  lexicalReason: z
    .string()
    .nullable()
    .describe('Why by words only: no_embedding_model, embedder_unavailable, index_being_rebuilt; null with hybrid'),
  items: z.array(
    z.object({
      passageId: id,
      sourceId: id,
      title: z.string(),
      headingPath: z.array(z.string()),
      text: z.string(),
      rank: z.int(),
      score: z.number().describe('Orders the items of one answer and says nothing beyond it'),
      ...listPlaces,
    }),
  ),
});

/** A question of some length, as people write it on a phone. */
const askedText = z.string().trim().min(1).max(4_000);
export const askSchema = z.strictObject({
  question: askedText,
  history: z
    .array(z.strictObject({ author: z.enum(['contact', 'ai', 'human']), text: askedText }))
    .max(40)
    .default([])
    .describe('What was said before, oldest first'),
});
export const askResultSchema = z.object({
  kind: z.enum(['answer', 'abstain', 'fallback']),
  text: z.string().describe('Markdown'),
  citations: z
    .array(
      z.object({
        passageId: id,
        sourceId: id,
        title: z.string(),
        url: z.string().nullable().describe('Only if the chatbot shows its sources and this one is public'),
      }),
    )
    .describe('What the answer rests on'),
  receiptId: id.nullable().describe('Null with a fallback, which has no receipt'),
});

export const receiptSchema = z.object({
  id,
  question: z.string(),
  rewrittenQuestion: z.string().nullable().describe('What was searched for instead, when the question was a follow-up'),
  searchMode: searchModeSchema.nullable().describe('Null for receipts from before there were vectors'),
  passages: z
    .array(
      z.object({
        passageId: id,
        sha256: z.string().describe('Of its text, as it was then'),
        title: z.string().nullable().describe('Of its source; null when that is gone'),
        ...listPlaces,
        cited: z.boolean(),
      }),
    )
    .describe('What the answer was made from, best first'),
  promptVersion: z.string().nullable().describe('Null without a prompt'),
  model: z.string(),
  usage: z.object({ inputTokens: z.int(), outputTokens: z.int() }),
  costMicros: z.int().nullable().describe('In millionths of the currency of the price settings; null without prices'),
  timings: z.record(z.string(), z.number()).describe('Milliseconds by step'),
  createdAt: time,
});

export const channelTypeSchema = z.enum(['whatsapp', 'web']);
export type ChannelType = z.infer<typeof channelTypeSchema>;
export const channelStateSchema = z.enum(['draft', 'live', 'broken', 'suspended_by_plan', 'disconnected']);
export type ChannelState = z.infer<typeof channelStateSchema>;
export const putWhatsAppChannelSchema = z.strictObject({
  appId: metaId.describe('App ID: top of the app dashboard at Meta'),
  phoneNumberId: metaId.describe('Phone number ID: WhatsApp → API Setup'),
  wabaId: metaId.describe('WhatsApp Business Account ID: WhatsApp → API Setup'),
  accessToken: z.string().min(1).max(2_000).describe('A permanent token of a system user'),
  appSecret: z
    .string()
    .regex(/^[0-9a-f]{16,128}$/i, 'Hex digits, as App settings → Basic shows them.')
    .optional()
    .describe('App Secret. Without it nobody can tell Meta’s deliveries from forged ones'),
  displayPhoneNumber: z.string().max(40).optional(),
});
export const channelSchema = z.object({
  id,
  chatbotId: id,
  type: channelTypeSchema,
  state: channelStateSchema,
  answers: z.boolean(),
  phoneNumberId: z.string().nullable(),
  wabaId: z.string().nullable(),
  displayPhoneNumber: z.string().nullable(),
  unsigned: z.boolean().describe('True: no App Secret, so deliveries are not verified'),
  sendHoldCode: z.string().nullable().describe('Set while Meta refuses the credentials'),
  createdAt: time,
});
export const connectedChannelSchema = channelSchema.extend({
  callbackUrl: z.string().describe('Paste it into the webhook configuration at Meta'),
  verifyToken: z.string().describe('Paste it beside the callback URL'),
});

export const conversationSchema = z.object({
  id,
  channelId: id,
  contactId: id,
  contactName: z.string().nullable(),
  owner: z.enum(['ai', 'human']),
  mutedUntil: time.nullable(),
  optedOutAt: time.nullable(),
  windowUntil: time.nullable(),
  lastInboundAt: time.nullable(),
  waiting: z.int().describe('Messages that still wait for an outcome'),
  createdAt: time,
});

export const replyKindSchema = z.enum([
  'answer',
  'abstain',
  'fallback',
  'over_quota',
  'limited',
  'handoff_confirmation',
  'media_notice',
  'plan_notice',
  'human',
  'template',
]);
/** What a reply is. Only answer and abstain count against the quota. */
export type ReplyKind = z.infer<typeof replyKindSchema>;

export const messageSchema = z.object({
  id,
  conversationId: id,
  direction: z.enum(['inbound', 'outbound']),
  author: z.enum(['contact', 'ai', 'human', 'system', 'phone_app', 'meta_agent']),
  kind: replyKindSchema.nullable().describe('Of outbound messages'),
  type: z.string(),
  text: z.string().nullable(),
  providerMessageId: z.string().nullable(),
  status: z
    .string()
    .nullable()
    .describe('pending, sending, unknown, accepted, sent, delivered, read, played, failed, superseded'),
  failure: z.string().nullable(),
  sentAt: time,
  receivedAt: time,
  editedAt: time.nullable(),
  revokedAt: time.nullable(),
  turnId: id.nullable(),
  replyToId: z.string().nullable(),
});

export const webhookLogEntrySchema = z.object({
  id,
  webhookKeyId: id,
  verdict: z.string().describe('What became of it: of ingest, or why the door refused it'),
  bodySha256: z.string().nullable().describe('Null for refused deliveries, which are counted and not kept'),
  found: z.int().describe('Messages, statuses and other items in the body'),
  stored: z.int(),
  repeated: z.int(),
  count: z.int().describe('Deliveries in this entry: refused ones are counted by key, verdict and minute'),
  receivedAt: time,
});

function isTimeZone(value: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: value });
    return true;
  } catch {
    return false;
  }
}
