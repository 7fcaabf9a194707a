import { fastify } from 'fastify';
import type { HealthRegistry } from './health-registry.ts';
import { healthRoutes } from './health-routes.ts';
import { listenOn } from './listen-on.ts';

/**
 * Serves {@link healthRoutes} for a process that has no HTTP of its own, on `port` (0: any free one).
 * @returns the port it listens on, and `stop`, which closes it at once
 * @throws ConfigError when the port cannot be had
 */
export async function startHealthServer(options: {
  readonly host: string;
  readonly port: number;
  readonly registry: HealthRegistry;
}): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const { host, port, registry } = options;
  const server = fastify({ forceCloseConnections: true });
  await server.register(healthRoutes(registry));
  await listenOn('PORT', () => server.listen({ host, port }));
  const address = server.server.address();
  return { port: typeof address === 'object' && address ? address.port : port, stop: () => server.close() };
}
