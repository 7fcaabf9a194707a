export { ElasticsearchKnowledgeIndex, type ElasticsearchOptions } from './elasticsearch-knowledge-index.ts';
export { defaultVectorWeight, fuse, type FusedPassage } from './fuse.ts';
export { indexVersionName, parseIndexVersionName, type Embedding, type IndexVersion } from './index-version.ts';
export {
  KnowledgeIndex,
  maxSearchResults,
  type IndexedPassage,
  type KnowledgeEngine,
  type KnowledgeHits,
  type KnowledgeQuery,
  type RankedPassage,
} from './knowledge-index.ts';
export { LanceKnowledgeIndex, type LanceOptions } from './lance-knowledge-index.ts';
export { searchableText } from './searchable-text.ts';
