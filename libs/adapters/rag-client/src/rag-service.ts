import { RagServiceService } from './rag-service.gen.ts';

/** The service as a gRPC server takes it (`packageDefinition`): paths, and how messages become bytes. */
export const ragPackageDefinition = { 'answerline.rag.v1.RagService': RagServiceService };

/** Bounds that both ends keep, in bytes. */
export const RAG_SERVICE_LIMITS = {
  /** The longest request: a question and 40 earlier messages of 4,000 characters, each of up to 4 bytes, are 656 KB. */
  requestMaxBytes: 1024 * 1024,
  /** The longest answer: 50 passages, each at most some thousand characters. gRPC's own default. */
  responseMaxBytes: 4 * 1024 * 1024,
} as const;
