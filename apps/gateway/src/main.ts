import 'reflect-metadata';
import { loadConfig, readEnvironment, type SettingName } from '@answerline/config';
import { createGatewayAdapter, GatewayModule, openGatewayDoors } from '@answerline/feature-gateway';
import { KnowledgeIndex } from '@answerline/knowledge-index';
import { HealthRegistry, listenOn, runProcess, type StartingProcess } from '@answerline/lifecycle';
import { LOGGER, nestLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import {
  checkedStart,
  commonSettings,
  connectDatabase,
  connectMessageBus,
  openKnowledgeIndex,
  PartsModule,
} from '@answerline/process-parts';
import { SecretBox } from '@answerline/secrets';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';

const names = [
  ...commonSettings,
  'OPERATOR_KEY',
  'DEFAULT_PLAN',
  'UPGRADE_URL',
  'REQUIRE_APP_SECRET',
] as const satisfies readonly SettingName[];

runProcess({ name: 'gateway', start });

async function start(starting: StartingProcess): Promise<void> {
  const env = readEnvironment();
  const config = loadConfig(names, env, { required: ['DATABASE_URL', 'NATS_URL', 'ENCRYPTION_KEYS'] });
  const { logger } = checkedStart(starting, 'gateway', config, env);

  const name = 'gateway';
  const parts = PartsModule.of([
    [LOGGER, logger],
    [HealthRegistry, starting.health],
    [
      Database,
      await connectDatabase(starting, { name, url: config.DATABASE_URL, poolSize: config.DATABASE_POOL_SIZE }),
    ],
    [MessageBus, await connectMessageBus(starting, { name, url: config.NATS_URL, profile: 'production', logger })],
    // rag writes it; a folder that is not there yet is an empty index.
    [KnowledgeIndex, await openKnowledgeIndex(starting, { dataDir: config.DATA_DIR, mode: 'read' })],
    [SecretBox, new SecretBox(config.ENCRYPTION_KEYS.reveal())],
  ]);
  const gateway = GatewayModule.forRoot({
    publicUrl: config.PUBLIC_URL ?? `http://localhost:${String(config.PORT)}`,
    operatorKey: config.OPERATOR_KEY,
    defaultPlan: config.DEFAULT_PLAN,
    upgradeUrl: config.UPGRADE_URL,
    requireAppSecret: config.REQUIRE_APP_SECRET,
  });
  const app = await NestFactory.create<NestFastifyApplication>(
    { module: GatewayAppModule, imports: [parts, gateway] },
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
