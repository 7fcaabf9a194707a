export { Answerer, type Answer, type AnswerPassage, type AnswerRequest, type EarlierMessage } from './answerer.ts';
export { ChatModel, type ChatCompletion, type ChatMessage, type ChatRequest, type TokenUsage } from './chat-model.ts';
export { contentWords, detectLanguage, overlapShare, type KnownLanguage, type PassageWords } from './content-words.ts';
export { ExtractiveAnswerer } from './extractive-answerer.ts';
export { LanguageModelModule } from './language-model.module.ts';
