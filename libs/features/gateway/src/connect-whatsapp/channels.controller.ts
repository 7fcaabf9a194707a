import {
  channelSchema,
  connectedChannelSchema,
  pageOf,
  putWhatsAppChannelSchema,
  readChannelSchema,
} from '@answerline/contracts';
import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { idPageQuerySchema } from '../management-api/pages.ts';
import { Answers, idSchema, MayWrite, WorkspaceId } from '../management-api/route.ts';
import { ConnectWhatsApp } from './connect-whatsapp.ts';
import { ReadChannels } from './read-channels.ts';

const channelPageSchema = pageOf(channelSchema);

@ApiTags('Channels')
@Controller('api/v1')
export class ChannelsController {
  readonly #connect: ConnectWhatsApp;
  readonly #channels: ReadChannels;

  constructor(connect: ConnectWhatsApp, channels: ReadChannels) {
    this.#connect = connect;
    this.#channels = channels;
  }

  @Put('chatbots/:id/channels/whatsapp')
  @Answers('Connect a WhatsApp number, or renew its connection', 200, connectedChannelSchema)
  connect(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) chatbotId: string,
    @Body({ schema: putWhatsAppChannelSchema }) body: z.infer<typeof putWhatsAppChannelSchema>,
  ): Promise<z.infer<typeof connectedChannelSchema>> {
    return this.#connect.execute(workspaceId, chatbotId, body);
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
  @Answers('A channel, and for keys that may write what is pasted at Meta', 200, readChannelSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
    @MayWrite() withSettings: boolean,
  ): Promise<z.infer<typeof readChannelSchema>> {
    return this.#channels.read(workspaceId, id, { withSettings });
  }
}
