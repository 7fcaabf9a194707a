export {
  appSettingsSchema,
  tokenSettingsSchema,
  wabaSettingsSchema,
  type AppSettings,
  type TokenSettings,
  type WabaSettings,
} from './account-schemas.ts';
export { startSandbox, type RunningSandbox, type SandboxOptions } from './start-sandbox.ts';
export {
  callKindSchema,
  chipsSchema,
  contactSettingsSchema,
  deliverySettingsSchema,
  faultsSchema,
  inboundMessageSchema,
  limitsSchema,
  messagesRequestSchema,
  numberSettingsSchema,
  sandboxNumberSchema,
  webhookRequestSchema,
  type CallKind,
  type Chip,
  type ContactSettings,
  type DeliveryCounts,
  type DeliverySettings,
  type Faults,
  type InboundEntry,
  type InboundMessage,
  type JournalEntry,
  type Limits,
  type ManagementEntry,
  type SandboxNumber,
} from './control-schemas.ts';
export { mailboxFaultsSchema, type MailboxFaults, type MailEntry } from './mailbox-schemas.ts';
export type { ThreadMessage, Ticks } from './threads.ts';
