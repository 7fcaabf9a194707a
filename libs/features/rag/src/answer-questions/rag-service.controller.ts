import { randomUUID } from 'node:crypto';
import { type AskEvent, type SearchResponse } from '@answerline/contracts';
import { withCorrelation } from '@answerline/logging';
import { Controller, UseFilters, UseGuards } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { type Metadata } from '@grpc/grpc-js';
import { Observable } from 'rxjs';
import { AnswerQuestion } from './answer-question.ts';
import { CallsUnderWay, type ServedCall } from './calls-under-way.ts';
import { GrpcErrorFilter } from './grpc-error.filter.ts';
import { InternalTokenGuard } from './internal-token.guard.ts';
import { readAskRequest, readSearchRequest, toResultEvent, toSearchResponse } from './rag-messages.ts';
import { SearchChatbot } from './search-chatbot.ts';

/** For callers without a deadline. Two queries and one embedding have bounds of their own, which are over before. */
const SEARCH_WITHIN_MS = 10_000;
/** For callers without a deadline: an answer or its fallback is there after 25 s, its receipt stored soon after. */
const ASK_WITHIN_MS = 30_000;
/** Of a caller: what cannot be one of ours is not written into the log. */
const CORRELATION_ID = /^[\w-]{1,64}$/;

/** The gRPC door of answerline.rag.v1.RagService. */
@Controller()
@UseFilters(GrpcErrorFilter)
@UseGuards(InternalTokenGuard)
export class RagServiceController {
  readonly #calls: CallsUnderWay;
  readonly #search: SearchChatbot;
  readonly #answer: AnswerQuestion;

  constructor(calls: CallsUnderWay, search: SearchChatbot, answer: AnswerQuestion) {
    this.#calls = calls;
    this.#search = search;
    this.#answer = answer;
  }

  @GrpcMethod('RagService', 'search')
  async search(request: unknown, metadata: Metadata, call: ServedCall): Promise<SearchResponse> {
    const searched = readSearchRequest(request);
    return correlated(metadata, () =>
      this.#calls.serve(call, SEARCH_WITHIN_MS, async (signal) =>
        toSearchResponse(await this.#search.execute(searched, signal)),
      ),
    );
  }

  @GrpcMethod('RagService', 'ask')
  ask(request: unknown, metadata: Metadata, call: ServedCall): Observable<AskEvent> {
    const asked = readAskRequest(request);
    return new Observable((events) => {
      correlated(metadata, () =>
        this.#calls.serve(call, ASK_WITHIN_MS, (signal) =>
          this.#answer.execute(asked, signal, (token) => events.next({ token })),
        ),
      ).then(
        (answer) => {
          events.next(toResultEvent(answer));
          events.complete();
        },
        (error: unknown) => events.error(error),
      );
    });
  }
}

function correlated<Result>(metadata: Metadata, work: () => Result): Result {
  const [given] = metadata.get('correlation-id');
  const isFit = typeof given === 'string' && CORRELATION_ID.test(given);
  return withCorrelation(isFit ? given : randomUUID(), work);
}
