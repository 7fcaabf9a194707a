import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, Embedder } from '@answerline/language-model';
import { LOGGER, type Logger } from '@answerline/logging';
import { Database } from '@answerline/persistence';
import { Module } from '@nestjs/common';
import { CallsUnderWay } from './answer-questions/calls-under-way.ts';
import { FindPassages } from './find-passages/find-passages.ts';
import { MakeAnswer } from './make-answer/make-answer.ts';
import { RagWorker } from './rag.worker.ts';

/**
 * Turns become answers, sources become passages. Needs Database, MessageBus, KnowledgeIndex, Answerer, Embedder (or null) and LOGGER
 * from the app.
 */
@Module({
  providers: [
    {
      provide: FindPassages,
      useFactory: (database: Database, index: KnowledgeIndex, logger: Logger, embedder: Embedder | null = null) =>
        new FindPassages({ database, index, embedder, logger: logger.child({ feature: 'rag' }) }),
      inject: [Database, KnowledgeIndex, LOGGER, { token: Embedder, optional: true }],
    },
    {
      provide: MakeAnswer,
      useFactory: (findPassages: FindPassages, answerer: Answerer, logger: Logger) =>
        new MakeAnswer({ findPassages, answerer, logger: logger.child({ feature: 'rag' }) }),
      inject: [FindPassages, Answerer, LOGGER],
    },
    // Here, so that calls and turns under way are waited for at the same time.
    { provide: CallsUnderWay, useFactory: () => new CallsUnderWay() },
    RagWorker,
  ],
  exports: [FindPassages, MakeAnswer, CallsUnderWay],
})
export class RagModule {}
