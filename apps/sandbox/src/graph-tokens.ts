import type { FastifyInstance } from 'fastify';
import type { AccessToken } from './accounts.ts';
import { identify, tokenTrouble } from './graph-access.ts';
import { badParameter, GraphRefused, managementRoute, type GraphCall, type GraphRoute } from './graph-call.ts';
import type { Meta } from './meta.ts';

/** `GET /debug_token` (Meta, "Debug token"): for the app's own token, or any good token of the same app. */
export function tokenRoutes(app: FastifyInstance, meta: Meta): void {
  app.get<GraphRoute>(
    '/debug_token',
    managementRoute(meta, (call) => debugToken(meta, call)),
  );
}

function debugToken(meta: Meta, call: GraphCall): unknown {
  const { appId } = identify(meta, call);
  const input = call.parameters['input_token'];
  if (typeof input !== 'string' || input === '') {
    throw new GraphRefused(badParameter('The parameter input_token is required.'));
  }
  const token = meta.accounts.token(input);
  if (!token) return { data: invalid(190, 'Malformed access token') };
  if (token.appId !== appId) {
    return { data: invalid(100, '(#100) The App_id in the input_token did not match the Viewing App') };
  }
  const trouble = tokenTrouble(token, meta.now());
  return {
    data: {
      app_id: token.appId,
      type: 'SYSTEM_USER',
      application: `App ${token.appId}`,
      data_access_expires_at: 0,
      ...(trouble && { error: { code: 190, ...trouble } }),
      expires_at: token.expiresAt,
      is_valid: trouble === undefined,
      issued_at: Math.floor(meta.now() / 1000),
      scopes: token.scopes,
      granular_scopes: granularScopes(token),
      user_id: '122100000000000001',
    },
  };
}

function invalid(code: number, message: string) {
  return { error: { code, message }, is_valid: false, scopes: [] };
}

/** Without `target_ids` a scope is for everything that the app may see. */
function granularScopes({ scopes, wabaIds }: AccessToken) {
  return scopes.map((scope) => ({ scope, ...(wabaIds && { target_ids: wabaIds }) }));
}
