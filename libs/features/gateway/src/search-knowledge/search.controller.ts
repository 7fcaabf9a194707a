import { searchQuerySchema, searchResultSchema } from '@answerline/contracts';
import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { SearchKnowledge } from './search-knowledge.ts';

@ApiTags('Sources')
@Controller('api/v1/chatbots/:id/search')
export class SearchController {
  readonly #search: SearchKnowledge;

  constructor(search: SearchKnowledge) {
    this.#search = search;
  }

  @Get()
  @Answers('Search the knowledge base of a chatbot', 200, searchResultSchema)
  search(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Query({ schema: searchQuerySchema }) { q, limit }: z.infer<typeof searchQuerySchema>,
  ): Promise<z.infer<typeof searchResultSchema>> {
    return this.#search.execute(workspaceId, chatbotId, { text: q, limit });
  }
}
