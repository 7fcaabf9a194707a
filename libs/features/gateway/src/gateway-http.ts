import { withCorrelation } from '@answerline/logging';
import { HealthRegistry, healthRoutes } from '@answerline/lifecycle';
import { MessageBus } from '@answerline/messaging';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { type Socket } from 'node:net';
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
/** How soon a connection ends whose last request was answered while we close. */
const END_IDLE_EVERY_MS = 50;

/** The HTTP adapter for an application with {@link GatewayModule}: limits, and one id a request, which is its correlation id. */
export function createGatewayAdapter(): FastifyAdapter {
  const adapter = new FastifyAdapter({
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
  endSilentConnectionsOnClose(adapter.getInstance());
  return adapter;
}

/**
 * Connections on which nothing was sent yet (browsers and load balancers open them ahead) are no idle ones to Node, whose
 * `server.close()` would wait for them as long as they stay. So it would for those whose request is answered after that: it ends
 * idle ones once, when it is called, and clients keep theirs for a minute.
 */
function endSilentConnectionsOnClose(fastify: FastifyInstance): void {
  const silent = new Set<Socket>();
  let isClosing = false;
  fastify.server.on('connection', (socket: Socket) => {
    if (isClosing) return void socket.destroy();
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  fastify.server.on('request', ({ socket }: { readonly socket: Socket }) => silent.delete(socket));
  fastify.addHook('preClose', (done) => {
    isClosing = true;
    for (const socket of silent) if (socket.bytesRead === 0) socket.destroy();
    const ending = setInterval(() => fastify.server.closeIdleConnections(), END_IDLE_EVERY_MS);
    fastify.server.once('close', () => clearInterval(ending));
    done();
  });
}

/**
 * Opens the gateway's doors on an application made with {@link createGatewayAdapter}: webhook, health, API description and its
 * page. Call it once, after the application was created and before it listens.
 */
export async function openGatewayDoors(app: NestFastifyApplication): Promise<void> {
  const { publicUrl } = app.get<GatewayOptions>(GATEWAY_OPTIONS);
  const fastify = app.getHttpAdapter().getInstance();

  // Awaited, so that the hooks added below do not run for webhooks: they would cost a tenth of what a delivery costs.
  const parts = { keys: app.get(WebhookKeys), bus: app.get(MessageBus), deliveries: app.get(DeliveryBook) };
  await fastify.register(webhookDoor(parts));

  fastify.removeContentTypeParser('text/plain');
  const headers = secureHeaders(publicUrl);
  fastify.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers);
    done();
  });
  // After the body was read: only from here on do all callbacks of the request run under its id.
  fastify.addHook('preHandler', (request, _reply, done) => withCorrelation(request.id, done));
  await fastify.register(healthRoutes(app.get(HealthRegistry)));
  serveApiDocs(app);
}

/** What browsers are told about everything but webhooks (OWASP HTTP Headers Cheat Sheet). No other site may read or frame it. */
function secureHeaders(publicUrl: string): Record<string, string> {
  return {
    // The page at /api/docs has its scripts in files and styles itself.
    'content-security-policy':
      "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src 'self' data:; " +
      "object-src 'none'; style-src 'self' 'unsafe-inline'",
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    ...(publicUrl.startsWith('https:') && { 'strict-transport-security': 'max-age=31536000' }),
  };
}
