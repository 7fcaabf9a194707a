import { createSourceSchema, pageOf, sourceSchema } from '@answerline/contracts';
import { Body, Controller, Delete, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { idPageQuerySchema } from '../management-api/pages.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ManageSources } from './manage-sources.ts';

const sourcePageSchema = pageOf(sourceSchema);

@ApiTags('Sources')
@Controller('api/v1')
export class SourcesController {
  readonly #sources: ManageSources;

  constructor(sources: ManageSources) {
    this.#sources = sources;
  }

  @Post('chatbots/:id/sources')
  @Answers('Add a text to the knowledge base. It can be found when its state is ready', 201, sourceSchema)
  add(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Body({ schema: createSourceSchema }) body: z.infer<typeof createSourceSchema>,
  ): Promise<z.infer<typeof sourceSchema>> {
    return this.#sources.add(workspaceId, chatbotId, body);
  }

  @Get('chatbots/:id/sources')
  @Answers('List the sources of a chatbot, newest first', 200, sourcePageSchema)
  list(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Query({ schema: idPageQuerySchema }) query: z.infer<typeof idPageQuerySchema>,
  ): Promise<z.infer<typeof sourcePageSchema>> {
    return this.#sources.list(workspaceId, chatbotId, query);
  }

  @Get('sources/:id')
  @Answers('A source', 200, sourceSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof sourceSchema>> {
    return this.#sources.read(workspaceId, id);
  }

  @Delete('sources/:id')
  @Answers('Delete a source. It is gone when GET answers 404', 202, sourceSchema)
  delete(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof sourceSchema>> {
    return this.#sources.delete(workspaceId, id);
  }
}
