import { channelHealthSchema } from '@answerline/contracts';
import { Controller, Get, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { CheckHealth } from './check-health.ts';

@ApiTags('Channels')
@Controller('api/v1/channels')
export class ChannelHealthController {
  readonly #health: CheckHealth;

  constructor(health: CheckHealth) {
    this.#health = health;
  }

  @Get(':id/health')
  @Answers(
    'How a channel is: its state with reasons, and the last run of all checks with its age',
    200,
    channelHealthSchema,
  )
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof channelHealthSchema>> {
    return this.#health.read(workspaceId, id);
  }

  @Post(':id/health-checks')
  @Answers('Run all checks of a channel now, at most once a minute', 200, channelHealthSchema)
  check(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof channelHealthSchema>> {
    return this.#health.request(workspaceId, id);
  }
}
