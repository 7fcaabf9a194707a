import { usageSchema } from '@answerline/contracts';
import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, WorkspaceId } from '../management-api/route.ts';
import { ReadUsage } from './read-usage.ts';

@ApiTags('Usage')
@Controller('api/v1/usage')
export class UsageController {
  readonly #usage: ReadUsage;

  constructor(usage: ReadUsage) {
    this.#usage = usage;
  }

  @Get()
  @Answers('What the workspace has used this month, and what Meta says of its messages', 200, usageSchema)
  read(@WorkspaceId() workspaceId: string): Promise<z.infer<typeof usageSchema>> {
    return this.#usage.execute(workspaceId);
  }
}
