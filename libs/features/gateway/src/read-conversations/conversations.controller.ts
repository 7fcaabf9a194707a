import { conversationSchema, messageSchema, pageOf, pageQuerySchema } from '@answerline/contracts';
import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ReadConversations } from './read-conversations.ts';

const conversationQuerySchema = pageQuerySchema.extend({
  channelId: z.uuid().optional().describe('Only conversations on this channel'),
});
const conversationPageSchema = pageOf(conversationSchema);
const messagePageSchema = pageOf(messageSchema);

@ApiTags('Conversations')
@Controller('api/v1/conversations')
export class ConversationsController {
  readonly #conversations: ReadConversations;

  constructor(conversations: ReadConversations) {
    this.#conversations = conversations;
  }

  @Get()
  @Answers('List the conversations, last written in first', 200, conversationPageSchema)
  list(
    @WorkspaceId() workspaceId: string,
    @Query({ schema: conversationQuerySchema }) query: z.infer<typeof conversationQuerySchema>,
  ): Promise<z.infer<typeof conversationPageSchema>> {
    return this.#conversations.list(workspaceId, query);
  }

  @Get(':id')
  @Answers('A conversation', 200, conversationSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof conversationSchema>> {
    return this.#conversations.read(workspaceId, id);
  }

  @Get(':id/messages')
  @Answers('What was said in a conversation, both sides, newest first', 200, messagePageSchema)
  messages(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
    @Query({ schema: pageQuerySchema }) query: z.infer<typeof pageQuerySchema>,
  ): Promise<z.infer<typeof messagePageSchema>> {
    return this.#conversations.messages(workspaceId, id, query);
  }
}
