import { askResultSchema, askSchema } from '@answerline/contracts';
import { LOGGER, type Logger } from '@answerline/logging';
import { RagClient } from '@answerline/rag-client';
import { Body, Controller, Headers, Inject, Param, Post, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type FastifyReply } from 'fastify';
import { type Readable } from 'node:stream';
import type * as z from 'zod';
import { callRag } from '../management-api/call-rag.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { EVENT_STREAM_TYPE, streamAnswer, wantsEventStream } from './answer-stream.ts';

/** Asks a chatbot as its contacts do. Nothing is sent to anybody, and nothing counts against the quota. */
@ApiTags('Chatbots')
@Controller('api/v1/chatbots/:id/ask')
export class AskController {
  readonly #rag: RagClient;
  readonly #logger: Logger;

  constructor(rag: RagClient, @Inject(LOGGER) logger: Logger) {
    this.#rag = rag;
    this.#logger = logger;
  }

  @Post()
  @Answers('Ask a chatbot a question', 200, askResultSchema, {
    type: EVENT_STREAM_TYPE,
    description:
      'The answer. A client that accepts text/event-stream gets it while it is written: events `token` {text}, then `result`, whose ' +
      'data is that of the JSON answer and takes the place of the tokens, or `error`, whose data is a problem. What fails before the ' +
      'first token is answered as a problem. Nothing is sent to a contact, and nothing counts against the quota.',
  })
  async ask(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Body({ schema: askSchema }) { question, history }: z.infer<typeof askSchema>,
    @Headers('accept') accept: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<z.infer<typeof askResultSchema> | Readable> {
    const asked = { workspaceId, chatbotId, question, history };
    if (!wantsEventStream(accept)) return callRag(reply, (signal) => this.#rag.ask(asked, { signal }));
    const stream = await streamAnswer(
      (onToken) => callRag(reply, (signal) => this.#rag.ask(asked, { signal, onToken })),
      { correlationId: reply.request.id, logger: this.#logger },
    );
    void reply.header('cache-control', 'no-store').type(EVENT_STREAM_TYPE);
    return stream;
  }
}
