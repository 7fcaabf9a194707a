export { languageModelSettings, openLanguageModels, type LanguageModelConfig } from './language-models.ts';
export { openKnowledgeIndex } from './open-knowledge-index.ts';
export { serveRagService } from './serve-rag-service.ts';
