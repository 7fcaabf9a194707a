import * as z from 'zod';
import { timeZoneSchema } from './business-hours.ts';
import { handoffSettingsReadSchema, handoffSettingsSchema } from './http-handoff.ts';
import { callbackChoiceSchema, connectionCheckSchema } from './http-connection.ts';
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
  checks: z
    .array(connectionCheckSchema)
    .optional()
    .describe('With a connection that was refused: all that was checked'),
  correlationId: z.string().optional().describe('With a fault of ours: the id under which it stands in the log'),
});
export type Problem = z.infer<typeof problemSchema>;

export const createWorkspaceSchema = z.strictObject({
  name: name.describe('What the workspace is called'),
  plan: planSchema.optional().describe('Default: the installation’s DEFAULT_PLAN'),
  timeZone: timeZoneSchema.optional().describe('IANA time zone in which months begin; default UTC'),
  ownerEmail: z
    .email()
    .max(254)
    .optional()
    .describe('Who gets mails about the workspace: handoffs, quota, trouble with a channel'),
});
export const workspaceSchema = z.object({
  id,
  name: z.string(),
  plan: planSchema,
  timeZone: z.string(),
  ownerEmail: z.string().nullable(),
  createdAt: time,
});
export const createdWorkspaceSchema = z.object({
  workspace: workspaceSchema,
  apiKey: z.string().describe('A key of the new workspace with all scopes. Shown once.'),
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

/** Replies that are fixed texts, which a chatbot may word in its own way. */
export const fixedKindSchema = replyKindSchema.exclude(['answer', 'human', 'template']);
const chatbotLanguageSchema = z.enum(['en', 'es']);

const chatbotSettingsSchema = z.strictObject({
  name: name.optional(),
  instructions: z.string().max(8_000).optional(),
  language: chatbotLanguageSchema.optional().describe('Used when the contact’s own language is not known; default en'),
  aiEnabled: z.boolean().optional().describe('False: the AI says nothing any more, at once; messages are still stored'),
  quietMs: z.int().min(0).max(30_000).optional().describe('Wait this long for more before answering; default 1500'),
  quietMaxMs: z.int().min(0).max(60_000).optional().describe('But never longer than this; default 6000'),
  showSources: z.boolean().optional(),
  texts: z
    .partialRecord(
      chatbotLanguageSchema,
      z.partialRecord(fixedKindSchema, z.string().trim().min(1).max(1_000).nullable()),
    )
    .optional()
    .describe('Own words for fixed replies, by language and kind; null: the usual ones again'),
  ...handoffSettingsSchema.shape,
});
export const createChatbotSchema = chatbotSettingsSchema.extend({ name });
/** Merges: what is left out stays as it is. */
export const updateChatbotSchema = chatbotSettingsSchema;
export const chatbotSchema = z.object({
  id,
  name: z.string(),
  instructions: z.string(),
  language: z.string(),
  aiEnabled: z.boolean(),
  quietMs: z.int(),
  quietMaxMs: z.int(),
  showSources: z.boolean(),
  texts: z.record(z.string(), z.record(z.string(), z.string())).describe('Own words for fixed replies'),
  ...handoffSettingsReadSchema.shape,
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
/**
 * Where a channel stands. `draft`: no credentials yet · `validated`: Meta accepts them · `webhook_verified`: Meta has verified
 * the callback · `live`: an event of this number has come, signed where there is an App Secret · `degraded`: live, and
 * something needs a look · `broken`: it cannot send or cannot receive until a person acts · `suspended_by_plan`: stored, not
 * answered · `disconnected`: switched off, its secrets erased.
 */
export const channelStateSchema = z.enum([
  'draft',
  'validated',
  'webhook_verified',
  'live',
  'degraded',
  'broken',
  'suspended_by_plan',
  'disconnected',
]);
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
  displayPhoneNumber: z.string().max(40).optional().describe('Shown until Meta says what the number is'),
  acceptExpiring: z.boolean().optional().describe('Takes a token that expires within 7 days'),
  callback: callbackChoiceSchema
    .optional()
    .describe('What to do when Meta delivers to another address than ours. Left out, the connection is refused then'),
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
  verifiedName: z.string().nullable().describe('What contacts see, as Meta has verified it'),
  qualityRating: z.string().nullable().describe('GREEN, YELLOW, RED or UNKNOWN, as Meta said when it was last asked'),
  throughput: z.string().nullable().describe('STANDARD (80 messages a second) or HIGH (1,000), as Meta said'),
  onBusinessApp: z.boolean().nullable().describe('Also in use in the WhatsApp Business app: 20 messages a second'),
  numberOverride: z.boolean().describe('Meta delivers this number here, whatever the callback of its app is'),
  unsigned: z.boolean().describe('True: no App Secret, so deliveries are not verified'),
  sendHoldCode: z.string().nullable().describe('Set while Meta refuses the credentials'),
  reasons: z.array(z.string()).describe('Codes of why it is not live, worst first; its health says them in words'),
  createdAt: time,
});
const webhookSettings = {
  callbackUrl: z.string().describe('For Meta → your app → WhatsApp → Configuration → Webhooks'),
  verifyToken: z.string().describe('For the field beside it'),
};
export const connectedChannelSchema = channelSchema.extend({
  ...webhookSettings,
  checks: z.array(connectionCheckSchema).describe('All that was checked at Meta'),
});
export const readChannelSchema = channelSchema.extend({
  callbackUrl: webhookSettings.callbackUrl.optional(),
  verifyToken: webhookSettings.verifyToken.optional().describe('Both only for keys that may write'),
});

export const conversationSchema = z.object({
  id,
  channelId: id,
  contactId: id,
  contactName: z.string().nullable(),
  owner: z.enum(['ai', 'human']).describe('human: the AI is silent'),
  heldBy: z.enum(['human', 'meta_agent']).nullable().describe('meta_agent: Meta’s own agent answers on this number'),
  mutedUntil: time
    .nullable()
    .describe('The first message from then on is the AI’s again; null while a human holds: until it is handed back'),
  optedOutAt: time.nullable().describe('The contact wants no answers of the AI'),
  windowUntil: time.nullable(),
  lastInboundAt: time.nullable(),
  waiting: z.int().describe('Messages that still wait for an outcome'),
  createdAt: time,
});

/** A file that a contact sent, as far as Meta described it. The file itself is not fetched. */
export const mediaSchema = z.object({
  mimeType: z.string().nullable(),
  fileName: z.string().nullable(),
  sizeBytes: z.int().nonnegative().nullable().describe('Null where Meta does not say'),
  caption: z.string().nullable().describe('As it was sent; the message’s text has its last form'),
  state: z.enum(['not_fetched']),
});

export const messageSchema = z.object({
  id,
  conversationId: id,
  direction: z.enum(['inbound', 'outbound']),
  author: z.enum(['contact', 'ai', 'human', 'system', 'phone_app', 'meta_agent']),
  kind: replyKindSchema.nullable().describe('Of outbound messages'),
  type: z.string(),
  text: z.string().nullable(),
  media: mediaSchema.nullable().describe('Of an image, video, audio or document of a contact'),
  providerMessageId: z.string().nullable(),
  status: z
    .string()
    .nullable()
    .describe('pending, sending, unknown, accepted, sent, delivered, read, played, failed, superseded'),
  failure: z.string().nullable(),
  failureHint: z.string().nullable().describe('What the failure means and what to do about it, for a person'),
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
  replays: z.int().describe('How often this body was replayed'),
  receivedAt: time,
});
/** A stored delivery that was given to ingest once more. */
export const replayedDeliverySchema = z.object({
  webhookLogId: id,
  bodySha256: z.string().describe('Look for it in the log: what became of the replay is an entry of its own'),
  replay: z.int().describe('1 for the first replay of this body'),
});
