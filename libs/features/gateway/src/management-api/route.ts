import { Unexpected } from '@answerline/errors';
import { applyDecorators, createParamDecorator, type ExecutionContext, HttpCode } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiOperation, ApiResponse } from '@nestjs/swagger';
import * as z from 'zod';

/** What the guard adds to a request. */
export interface AuthenticatedRequest {
  workspaceId?: string;
  scopes?: readonly string[];
}

/** The route is the operator's: a workspace's key is refused, and the operator's key is taken nowhere else. */
export const OperatorOnly = Reflector.createDecorator<true>();

/** The workspace whose key came with the request. */
export const WorkspaceId = createParamDecorator((_data: unknown, context: ExecutionContext): string => {
  const { workspaceId } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (workspaceId === undefined) throw new Unexpected('workspace_missing', 'The route is not behind the guard.');
  return workspaceId;
});

/** Whether the key that came with the request may change things: then it may also see what others are set up with. */
export const MayWrite = createParamDecorator(
  (_data: unknown, context: ExecutionContext): boolean =>
    context.switchToHttp().getRequest<AuthenticatedRequest>().scopes?.includes('write') === true,
);

/**
 * What a route does, in a few words, and what it answers. The schema is documentation; a test holds real answers against it.
 *
 * @param asText a media type that the same answer may be asked for in, and what its text looks like
 */
export function Answers(
  summary: string,
  status: number,
  schema: z.ZodType,
  asText?: { readonly type: string; readonly description: string },
): MethodDecorator {
  const json = z.toJSONSchema(schema) as Record<string, unknown>;
  const answer = asText
    ? {
        description: asText.description,
        content: { 'application/json': { schema: json }, [asText.type]: { schema: { type: 'string' } } },
      }
    : { description: 'Done', standardSchema: schema };
  return applyDecorators(HttpCode(status), ApiOperation({ summary }), ApiResponse({ status, ...answer }));
}

/** An id in the path. What cannot be an id is 404. */
export const idSchema = z.uuid();
