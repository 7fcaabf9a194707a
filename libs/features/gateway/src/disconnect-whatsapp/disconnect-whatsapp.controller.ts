import { disconnectedChannelSchema } from '@answerline/contracts';
import { Controller, Delete, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { DisconnectWhatsApp } from './disconnect-whatsapp.ts';

@ApiTags('Channels')
@Controller('api/v1/channels')
export class DisconnectWhatsAppController {
  readonly #disconnect: DisconnectWhatsApp;

  constructor(disconnect: DisconnectWhatsApp) {
    this.#disconnect = disconnect;
  }

  @Delete(':id')
  @Answers(
    'Disconnect a WhatsApp number: it says nothing more and its secrets are erased. What was said stays',
    200,
    disconnectedChannelSchema,
  )
  disconnect(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof disconnectedChannelSchema>> {
    return this.#disconnect.execute(workspaceId, id);
  }
}
