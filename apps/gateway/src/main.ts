import 'reflect-metadata';
import { loadConfig, readEnvironment } from '@answerline/config';
import { createGatewayAdapter, GatewayModule, openGatewayDoors } from '@answerline/feature-gateway';
import { HealthRegistry, listenOn, runProcess, type StartingProcess } from '@answerline/lifecycle';
import { LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import {
  checkedStart,
  connectDatabase,
  connectMessageBus,
  gatewayOptions,
  gatewaySettings,
  graphManagement,
  PartsModule,
  ragClient,
} from '@answerline/process-parts';
import { RagClient } from '@answerline/rag-client';
import { SecretBox } from '@answerline/secrets';
import { GraphManagement } from '@answerline/whatsapp';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';

runProcess({ name: 'gateway', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig([...gatewaySettings, 'RAG_URL', 'INTERNAL_TOKEN'], env, {
    required: ['DATABASE_URL', 'NATS_URL', 'ENCRYPTION_KEYS', 'RAG_URL', 'INTERNAL_TOKEN'],
  });
  const { logger, graphBaseUrl } = checkedStart(starting, 'gateway', config, env);

  const name = 'gateway';
  const parts = PartsModule.of([
    [LOGGER, logger],
    [HealthRegistry, starting.health],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    [RagClient, ragClient(starting, { url: config.RAG_URL, token: config.INTERNAL_TOKEN })],
    [SecretBox, new SecretBox(config.ENCRYPTION_KEYS.reveal())],
    [GraphManagement, graphManagement(starting, { baseUrl: graphBaseUrl, version: config.META_GRAPH_VERSION })],
  ]);
  const app = await NestFactory.create<NestFastifyApplication>(
    { module: GatewayAppModule, imports: [parts, GatewayModule.forRoot(gatewayOptions(config))] },
    createGatewayAdapter(),
    { logger: nestLogger(logger), bodyParser: false, abortOnError: false },
  );
  starting.onStop('http', () => app.close());
  await openGatewayDoors(app);
  await listenOn('PORT', () => app.listen(config.PORT, config.HOST));
  logger.info({ port: config.PORT }, 'Ready');
}

@Module({})
class GatewayAppModule {}
