import 'reflect-metadata';
import { createGatewayAdapter, openGatewayDoors } from '@answerline/feature-gateway';
import { LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { listenOn, runProcess, type StartingProcess } from '@answerline/lifecycle';
import { createLogger, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { join } from 'node:path';
import { loadGatewayConfig } from './app.config.ts';
import { GatewayAppModule } from './gateway-app.module.ts';

runProcess({ name: 'gateway', start });

async function start(starting: StartingProcess): Promise<void> {
  const { health } = starting;
  const config = loadGatewayConfig();
  const logger = createLogger({ app: 'gateway', level: config.LOG_LEVEL });
  starting.logTo(logger);
  if (config.ALLOW_UNSAFE.length > 0) logger.warn({ settings: config.ALLOW_UNSAFE }, 'Unsafe settings are allowed');

  const database = await Database.connect({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL_SIZE,
    applicationName: 'answerline-gateway',
  });
  starting.onStop('database', () => database.close());
  health.add('database', () => database.isUp());

  const bus = await MessageBus.connect({
    url: config.NATS_URL,
    name: 'answerline-gateway',
    logger,
    profile: 'production',
  });
  starting.onStop('messaging', () => bus.close());
  await bus.reconcile();
  health.add('nats', () => Promise.resolve(bus.problem() === null));

  // rag writes it; a folder that is not there yet is an empty index.
  const index = await LanceKnowledgeIndex.open({ folder: join(config.DATA_DIR, 'index'), mode: 'read' });
  starting.onStop('knowledge index', () => index.close());
  health.add('knowledge_index', () => index.health());

  const app = await NestFactory.create<NestFastifyApplication>(
    GatewayAppModule.forRoot(config, { database, bus, index, health, logger }),
    createGatewayAdapter(),
    { logger: nestLogger(logger), bodyParser: false, abortOnError: false },
  );
  starting.onStop('http', () => app.close());
  await openGatewayDoors(app);
  await listenOn('PORT', () => app.listen(config.PORT, config.HOST));
  logger.info({ port: config.PORT }, 'Listening');
}
