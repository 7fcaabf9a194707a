import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { migrateDatabase } from '@answerline/persistence';
import type { BareWebhookOptions } from './bare-webhook.ts';
import { formatted, judge, median, printTable } from './figures.ts';
import { ManagementApi } from './management-api.ts';
import { Sandbox } from './sandbox.ts';
import { processorMs } from './processor-time.ts';
import { withOptions } from './process-options.ts';
import type { WebhookLoad, WebhookLoadResult } from './webhook-load.ts';
import { Workplace } from './workplace.ts';

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '32' },
  },
});
const rounds = Number(given.rounds);
const seconds = Number(given.seconds);
const connections = Number(given.connections);
/** More than the fastest machine takes in that time; about 1.2 kB each. */
const requestsPerSecond = 15_000;

/** DESIGN 10. */
const targets = { requestsRatio: 0.8, p99Ratio: 1.5 };

interface Door {
  readonly name: 'floor' | 'gateway';
  readonly url: string;
  readonly pid: number;
  readonly stream: string;
}

interface Measured extends WebhookLoadResult {
  readonly requestsPerSecond: number;
  readonly processorUs: number;
  readonly stored: number;
}

await Workplace.use(async (workplace) => {
  const appSecret = randomBytes(16).toString('hex');
  const gateway = await startGateway(workplace, appSecret);
  // It copies the settings of WEBHOOKS, which the gateway has made.
  const floor = await startFloor(workplace, appSecret);
  const connection = await connect({ servers: workplace.nats.url, token: workplace.nats.token });
  const manager = await jetstreamManager(connection);

  console.log(`Webhook accepted: ${connections} connections, ${seconds} s a run, ${rounds} rounds, after a warm-up`);
  for (const door of [floor, gateway]) await measure(workplace, manager, door, appSecret, Math.min(seconds, 3));
  const pairs: { floor: Measured; gateway: Measured }[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const pair = {
      floor: await measure(workplace, manager, floor, appSecret, seconds),
      gateway: await measure(workplace, manager, gateway, appSecret, seconds),
    };
    pairs.push(pair);
    printTable(
      (['floor', 'gateway'] as const).map((name) => {
        const run = pair[name];
        return [
          `${round}. ${name}`,
          `${Math.round(run.requestsPerSecond)}/s`,
          `p50 ${formatted(run.p50Ms)} ms`,
          `p99 ${formatted(run.p99Ms)} ms`,
          `${formatted(run.processorUs)} processor-µs each`,
          `${run.acknowledged} acknowledged, ${run.stored} stored`,
        ];
      }),
    );
  }
  await connection.close();
  if (!report(pairs)) process.exitCode = 1;
});

function report(pairs: readonly { floor: Measured; gateway: Measured }[]): boolean {
  const of = (name: 'floor' | 'gateway', pick: (run: Measured) => number) =>
    median(pairs.map((pair) => pick(pair[name])));
  const rows = (['floor', 'gateway'] as const).map((name) => [
    name,
    Math.round(of(name, (run) => run.requestsPerSecond)).toString(),
    of(name, (run) => run.p50Ms),
    of(name, (run) => run.p99Ms),
    of(name, (run) => run.processorUs),
  ]);
  console.log('\nMedian of the rounds');
  printTable([['', 'requests/s', 'p50 ms', 'p99 ms', 'processor-µs'], ...rows]);
  const ratio = (pick: (run: Measured) => number) => median(pairs.map((pair) => pick(pair.gateway) / pick(pair.floor)));
  const runs = pairs.flatMap((pair) => [pair.floor, pair.gateway]);
  return [
    judge(
      'requests/s, gateway over floor',
      ratio((run) => run.requestsPerSecond),
      '≥',
      targets.requestsRatio,
    ),
    judge(
      'p99, gateway over floor',
      ratio((run) => run.p99Ms),
      '≤',
      targets.p99Ratio,
    ),
    judge('acknowledged and not stored', Math.max(...runs.map((run) => run.acknowledged - run.stored)), '≤', 0),
    judge('refused', Math.max(...runs.map((run) => run.refused)), '≤', 0),
  ].every(Boolean);
}

async function measure(
  workplace: Workplace,
  manager: JetStreamManager,
  door: Door,
  appSecret: string,
  runSeconds: number,
): Promise<Measured> {
  await manager.streams.purge(door.stream);
  const load: WebhookLoad = {
    url: door.url,
    appSecret,
    connections,
    seconds: runSeconds,
    requests: Math.ceil(requestsPerSecond * runSeconds),
  };
  const before = processorMs(door.pid);
  const generator = await workplace.start('webhook-load', {
    file: 'bench/webhook-load.ts',
    env: withOptions(load),
    ready: /^\{.*\}$/,
  });
  const usedMs = processorMs(door.pid) - before;
  const result = JSON.parse(generator.readyLine) as WebhookLoadResult;
  await generator.stop();
  const { state } = await manager.streams.info(door.stream);
  return {
    ...result,
    requestsPerSecond: result.acknowledged / result.seconds,
    processorUs: (usedMs * 1000) / result.acknowledged,
    stored: state.messages,
  };
}

async function startFloor(workplace: Workplace, appSecret: string): Promise<Door> {
  const stream = 'FLOOR';
  const options: BareWebhookOptions = {
    natsUrl: workplace.nats.url,
    natsToken: workplace.nats.token,
    stream,
    appSecret,
  };
  const floor = await workplace.start('floor', {
    file: 'bench/webhook-floor.ts',
    env: withOptions(options),
    ready: /^READY /,
  });
  return { name: 'floor', url: floor.readyLine.slice('READY '.length), pid: floor.pid, stream };
}

/** The gateway alone: without ingest nothing reads the stream, as nothing reads that of the floor. */
async function startGateway(workplace: Workplace, appSecret: string): Promise<Door> {
  await migrateDatabase(workplace.postgres.url);
  const port = await workplace.freePort();
  const url = `http://127.0.0.1:${port}`;
  const operatorKey = randomBytes(24).toString('hex');
  const sandbox = await Sandbox.start(workplace);
  const { pid } = await workplace.start('gateway', {
    file: 'apps/gateway/dist/main.js',
    env: {
      PORT: String(port),
      DATA_DIR: workplace.folder,
      DATABASE_URL: workplace.postgres.url,
      NATS_URL: workplace.natsUrl,
      PUBLIC_URL: url,
      META_GRAPH_BASE_URL: sandbox.url,
      ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      OPERATOR_KEY: operatorKey,
      // Nobody searches here.
      RAG_URL: 'grpc://127.0.0.1:1',
      INTERNAL_TOKEN: randomBytes(24).toString('hex'),
    },
    ready: { url: `${url}/health/ready` },
  });
  const api = await ManagementApi.ofNewWorkspace(url, operatorKey);
  const number = { phoneNumberId: '106540352242922', appSecret, accessToken: randomBytes(16).toString('hex') };
  await sandbox.addNumber(number);
  const { webhookPath } = await api.connectWhatsApp(await api.createChatbot(), number);
  return { name: 'gateway', url: `${url}${webhookPath}`, pid, stream: 'WEBHOOKS' };
}
