import { LanguageModelModule } from '@answerline/language-model';
import { Module } from '@nestjs/common';
import { RagWorker } from './rag.worker.ts';

/** Turns become answers, sources become passages. Needs Database, MessageBus, KnowledgeIndex and LOGGER from the app. */
@Module({ imports: [LanguageModelModule], providers: [RagWorker] })
export class RagModule {}
