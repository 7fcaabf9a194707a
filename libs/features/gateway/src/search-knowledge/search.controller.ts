import { searchQuerySchema, searchResultSchema } from '@answerline/contracts';
import { RagClient } from '@answerline/rag-client';
import { Controller, Get, Param, Query, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type FastifyReply } from 'fastify';
import type * as z from 'zod';
import { callRag } from '../management-api/call-rag.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';

/** Shows an owner what the chatbot would find. */
@ApiTags('Sources')
@Controller('api/v1/chatbots/:id/search')
export class SearchController {
  readonly #rag: RagClient;

  constructor(rag: RagClient) {
    this.#rag = rag;
  }

  @Get()
  @Answers('Search the knowledge base of a chatbot', 200, searchResultSchema)
  async search(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Query({ schema: searchQuerySchema }) { q, limit }: z.infer<typeof searchQuerySchema>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<z.infer<typeof searchResultSchema>> {
    const { mode, lexicalReason, passages } = await callRag(reply, (signal) =>
      this.#rag.search({ workspaceId, chatbotId, text: q, limit }, { signal }),
    );
    return {
      mode,
      lexicalReason,
      items: passages.map(({ lexical, vector, ...passage }, place) => ({
        ...passage,
        rank: place + 1,
        lexicalRank: lexical?.rank ?? null,
        lexicalScore: lexical?.score ?? null,
        vectorRank: vector?.rank ?? null,
        vectorScore: vector?.score ?? null,
      })),
    };
  }
}
