import 'reflect-metadata';
import { loadConfig, readEnvironment } from '@answerline/config';
import { RagServiceModule } from '@answerline/feature-rag';
import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, Embedder } from '@answerline/language-model';
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
import { languageModelSettings, openKnowledgeIndex, openLanguageModels, serveRagService } from '@answerline/rag-parts';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';

runProcess({ name: 'rag', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig(
    [...commonSettings, ...languageModelSettings, 'ELASTICSEARCH_URL', 'GRPC_PORT', 'INTERNAL_TOKEN'],
    env,
    {
      required: ['DATABASE_URL', 'NATS_URL', 'GRPC_PORT', 'INTERNAL_TOKEN'],
    },
  );
  const { logger } = checkedStart(starting, 'rag', config, env);

  const health = await listenOn('PORT', () =>
    startHealthServer({ host: config.HOST, port: config.PORT, registry: starting.health }),
  );
  starting.onStop('health', () => health.stop());
  const name = 'rag';
  const { answerer, embedder } = openLanguageModels(starting, config);
  const parts = PartsModule.of([
    [LOGGER, logger],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    [
      KnowledgeIndex,
      await openKnowledgeIndex(starting, { dataDir: config.DATA_DIR, elasticsearchUrl: config.ELASTICSEARCH_URL }),
    ],
    [Answerer, answerer],
    [Embedder, embedder],
  ]);

  // It listens for gRPC only. Nest stops the work of an application with a microservice before it closes the door of that, and of
  // one that is nothing but a microservice after.
  const app = await NestFactory.create(
    { module: RagAppModule, imports: [parts, RagServiceModule.forRoot({ token: config.INTERNAL_TOKEN })] },
    new FastifyAdapter(),
    { logger: nestLogger(logger), bodyParser: false, abortOnError: false },
  );
  starting.onStop('rag', () => app.close());
  await serveRagService(app, { host: config.HOST, port: config.GRPC_PORT });
  await app.init();
  logger.info({ port: health.port }, 'Ready');
}

@Module({})
class RagAppModule {}
