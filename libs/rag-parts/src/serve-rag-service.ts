import { requirePort } from '@answerline/lifecycle';
import { RAG_SERVICE_LIMITS, ragPackageDefinition } from '@answerline/rag-client';
import { type INestApplication } from '@nestjs/common';
import { type GrpcOptions, Transport } from '@nestjs/microservices';
import { isIPv6 } from 'node:net';

/** A caller whose machine vanished holds its calls for 15 s and not until their deadlines. */
const KEEPALIVE = { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 5_000 } as const;

/**
 * Serves answerline.rag.v1 with the application's controllers, on `host` and `port`; resolves when it listens. It is closed with the
 * application. There is no encryption: whatever can reach `host` may read along.
 *
 * @throws ConfigError when the port cannot be had
 */
export async function serveRagService(
  app: INestApplication,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  await requirePort('GRPC_PORT', port, host);
  app.connectMicroservice<GrpcOptions>({
    transport: Transport.GRPC,
    options: {
      url: `${isIPv6(host) ? `[${host}]` : host}:${String(port)}`,
      package: 'answerline.rag.v1',
      packageDefinition: ragPackageDefinition,
      maxReceiveMessageLength: RAG_SERVICE_LIMITS.requestMaxBytes,
      maxSendMessageLength: RAG_SERVICE_LIMITS.responseMaxBytes,
      keepalive: KEEPALIVE,
      gracefulShutdown: true,
    },
  });
  await app.startAllMicroservices();
}
