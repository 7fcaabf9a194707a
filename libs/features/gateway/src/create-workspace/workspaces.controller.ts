import { createdWorkspaceSchema, createWorkspaceSchema, workspaceSchema } from '@answerline/contracts';
import { Body, Controller, Get, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';
import { Answers, idSchema, OperatorOnly, WorkspaceId } from '../management-api/route.ts';
import { CreateWorkspace } from './create-workspace.ts';

@ApiTags('Workspaces')
@Controller('api/v1/workspaces')
export class WorkspacesController {
  readonly #workspaces: CreateWorkspace;

  constructor(workspaces: CreateWorkspace) {
    this.#workspaces = workspaces;
  }

  @Post()
  @OperatorOnly(true)
  @Answers('Create a workspace and its first API key (operator)', 201, createdWorkspaceSchema)
  create(
    @Body({ schema: createWorkspaceSchema }) body: z.infer<typeof createWorkspaceSchema>,
  ): Promise<z.infer<typeof createdWorkspaceSchema>> {
    return this.#workspaces.execute(body);
  }

  @Get(':id')
  @Answers('The workspace of the API key', 200, workspaceSchema)
  async read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof workspaceSchema>> {
    if (id !== workspaceId) throw notFound();
    return this.#workspaces.read(workspaceId);
  }
}
