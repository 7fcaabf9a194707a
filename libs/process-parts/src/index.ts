export { checkedStart, commonSettings, type CommonConfig } from './checked-start.ts';
export { connectDatabase, connectMessageBus, graphClient, openKnowledgeIndex } from './connect.ts';
export { PartsModule, type Part } from './parts.module.ts';
