import 'reflect-metadata';
import { loadConfig, readEnvironment } from '@answerline/config';
import { NotifierModule } from '@answerline/feature-notifier';
import { Mailer, mailSettings, openMailer } from '@answerline/mail';
import { SecretBox } from '@answerline/secrets';
import { GraphClient } from '@answerline/whatsapp';
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
  graphClient,
} from '@answerline/process-parts';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** Where a gateway listens that nobody told otherwise; our own PORT is another one. */
const GATEWAY_PORT = 3000;

runProcess({ name: 'notifier', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig([...commonSettings, ...mailSettings, 'ENCRYPTION_KEYS', 'UPGRADE_URL'], env, {
    required: ['DATABASE_URL', 'NATS_URL', 'ENCRYPTION_KEYS'],
  });
  const { logger, graphBaseUrl } = checkedStart(starting, 'notifier', config, env);

  const health = await listenOn('PORT', () =>
    startHealthServer({ host: config.HOST, port: config.PORT, registry: starting.health }),
  );
  starting.onStop('health', () => health.stop());
  const name = 'notifier';
  const mailer = openMailer(config);
  starting.onStop('mailer', () => mailer.close());
  const parts = PartsModule.of([
    [LOGGER, logger],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    [GraphClient, graphClient(starting, { baseUrl: graphBaseUrl, version: config.META_GRAPH_VERSION })],
    [SecretBox, new SecretBox(config.ENCRYPTION_KEYS.reveal())],
    [Mailer, mailer],
  ]);
  const notifier = NotifierModule.forRoot({
    operatorEmail: config.OPERATOR_EMAIL,
    upgradeUrl: config.UPGRADE_URL,
    publicUrl: config.PUBLIC_URL ?? `http://localhost:${String(GATEWAY_PORT)}`,
  });

  const app = await NestFactory.createApplicationContext(
    { module: NotifierAppModule, imports: [parts, notifier] },
    { logger: nestLogger(logger), abortOnError: false },
  );
  starting.onStop('notifier', () => app.close());
  logger.info({ port: health.port }, 'Ready');
}

@Module({})
class NotifierAppModule {}
