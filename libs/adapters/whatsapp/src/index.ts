export { checkConnection, type ConnectionReport } from './check-connection.ts';
export {
  isOwnCallback,
  planCallback,
  type CallbackChoice,
  type CallbackFacts,
  type CallbackPlan,
} from './choose-callback.ts';
export {
  CONNECTION_CHECKS,
  troubleOf,
  type ConnectionCheck,
  type ConnectionCheckName,
  type ConnectionCheckStatus,
  type ConnectionCode,
} from './connection-check.ts';
export { MANAGEMENT_SCOPE, type CheckOptions, type Connection } from './connection.ts';
export { type CallFailure } from './graph-call.ts';
export {
  GraphClient,
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
export {
  GraphManagement,
  type AppSubscription,
  type GraphApp,
  type GraphCredentials,
  type GraphManagementOptions,
  type GraphRead,
  type PhoneNumberFacts,
  type TokenFacts,
  type WebhookTarget,
} from './graph-management.ts';

export { mediaFacts, type MediaFacts } from './media-facts.ts';
export type { ContactCard, InteractivePayload, MediaPayload, MessagePayload, OrderLine } from './message-payload.ts';
export { answerableText, classifyMessage } from './message-text.ts';
export { parseWebhook } from './parse-webhook.ts';
export { matchKey, phoneVariants, recipientOf, type RecipientAddress, type WhatsAppIdentity } from './phone-numbers.ts';
export { MAX_TEXT_LENGTH, splitForWhatsApp } from './split-text.ts';
export {
  itemKey,
  type EchoItem,
  type HandoverItem,
  type MessageItem,
  type OtherItem,
  type StatusItem,
  type UserIdUpdateItem,
  type WebhookError,
  type WebhookItem,
  type WebhookParty,
} from './webhook-items.ts';
export { WEBHOOK_FIELDS } from './webhook-fields.ts';
export { toWhatsAppText } from './whatsapp-text.ts';
