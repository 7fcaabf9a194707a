export {
  Answerer,
  type Answer,
  type AnswerPassage,
  type AnswerRequest,
  type EarlierMessage,
  type FollowUp,
  type ModelUse,
  type RewrittenQuestion,
} from './answerer.ts';
export { ChatModel, type ChatCompletion, type ChatMessage, type ChatRequest, type TokenUsage } from './chat-model.ts';
export { contentWords, detectLanguage, overlapShare, type KnownLanguage, type PassageWords } from './content-words.ts';
export { Embedder, type EmbeddingPurpose, type EmbedOptions } from './embedder.ts';
export { ExtractiveAnswerer } from './extractive-answerer.ts';
export { GroundedAnswerer, type ModelPrices } from './grounded-answerer.ts';
export { OpenAiChatModel } from './openai-chat-model.ts';
export { OpenAiEmbedder } from './openai-embedder.ts';
export { OPENAI_URL, type OpenAiEndpoint } from './openai-endpoint.ts';
