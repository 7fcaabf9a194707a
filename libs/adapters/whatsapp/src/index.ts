export {
  GraphClient,
  type CallFailure,
  type GraphCaller,
  type GraphClientOptions,
  type MarkReadOutcome,
  type ReadReceipt,
  type SendOutcome,
  type TextMessage,
} from './graph-client.ts';
export {
  classifyGraphError,
  GRAPH_ERRORS,
  retryDelayMs,
  type GraphErrorClass,
  type GraphErrorCode,
  type GraphErrorRow,
  type GraphFailure,
  type GraphRetry,
  type RetryPace,
} from './graph-errors.ts';
export type { ContactCard, InteractivePayload, MediaPayload, MessagePayload, OrderLine } from './message-payload.ts';
export { answerableText, classifyMessage } from './message-text.ts';
export { parseWebhook } from './parse-webhook.ts';
export { matchKey, phoneVariants, recipientOf, type RecipientAddress, type WhatsAppIdentity } from './phone-numbers.ts';
export { MAX_TEXT_LENGTH, splitForWhatsApp } from './split-text.ts';
export {
  itemKey,
  type EchoItem,
  type MessageItem,
  type OtherItem,
  type StatusItem,
  type UserIdUpdateItem,
  type WebhookError,
  type WebhookItem,
  type WebhookParty,
} from './webhook-items.ts';
export { toWhatsAppText } from './whatsapp-text.ts';
