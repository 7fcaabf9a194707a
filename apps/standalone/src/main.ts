import 'reflect-metadata';
import { join, resolve } from 'node:path';
import { loadConfig, readEnvironment } from '@answerline/config';
import { freePort } from '@answerline/embedded-services';
import { createGatewayAdapter, GatewayModule, openGatewayDoors } from '@answerline/feature-gateway';
import { IngestModule } from '@answerline/feature-ingest';
import { NotifierModule } from '@answerline/feature-notifier';
import { RagServiceModule } from '@answerline/feature-rag';
import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, Embedder } from '@answerline/language-model';
import { HealthRegistry, listenOn, requirePort, runProcess, type StartingProcess } from '@answerline/lifecycle';
import { LOGGER, nestLogger } from '@answerline/logging';
import { Mailer, mailSettings, openMailer } from '@answerline/mail';
import { MessageBus } from '@answerline/messaging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  checkedStart,
  connectDatabase,
  connectMessageBus,
  gatewayOptions,
  gatewaySettings,
  graphClient,
  graphManagement,
  PartsModule,
  ragClient,
} from '@answerline/process-parts';
import { RagClient } from '@answerline/rag-client';
import { languageModelSettings, openKnowledgeIndex, openLanguageModels, serveRagService } from '@answerline/rag-parts';
import { startSandbox } from '@answerline/sandbox';
import { SecretBox } from '@answerline/secrets';
import { GraphClient, GraphManagement } from '@answerline/whatsapp';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { ensureDemo, waitingLine } from './demo.ts';
import { startMissingServices } from './embedded-parts.ts';
import { withGeneratedSecrets } from './generated-secrets.ts';

/** On the terminal of somebody who tries it out, only what needs attention; LOG_LEVEL changes it. */
const QUIET = 'warn';
/** Whoever reaches the sandbox can write as anybody. */
const SANDBOX_HOST = '127.0.0.1';
/** Only this process calls it, and whoever tries it out here. */
const GRPC_HOST = '127.0.0.1';

runProcess({ name: 'answerline', start });

/** Gateway, ingest, rag and notifier in one process, on embedded parts for each URL that is not set. */
async function start(starting: StartingProcess): Promise<void> {
  const outer = readEnvironment();
  const dataDir = resolve(outer['DATA_DIR'] || '.answerline');
  const { env, generated } = withGeneratedSecrets({ LOG_LEVEL: QUIET, ...outer, DATA_DIR: dataDir }, dataDir);
  const config = loadConfig(
    [
      ...gatewaySettings,
      ...languageModelSettings,
      ...mailSettings,
      'SANDBOX_SMTP_PORT',
      'ELASTICSEARCH_URL',
      'GRPC_PORT',
      'INTERNAL_TOKEN',
    ],
    env,
    {
      required: ['ENCRYPTION_KEYS', 'OPERATOR_KEY', 'INTERNAL_TOKEN'],
    },
  );
  const { logger, hasSandbox, graphBaseUrl } = checkedStart(starting, 'answerline', config, outer, generated);

  const { databaseUrl, natsUrl, natsToken } = await startMissingServices(starting, config, say);
  await requirePort('PORT', config.PORT, config.HOST);
  if (hasSandbox) await requirePort('SANDBOX_PORT', config.SANDBOX_PORT, SANDBOX_HOST);
  say('Preparing the database …');
  await migrateDatabase(databaseUrl);

  const name = 'standalone';
  const database = await connectDatabase(starting, { name, url: databaseUrl, poolSize: config.DATABASE_POOL_SIZE });
  const bus = await connectMessageBus(starting, {
    name,
    url: natsUrl,
    ...(natsToken === undefined ? {} : { token: natsToken }),
    profile: 'standalone',
    logger,
  });
  const index = await openKnowledgeIndex(starting, { dataDir, elasticsearchUrl: config.ELASTICSEARCH_URL });
  const { answerer, embedder } = openLanguageModels(starting, config);
  const sandbox = hasSandbox
    ? await startSandbox({
        host: SANDBOX_HOST,
        port: config.SANDBOX_PORT,
        smtpPort: config.SANDBOX_SMTP_PORT,
        dataDir,
        production: config.NODE_ENV === 'production',
      })
    : undefined;
  if (sandbox) starting.onStop('sandbox', () => sandbox.close());
  const mailer = openMailer(config, sandbox?.smtpUrl);
  starting.onStop('mailer', () => mailer.close());

  const grpcPort = config.GRPC_PORT ?? (await freePort(GRPC_HOST));
  const rag = ragClient(starting, { url: `grpc://${GRPC_HOST}:${String(grpcPort)}`, token: config.INTERNAL_TOKEN });
  const parts = PartsModule.of([
    [LOGGER, logger],
    [HealthRegistry, starting.health],
    [Database, database],
    [MessageBus, bus],
    [KnowledgeIndex, index],
    [Answerer, answerer],
    [Embedder, embedder],
    [RagClient, rag],
    [SecretBox, new SecretBox(config.ENCRYPTION_KEYS.reveal())],
    [GraphClient, graphClient(starting, { baseUrl: graphBaseUrl, version: config.META_GRAPH_VERSION })],
    [GraphManagement, graphManagement(starting, { baseUrl: graphBaseUrl, version: config.META_GRAPH_VERSION })],
    [Mailer, mailer],
  ]);
  const gateway = gatewayOptions(config);
  const app = await NestFactory.create<NestFastifyApplication>(
    {
      module: StandaloneModule,
      imports: [
        parts,
        GatewayModule.forRoot(gateway),
        IngestModule,
        RagServiceModule.forRoot({ token: config.INTERNAL_TOKEN }),
        NotifierModule.forRoot({ ...gateway, operatorEmail: config.OPERATOR_EMAIL }),
      ],
    },
    createGatewayAdapter(),
    { logger: nestLogger(logger), bodyParser: false, abortOnError: false },
  );
  starting.onStop('application', () => app.close());
  await openGatewayDoors(app);
  await serveRagService(app, { host: GRPC_HOST, port: grpcPort });
  await listenOn('PORT', () => app.listen(config.PORT, config.HOST));

  const localUrl = `http://127.0.0.1:${String(config.PORT)}`;
  let waitsFor: string | null = null;
  if (sandbox) {
    const operatorKey = config.OPERATOR_KEY.reveal();
    waitsFor = await ensureDemo({
      baseUrl: localUrl,
      publicUrl: gateway.publicUrl,
      sandboxUrl: sandbox.url,
      operatorKey,
      file: join(dataDir, 'demo.json'),
    });
  }
  say('');
  say('Answerline ready');
  if (sandbox) {
    const phoneUrl = `http://localhost:${new URL(sandbox.url).port}`;
    say(`  Phone    ${phoneUrl}   write to the demo bakery as a customer (a simulator, not Meta)`);
  }
  say(
    `  API      ${gateway.publicUrl}/api/docs   ${sandbox ? 'try it with the apiKey out of the file below' : ''}`.trimEnd(),
  );
  if (sandbox) say(`  Keys     ${join(dataDir, 'demo.json')}`);
  if (waitsFor !== null) say(waitingLine(waitsFor));
  say(`Everything is kept in ${dataDir}. Stop with Ctrl-C.`);
  starting.onStop('terminal', () => say('Stopping …'));
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

@Module({})
class StandaloneModule {}
