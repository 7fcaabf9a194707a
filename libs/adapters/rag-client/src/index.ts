export { ragPackageDefinition, RAG_SERVICE_LIMITS } from './rag-service.ts';
export {
  RagClient,
  type AskedQuestion,
  type AskResult,
  type Citation,
  type EarlierMessage,
  type FoundPassage,
  type ListPlace,
  type SearchedText,
  type SearchResult,
} from './rag-client.ts';
