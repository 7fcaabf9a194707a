import { channelSchema, connectedChannelSchema, pageOf, putWhatsAppChannelSchema } from '@answerline/contracts';
import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { idPageQuerySchema } from '../management-api/pages.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ConnectWhatsApp } from './connect-whatsapp.ts';

const channelPageSchema = pageOf(channelSchema);

@ApiTags('Channels')
@Controller('api/v1')
export class ChannelsController {
  readonly #channels: ConnectWhatsApp;

  constructor(channels: ConnectWhatsApp) {
    this.#channels = channels;
  }

  @Put('chatbots/:id/channels/whatsapp')
  @Answers('Connect a WhatsApp number, or renew its connection', 200, connectedChannelSchema)
  connect(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Body({ schema: putWhatsAppChannelSchema }) body: z.infer<typeof putWhatsAppChannelSchema>,
  ): Promise<z.infer<typeof connectedChannelSchema>> {
    return this.#channels.execute(workspaceId, chatbotId, body);
  }

  @Get('chatbots/:id/channels/whatsapp')
  @Answers('List the WhatsApp channels of a chatbot, newest first', 200, channelPageSchema)
  list(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Query({ schema: idPageQuerySchema }) query: z.infer<typeof idPageQuerySchema>,
  ): Promise<z.infer<typeof channelPageSchema>> {
    return this.#channels.list(workspaceId, chatbotId, query);
  }

  @Get('channels/:id')
  @Answers('A channel', 200, channelSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof channelSchema>> {
    return this.#channels.read(workspaceId, id);
  }
}
