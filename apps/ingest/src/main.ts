import 'reflect-metadata';
import { loadConfig, readEnvironment } from '@answerline/config';
import { IngestModule } from '@answerline/feature-ingest';

import { listenOn, runProcess, startHealthServer, type StartingProcess } from '@answerline/lifecycle';
import { LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import {
  checkedStart,
  commonSettings,
  connectDatabase,
  connectMessageBus,
  PartsModule,
} from '@answerline/process-parts';
import { SecretBox } from '@answerline/secrets';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

runProcess({ name: 'ingest', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig([...commonSettings, 'ENCRYPTION_KEYS'], env, {
    required: ['DATABASE_URL', 'NATS_URL', 'ENCRYPTION_KEYS'],
  });
  const { logger } = checkedStart(starting, 'ingest', config, env);

  const health = await listenOn('PORT', () =>
    startHealthServer({ host: config.HOST, port: config.PORT, registry: starting.health }),
  );
  starting.onStop('health', () => health.stop());
  const name = 'ingest';
  const parts = PartsModule.of([
    [LOGGER, logger],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    [SecretBox, new SecretBox(config.ENCRYPTION_KEYS.reveal())],
  ]);

  const app = await NestFactory.createApplicationContext(
    { module: IngestAppModule, imports: [parts, IngestModule] },
    { logger: nestLogger(logger), abortOnError: false },
  );
  starting.onStop('ingest', () => app.close());
  logger.info({ port: health.port }, 'Ready');
}

@Module({})
class IngestAppModule {}
