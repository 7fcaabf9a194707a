import 'reflect-metadata';
import { loadConfig, readEnvironment } from '@answerline/config';
import { RagModule } from '@answerline/feature-rag';
import { KnowledgeIndex } from '@answerline/knowledge-index';
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
  openKnowledgeIndex,
} from '@answerline/process-parts';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

runProcess({ name: 'rag', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig(commonSettings, env, { required: ['DATABASE_URL', 'NATS_URL'] });
  const { logger } = checkedStart(starting, 'rag', config, env);

  const health = await listenOn('PORT', () =>
    startHealthServer({ host: config.HOST, port: config.PORT, registry: starting.health }),
  );
  starting.onStop('health', () => health.stop());
  const name = 'rag';
  const parts = PartsModule.of([
    [LOGGER, logger],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    [KnowledgeIndex, await openKnowledgeIndex(starting, { dataDir: config.DATA_DIR, mode: 'write' })],
  ]);

  const app = await NestFactory.createApplicationContext(
    { module: RagAppModule, imports: [parts, RagModule] },
    { logger: nestLogger(logger), abortOnError: false },
  );
  starting.onStop('rag', () => app.close());
  logger.info({ port: health.port }, 'Ready');
}

@Module({})
class RagAppModule {}
