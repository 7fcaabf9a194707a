export { checkedStart, commonSettings, type CommonConfig } from './checked-start.ts';
export { connectDatabase, connectMessageBus, graphClient, openKnowledgeIndex } from './connect.ts';
export { gatewayOptions, gatewaySettings } from './gateway-settings.ts';
export { languageModelSettings, openLanguageModels, type LanguageModelConfig } from './language-models.ts';
export { PartsModule, type Part } from './parts.module.ts';
export { ragClient, serveRagService } from './rag-service.ts';
