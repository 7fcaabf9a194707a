import { type Secret } from '@answerline/config';
import { Database } from '@answerline/persistence';
import { type DynamicModule, Module } from '@nestjs/common';
import { FindPassages } from '../find-passages/find-passages.ts';
import { MakeAnswer } from '../make-answer/make-answer.ts';
import { RagModule } from '../rag.module.ts';
import { AnswerQuestion } from './answer-question.ts';
import { EXPECTED_TOKEN, InternalTokenGuard } from './internal-token.guard.ts';
import { RagServiceController } from './rag-service.controller.ts';
import { SearchChatbot } from './search-chatbot.ts';

/** The gRPC service answerline.rag.v1 over {@link RagModule}, for an application with a gRPC microservice. */
@Module({})
export class RagServiceModule {
  /** @param options.token the INTERNAL_TOKEN that every call must show */
  static forRoot({ token }: { readonly token: Secret }): DynamicModule {
    return {
      module: RagServiceModule,
      imports: [RagModule],
      controllers: [RagServiceController],
      providers: [
        { provide: EXPECTED_TOKEN, useValue: token },
        InternalTokenGuard,
        {
          provide: SearchChatbot,
          useFactory: (database: Database, findPassages: FindPassages) => new SearchChatbot(database, findPassages),
          inject: [Database, FindPassages],
        },
        {
          provide: AnswerQuestion,
          useFactory: (database: Database, makeAnswer: MakeAnswer) => new AnswerQuestion({ database, makeAnswer }),
          inject: [Database, MakeAnswer],
        },
      ],
    };
  }
}
