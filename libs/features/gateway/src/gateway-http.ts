import { withCorrelation } from '@answerline/logging';
import { HealthRegistry, healthRoutes } from '@answerline/lifecycle';
import { MessageBus } from '@answerline/messaging';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyReply, type FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { GATEWAY_OPTIONS, type GatewayOptions } from './gateway-options.ts';
import { serveApiDocs } from './management-api/api-docs.ts';
import { fromThrown, PROBLEM_TYPE, toProblem } from './management-api/problem.ts';
import { DeliveryBook } from './receive-webhook/delivery-book.ts';
import { webhookDoor } from './receive-webhook/webhook-door.ts';
import { WebhookKeys } from './receive-webhook/webhook-keys.ts';

/** The longest source text (1,000,000 characters) with room for its escapes. The webhook has a limit of its own. */
const API_BODY_MAX_BYTES = 2 * 1024 * 1024;
/** A request, body included, must be here by then, so that slow senders cannot hold all sockets. 3 MB at 1 Mbit/s take 25 s. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer ids in a path than any of ours are unknown, not an error of their own. */
const MAX_PARAM_LENGTH = 500;

/** The HTTP adapter for an application with {@link GatewayModule}: limits, and one id a request, which is its correlation id. */
export function createGatewayAdapter(): FastifyAdapter {
  return new FastifyAdapter({
    bodyLimit: API_BODY_MAX_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    genReqId: () => randomUUID(),
    // An address that the router cannot read comes past every handler. Its own words quote it, and a webhook's key with it.
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      const problem = toProblem(fromThrown(error), request.id);
      void reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
    },
    // While we stop, what comes on an open connection is still taken: NATS and Postgres go last.
    return503OnClosing: false,
    // No Nest middleware here: it would stand before every webhook.
    skipMiddie: true,
  });
}

/**
 * Opens the gateway's doors on an application made with {@link createGatewayAdapter}: webhook, health, API description and its
 * page. Call it once, after the application was created and before it listens.
 */
export async function openGatewayDoors(app: NestFastifyApplication): Promise<void> {
  const { publicUrl } = app.get<GatewayOptions>(GATEWAY_OPTIONS);
  const fastify = app.getHttpAdapter().getInstance();

  // First, so that nothing of what follows applies to it.
  const parts = { keys: app.get(WebhookKeys), bus: app.get(MessageBus), deliveries: app.get(DeliveryBook) };
  await fastify.register(webhookDoor(parts));
  await fastify.register(healthRoutes(app.get(HealthRegistry)));

  fastify.removeContentTypeParser('text/plain');
  // After the body was read: only from here on do all callbacks of the request run under its id.
  fastify.addHook('preHandler', (request, _reply, done) => withCorrelation(request.id, done));
  const isHttps = publicUrl.startsWith('https:');
  app.useSecurityHeaders({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
        imgSrc: ["'self'", 'data:'],
        objectSrc: ["'none'"],
        // The page at /api/docs styles itself.
        styleSrc: ["'self'", "'unsafe-inline'"],
      },
    },
    referrerPolicy: { policy: 'no-referrer' },
    strictTransportSecurity: isHttps,
    xFrameOptions: { action: 'deny' },
  });
  serveApiDocs(app);
}
