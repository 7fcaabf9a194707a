import { chatbotSchema, createChatbotSchema, pageOf, updateChatbotSchema } from '@answerline/contracts';
import { type Chatbot, Database } from '@answerline/persistence';
import { Body, Controller, Get, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';
import { idPageQuerySchema } from '../management-api/pages.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { toColumns, UpdateChatbot } from './update-chatbot.ts';

const chatbotPageSchema = pageOf(chatbotSchema);

@ApiTags('Chatbots')
@Controller('api/v1/chatbots')
export class ChatbotsController {
  readonly #database: Database;
  readonly #updateChatbot: UpdateChatbot;

  constructor(database: Database, updateChatbot: UpdateChatbot) {
    this.#database = database;
    this.#updateChatbot = updateChatbot;
  }

  @Post()
  @Answers('Create a chatbot', 201, chatbotSchema)
  async create(
    @WorkspaceId() workspaceId: string,
    @Body({ schema: createChatbotSchema }) body: z.infer<typeof createChatbotSchema>,
  ): Promise<z.infer<typeof chatbotSchema>> {
    // Fields that were not sent are not there, so that the columns' defaults stand.
    return toChatbot(await this.#database.forWorkspace(workspaceId).chatbots.insert(toColumns(body)));
  }

  @Get()
  @Answers('List the chatbots, newest first', 200, chatbotPageSchema)
  async list(
    @WorkspaceId() workspaceId: string,
    @Query({ schema: idPageQuerySchema }) query: z.infer<typeof idPageQuerySchema>,
  ): Promise<z.infer<typeof chatbotPageSchema>> {
    const { items, nextCursor } = await this.#database.forWorkspace(workspaceId).chatbots.page({}, query);
    return { items: items.map(toChatbot), nextCursor };
  }

  @Get(':id')
  @Answers('A chatbot', 200, chatbotSchema)
  async read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof chatbotSchema>> {
    const chatbot = await this.#database.forWorkspace(workspaceId).chatbots.find({ id });
    if (chatbot === null) throw notFound();
    return toChatbot(chatbot);
  }

  @Patch(':id')
  @Answers(
    'Change settings of a chatbot: what is left out stays. aiEnabled false stops the AI at once',
    200,
    chatbotSchema,
  )
  async update(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
    @Body({ schema: updateChatbotSchema }) body: z.infer<typeof updateChatbotSchema>,
  ): Promise<z.infer<typeof chatbotSchema>> {
    return toChatbot(await this.#updateChatbot.execute(workspaceId, id, body));
  }
}

function toChatbot(row: Chatbot): z.infer<typeof chatbotSchema> {
  return {
    id: row.id,
    name: row.name,
    instructions: row.instructions,
    language: row.language,
    aiEnabled: row.aiEnabled,
    quietMs: row.quietMs,
    quietMaxMs: row.quietMaxMs,
    showSources: row.showSources,
    texts: row.texts,
    handoff: { phrases: row.handoffPhrases, byModel: row.handoffByModel },
    optOut: { stopWords: row.stopWords, startWords: row.startWords },
    businessHours: row.businessHours,
    notifyEmails: row.notifyEmails,
    publicContact: row.publicContact,
    createdAt: row.createdAt.toISOString(),
  };
}
