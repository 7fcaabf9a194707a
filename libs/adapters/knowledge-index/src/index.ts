export { indexVersionName, parseIndexVersionName, type Embedding, type IndexVersion } from './index-version.ts';
export {
  KnowledgeIndex,
  maxSearchResults,
  type IndexedPassage,
  type KnowledgeHits,
  type KnowledgeQuery,
  type RankedPassage,
} from './knowledge-index.ts';
export { KnowledgeIndexModule } from './knowledge-index.module.ts';
export { LanceKnowledgeIndex, type LanceOptions } from './lance-knowledge-index.ts';
