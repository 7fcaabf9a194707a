import { randomBytes } from 'node:crypto';
import { Secret } from '@answerline/config';
import { createGatewayAdapter, GatewayModule, openGatewayDoors } from '@answerline/feature-gateway';
import { IngestModule } from '@answerline/feature-ingest';
import { NotifierModule } from '@answerline/feature-notifier';
import { RagModule } from '@answerline/feature-rag';
import { KnowledgeIndex, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, Embedder } from '@answerline/language-model';
import { HealthRegistry } from '@answerline/lifecycle';
import { createLogger, LOGGER } from '@answerline/logging';
import { Mailer, NoMailer } from '@answerline/mail';
import { MessageBus } from '@answerline/messaging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { Database, migrateDatabase } from '@answerline/persistence';
import { PartsModule } from '@answerline/process-parts';
import { RagClient } from '@answerline/rag-client';
import { SecretBox } from '@answerline/secrets';
import {
  captureLogs,
  createTestDatabase,
  freePort,
  startTestNats,
  startTestSandbox,
  tempDir,
  type TestSandbox,
} from '@answerline/testing';
import { GraphClient, GraphManagement } from '@answerline/whatsapp';
import { type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';

/** Gateway, ingest, rag and notifier in this process, on a Postgres, a NATS and an index of their own, with the sandbox as Meta. */
export interface WholeProduct {
  readonly database: Database;
  readonly bus: MessageBus;
  readonly sandbox: TestSandbox;
  readonly operatorKey: string;
  /** Calls the API; an answer of 500 or more is an error that has our log in it. */
  call<Body>(
    key: string,
    method: string,
    path: string,
    body?: object,
  ): Promise<{ readonly status: number; readonly body: Body }>;
  close(): Promise<void>;
}

/** Starts it. With two workers, rag and notifier are there twice, each with connections of its own. */
export async function startWholeProduct(answerer: Answerer, workers: 1 | 2 = 1): Promise<WholeProduct> {
  const [testDatabase, nats, sandbox, port] = await Promise.all([
    createTestDatabase(migrateDatabase),
    startTestNats(),
    startTestSandbox(),
    freePort(),
  ]);
  const logs = captureLogs();
  const logger = createLogger({ app: 'spec', level: 'error', destination: logs.stream });
  const origin = `http://127.0.0.1:${String(port)}`;
  const operatorKey = randomBytes(24).toString('hex');
  const index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  const closing: (() => Promise<unknown>)[] = [];

  const connect = async (name: string) => {
    const database = await Database.connect({ url: testDatabase.url, applicationName: name });
    const bus = await MessageBus.connect({ url: nats.url, token: nats.token, name, logger, profile: 'standalone' });
    closing.push(() => Promise.all([bus.close(), database.close()]));
    await bus.reconcile();
    const parts = PartsModule.of([
      [LOGGER, logger],
      [HealthRegistry, new HealthRegistry()],
      [Database, database],
      [MessageBus, bus],
      [KnowledgeIndex, index],
      [Answerer, answerer],
      [Embedder, null],
      // Nobody asks by API here.
      [RagClient, new RagClient({ url: 'grpc://127.0.0.1:1', token: 'none' })],
      [SecretBox, sandbox.secrets],
      [GraphClient, new GraphClient({ baseUrl: sandbox.url, version: 'v26.0' })],
      [GraphManagement, new GraphManagement({ baseUrl: sandbox.url, version: 'v26.0' })],
      [Mailer, new NoMailer()],
    ]);
    return { database, bus, parts };
  };
  const notifier = NotifierModule.forRoot({ publicUrl: origin, operatorEmail: undefined, upgradeUrl: undefined });

  const { database, bus, parts } = await connect('whole-product');
  const gateway = GatewayModule.forRoot({
    publicUrl: origin,
    operatorKey: new Secret(operatorKey),
    defaultPlan: 'scale',
    upgradeUrl: undefined,
    requireAppSecret: true,
  });
  const module = await Test.createTestingModule({
    imports: [parts, gateway, IngestModule, RagModule, notifier],
  }).compile();
  const app = module.createNestApplication<NestFastifyApplication>(createGatewayAdapter(), { bodyParser: false });
  await openGatewayDoors(app);
  await app.listen(port, '127.0.0.1');
  let second: INestApplicationContext | undefined;
  if (workers === 2) {
    const { parts: others } = await connect('second-workers');
    second = await NestFactory.createApplicationContext(
      { module: SecondWorkers, imports: [others, RagModule, notifier] },
      { logger: false },
    );
  }

  return {
    database,
    bus,
    sandbox,
    operatorKey,
    call: async <Body>(key: string, method: string, path: string, body?: object) => {
      const response = await fetch(`${origin}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      if (response.status >= 500) throw new Error(`${method} ${path}: ${String(response.status)}\n${logs.text()}`);
      return { status: response.status, body: (await response.json()) as Body };
    },
    close: async () => {
      await Promise.all([app.close(), second?.close()]);
      await closeOperatorConnections();
      for (const close of closing) await close();
      await Promise.all([index.close(), sandbox.close()]);
      await Promise.all([nats.stop(), testDatabase.drop()]);
    },
  };
}

class SecondWorkers {}
