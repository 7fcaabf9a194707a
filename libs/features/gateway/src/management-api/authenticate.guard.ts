import { hashApiKey, safeEqual } from '@answerline/secrets';
import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { type FastifyRequest } from 'fastify';
import { GATEWAY_OPTIONS, type GatewayOptions } from '../gateway-options.ts';
import { RefusedRequest } from './api-errors.ts';
import { ApiKeys, type ApiKeyScope } from './api-keys.ts';
import { OperatorOnly, type AuthenticatedRequest } from './route.ts';

/**
 * `Authorization: Bearer` with an API key, or with the operator's key on the operator's routes. Each opens its own routes
 * only: what acts for all workspaces must not be done by one of them, and the operator does not act inside one unseen.
 */
@Injectable()
export class AuthenticateGuard implements CanActivate {
  readonly #keys: ApiKeys;
  readonly #reflector: Reflector;
  readonly #options: GatewayOptions;

  constructor(keys: ApiKeys, reflector: Reflector, @Inject(GATEWAY_OPTIONS) options: GatewayOptions) {
    this.#keys = keys;
    this.#reflector = reflector;
    this.#options = options;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<FastifyRequest & AuthenticatedRequest>();
    const isOperatorRoute =
      this.#reflector.getAllAndOverride(OperatorOnly, [context.getHandler(), context.getClass()]) === true;
    const token = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) {
      throw new RefusedRequest('credentials_missing', 'Send an API key as Authorization: Bearer.', 401);
    }
    if (this.#isOperatorKey(token)) {
      if (isOperatorRoute) return true;
      throw new RefusedRequest('workspace_key_required', 'This needs the API key of a workspace.', 403);
    }
    const key = await this.#keys.find(hashApiKey(token));
    if (key === null || (key.expiresAt !== null && key.expiresAt <= Date.now())) {
      throw new RefusedRequest('credentials_invalid', 'This API key does not exist, has expired or was revoked.', 401);
    }
    if (isOperatorRoute) throw new RefusedRequest('operator_key_required', 'This needs the key of the operator.', 403);
    const scope: ApiKeyScope = request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'write';
    if (!key.scopes.includes(scope)) {
      throw new RefusedRequest('scope_missing', 'This API key may not do this.', 403, { requiredScope: scope });
    }
    request.workspaceId = key.workspaceId;
    request.scopes = key.scopes;
    return true;
  }

  #isOperatorKey(token: string): boolean {
    const operatorKey = this.#options.operatorKey?.reveal();
    // Hashed first, so that not even the length shows in the time it takes.
    return operatorKey !== undefined && safeEqual(hashApiKey(token), hashApiKey(operatorKey));
  }
}
