export { captureLogs, type CapturedLogs } from './capture-logs.ts';
export { eventually, type EventuallyOptions } from './eventually.ts';
export { freePort } from '@answerline/embedded-services';
export { startAndAbandon } from './start-and-abandon.ts';
export { startTestElasticsearch, type TestElasticsearch } from './start-test-elasticsearch.ts';
export { tempDir } from './temp-dir.ts';
export { startTestNats, type TestNats } from './test-nats.ts';
export { createTestDatabase, testPostgresUrl, type TestDatabase } from './test-postgres.ts';
export { describeKnowledgeIndex } from './knowledge-index-conformance.ts';
export { rowsOfWorkspace } from './rows-of-workspace.ts';
export { seedChannel, type SeededChannel, type SeedOptions } from './seed.ts';
export {
  seedConversation,
  seedMessages,
  seedReply,
  type SeededConversation,
  type SeededMessage,
  type SeededReply,
} from './seed-conversation.ts';
export { startGraphInFront, type GraphInFront } from './graph-in-front.ts';
export { startTestSandbox, type TestSandbox } from './test-sandbox.ts';
export { haltProcess } from './halt-process.ts';
export {
  startStubOpenAi,
  type StubBehaviour,
  type StubFault,
  type StubOpenAi,
  type StubOptions,
  type StubRequest,
  type StubRequestBody,
} from './stub-openai/stub-openai.ts';
export { GatedEmbedder } from './gated-embedder.ts';
export { seedSource } from './seed-source.ts';
export { startTestRag, type RagScript, type TestRag } from './test-rag.ts';
export {
  startTestGateway,
  type ApiAnswer,
  type ApiBody,
  type FurnishedWorkspace,
  type OpenApi,
  type TestGateway,
} from './test-gateway.ts';
export { groundedReply, type PromptMessage } from './stub-openai/grounded-reply.ts';
export { createRandom, type Random } from './seeded-random.ts';
export { mutatedWebhook, mutations, place, type Mutation, type Place, type ValidMessage } from './mutated-webhook.ts';
