export {
  changeOwnership,
  databaseNow,
  lockConversations,
  storeConversations,
  type ConversationChange,
  type LockedConversation,
  type OwnershipFact,
} from './conversations.ts';
export { createDataSource, Database, migrateDatabase, type DatabaseOptions } from './database.ts';
export { ApiKey } from './entities/api-key.entity.ts';
export { Channel } from './entities/channel.entity.ts';
export { Chatbot } from './entities/chatbot.entity.ts';
export { Source } from './entities/source.entity.ts';
export { WebhookKey } from './entities/webhook-key.entity.ts';
export { Workspace } from './entities/workspace.entity.ts';
export { newId } from './ids.ts';
export { addToOutbox, type OutboxEvent } from './outbox.ts';
export { OutboxRelay, type PublishEvent } from './outbox-relay.ts';
export { applySendFacts, lockSends, type SendChange, type SendFactEntry, type StoredSend } from './sends.ts';
export { WorkspaceData, WorkspaceRows, type Page } from './workspace-data.ts';
export { type Sql, type Statement, type Transaction } from './sql.ts';
export { ms, timestamp } from './sql-time.ts';
export { findStuckWork, type StuckWork } from './stuck-work.ts';
