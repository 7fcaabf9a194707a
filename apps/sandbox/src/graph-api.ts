import type { FastifyPluginAsync } from 'fastify';
import { accountNodeRoutes } from './graph-accounts.ts';
import { managementRoute, GraphRefused, refuse, type GraphRoute } from './graph-call.ts';
import { refusal } from './graph-error.ts';
import { mediaRoutes } from './graph-media.ts';
import { messageRoutes } from './graph-messages.ts';
import { subscriptionRoutes } from './graph-subscriptions.ts';
import { tokenRoutes } from './graph-tokens.ts';
import type { Meta } from './meta.ts';

/** The part of Meta's Graph API that the product calls, under `/{version}`, and the download of media beside it. */
export function graphApi(meta: Meta): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler((error: { statusCode?: number }, _request, reply) => {
      const isTheirs = error.statusCode !== undefined && error.statusCode < 500;
      return refuse(
        reply,
        refusal(isTheirs ? 100 : 131000, isTheirs ? { details: 'The body is not valid JSON.' } : {}),
      );
    });
    app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
      done(null, Object.fromEntries(new URLSearchParams(body.toString()))),
    );
    await app.register(
      async (graph) => {
        messageRoutes(graph, meta);
        tokenRoutes(graph, meta);
        accountNodeRoutes(graph, meta);
        subscriptionRoutes(graph, meta);
        graph.all<GraphRoute>(
          '/*',
          managementRoute(meta, () => {
            throw new GraphRefused(refusal(2500, { message: 'Unknown path components' }));
          }),
        );
      },
      { prefix: '/:version(^v\\d+\\.\\d+$)' },
    );
    mediaRoutes(app, meta);
  };
}
