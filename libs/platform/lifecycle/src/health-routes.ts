import type { FastifyPluginAsync } from 'fastify';
import type { HealthRegistry } from './health-registry.ts';

/**
 * A Fastify plugin with `GET /health/live` (200 while the process runs) and `GET /health/ready` (200, or 503 with the names of
 * the failing checks). For a Nest app: `app.getHttpAdapter().getInstance().register(healthRoutes(registry))` before it listens.
 */
export function healthRoutes(registry: HealthRegistry): FastifyPluginAsync {
  return async (fastify) => {
    fastify.get('/health/live', (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' }));
    fastify.get('/health/ready', async (_request, reply) => {
      const { ready, failing } = await registry.ready();
      reply.header('cache-control', 'no-store').code(ready ? 200 : 503);
      return ready ? { status: 'ok' } : { status: 'unavailable', failing };
    });
  };
}
