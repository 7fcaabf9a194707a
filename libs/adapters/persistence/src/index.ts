export { callOffSends, callsUnderWay, conversationsWithUnsent, type CalledOff } from './call-off-sends.ts';
export {
  changeOwnership,
  databaseNow,
  followOwnership,
  lockConversations,
  storeConversations,
  type ConversationChange,
  type LockedConversation,
  type OwnershipChange,
  type OwnershipFact,
} from './conversations.ts';
export { createDataSource, Database, migrateDatabase, type DatabaseOptions } from './database.ts';
export {
  addDeletionMarks,
  addressMark,
  attemptMark,
  DELETION_MARKS_KEPT_DAYS,
  DELETION_MARKS_PURPOSE,
  deletionKey,
  findDeletionMarks,
  messageMark,
  trimDeletionMarks,
  type DeletionMark,
} from './deletion-marks.ts';
export { ApiKey } from './entities/api-key.entity.ts';
export { Channel } from './entities/channel.entity.ts';
export { Chatbot } from './entities/chatbot.entity.ts';
export { Source } from './entities/source.entity.ts';
export { WebhookKey } from './entities/webhook-key.entity.ts';
export { Workspace } from './entities/workspace.entity.ts';
export { newId } from './ids.ts';
export { mailProblem, noteMailSetup } from './mail-setup.ts';
export { localCalendar } from './local-calendar.ts';
export { addMail, type MailKind, type MailRequest, type MailSubjects } from './mails.ts';
export { addToOutbox, toOutboxEvent, type EventFacts, type OutboxEvent } from './outbox.ts';
export { OutboxRelay, type PublishEvent } from './outbox-relay.ts';
export { warnOfQuota, type QuotaWarning } from './quota-warning.ts';
export { applySendFacts, lockSends, type SendChange, type SendFactEntry, type StoredSend } from './sends.ts';
export { WorkspaceData, WorkspaceRows, type Page } from './workspace-data.ts';
export { type Sql, type Statement, type Transaction } from './sql.ts';
export { ms, timestamp } from './sql-time.ts';
export { countTokens, type TokenSpend } from './token-usage.ts';
export { findStuckWork, type StuckWork } from './stuck-work.ts';
