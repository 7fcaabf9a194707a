import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Pool } from 'pg';
import { Customers, type AnsweredTurn } from './customers.ts';
import { formatted, judge, median, percentile, printTable } from './figures.ts';
import { makeKnowledge } from './knowledge.ts';
import { ManagementApi } from './management-api.ts';
import { startModel } from './model.ts';
import { ProcessorMeter } from './processor-time.ts';
import { withOptions } from './process-options.ts';
import { openElasticsearchServer } from './retrieval/engines.ts';
import { Product } from './product.ts';
import { Sandbox } from './sandbox.ts';
import type { SpineOptions } from './spine.ts';
import { Workplace, type Started } from './workplace.ts';

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '15' },
    'skip-start': { type: 'boolean', default: false },
    extractive: { type: 'boolean', default: false },
    elasticsearch: { type: 'boolean', default: false },
  },
});
const rounds = Number(given.rounds);
const seconds = Number(given.seconds);

/** DESIGN 10. */
const targets = { latencyRatio: 2, latencyAim: 1.25, speedRatio: 0.5, answeredP95Ms: 4_000, startMs: 10_000 };
const perSecond = 50;
/** Messages that wait for an answer at any time, when it goes as fast as it can. */
const waiting = 64;
const passages = 200;
/** What count-statements.ts calls each time the driver is asked. */
const roundTrip = 'ROUND TRIP';
/** DESIGN 3 and the defaults of a chatbot. */
const defaultQuietMs = 1_500;
const defaultQuietMaxMs = 6_000;
const quietPerSecond = 5;
/** What the model of the last row takes, ms. */
const slowModelMs = 1_000;

interface SideRun {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly turnsPerSecond: number;
  /** Processor ms a turn by process, at 50 messages/s and at full speed. */
  readonly steadyProcessorMs: ReadonlyMap<string, number>;
  readonly fullProcessorMs: ReadonlyMap<string, number>;
}

await Workplace.use(async (workplace) => {
  const { postgres, nats } = workplace;
  const knowledge = makeKnowledge(passages);
  const elasticsearch = given.elasticsearch ? await openElasticsearchServer() : undefined;
  if (elasticsearch && 'leftOut' in elasticsearch) throw new Error(elasticsearch.leftOut);
  const model = given.extractive ? undefined : await startModel(workplace, 'model', 0);
  const slowModel = given.extractive ? undefined : await startModel(workplace, 'slow-model', slowModelMs);
  const database = new Pool({ connectionString: postgres.url, max: 2 });
  const sandbox = await Sandbox.start(workplace);
  const product = await Product.at(workplace, sandbox.url);
  const secrets = { appSecret: randomBytes(16).toString('hex'), accessToken: randomBytes(16).toString('hex') };
  const numbers = { product: '106540352242922', spine: '106540352242923' };

  product.configure({
    ...(elasticsearch && { ELASTICSEARCH_URL: elasticsearch.url }),
    ...(model && { OPENAI_BASE_URL: model.url, CHAT_MODEL: 'bench', EMBEDDING_MODEL: 'bench' }),
  });
  await product.startStandalone();
  const api = await ManagementApi.ofNewWorkspace(product.url, product.operatorKey);
  const chatbotId = await api.createChatbot({ quietMs: 0, quietMaxMs: 0 });
  let indexed = 0;
  for (const { title, text } of knowledge.documents) indexed += await api.addSource(chatbotId, title, text);
  await sandbox.addNumber({ phoneNumberId: numbers.product, ...secrets });
  await api.connectWhatsApp(chatbotId, { phoneNumberId: numbers.product, ...secrets });
  await database.query('UPDATE channels SET messages_per_second = 1000');

  // An app and a token of its own: the other app's webhooks go to the product.
  const spineSecrets = { ...secrets, accessToken: randomBytes(16).toString('hex') };
  const spine = await startSpine(workplace, database, {
    ...spineSecrets,
    graphUrl: `${sandbox.url}/v26.0`,
    elasticsearchUrl: elasticsearch?.url,
    modelUrl: model?.url,
  });
  const spineApp = { appId: '2', wabaId: '102290129340399' };
  await sandbox.addNumber({ phoneNumberId: numbers.spine, callbackUrl: spine.url, ...spineApp, ...spineSecrets });

  const around = new Map([
    ['postgres', postgres.pid],
    ['nats-server', nats.pid],
    ['sandbox', sandbox.pid],
    ['load', process.pid],
    ...(model ? [['model', model.pid] as const] : []),
    ...(elasticsearch ? [['elasticsearch', elasticsearch.pid] as const] : []),
  ]);
  const spineCustomers = new Customers(sandbox, numbers.spine, knowledge.questions);
  const customers = new Customers(sandbox, numbers.product, knowledge.questions);
  await spineCustomers.introduce();
  await customers.introduce();

  const parts = `${given.elasticsearch ? 'Elasticsearch' : 'LanceDB'}, ${model ? 'model stub 0 ms' : 'extractive'}`;
  console.log(
    `Turns (${parts}): ${indexed} passages, ${perSecond} messages/s for ${seconds} s, then ${waiting} waiting for ${seconds} s, ${rounds} rounds`,
  );
  const pairs: { spine: SideRun; product: SideRun }[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const pair = {
      spine: await measureSide(spineCustomers, new Map([['spine', spine.pid], ...around])),
      product: await measureSide(customers, new Map([...product.pids, ...around])),
    };
    pairs.push(pair);
    printTable(
      (['spine', 'product'] as const).map((side) => [
        `${round}. ${side}`,
        `p50 ${formatted(pair[side].p50Ms)} ms`,
        `p95 ${formatted(pair[side].p95Ms)} ms`,
        `${formatted(pair[side].turnsPerSecond)} turns/s`,
      ]),
    );
  }
  await spine.stop();
  const verdicts = reportSides(pairs);

  await database.query('UPDATE chatbots SET quiet_ms = $1, quiet_max_ms = $2', [defaultQuietMs, defaultQuietMaxMs]);
  if (slowModel) {
    await product.stop();
    product.configure({ OPENAI_BASE_URL: slowModel.url, EMBEDDING_BASE_URL: model?.url ?? '' });
    await product.startStandalone();
  }
  const quietTurns = await customers.writeSteadily(quietPerSecond, seconds);
  await database.query('UPDATE chatbots SET quiet_ms = 0, quiet_max_ms = 0');
  const answers = slowModel ? `a model that takes ${slowModelMs} ms` : 'extractive answer, 1 s added for a model';
  console.log(`\nDefault quiet window (${defaultQuietMs} ms), ${quietPerSecond} messages/s, ${answers}`);
  const quietP95Ms = percentile(latenciesOf(quietTurns), 0.95) + (slowModel ? 0 : slowModelMs);
  verdicts.push(judge('p95 from webhook to Graph, ms', quietP95Ms, '≤', targets.answeredP95Ms));

  await product.stop();
  if (model) product.configure({ OPENAI_BASE_URL: model.url });
  await product.startServices();
  await customers.writeSteadily(perSecond, 2);
  await reportServices(product, customers, database, around);
  await product.stop();
  await database.end();
  if (elasticsearch) await elasticsearch.stop();

  if (!given['skip-start']) verdicts.push(await measureStart(workplace));
  if (!verdicts.every(Boolean)) process.exitCode = 1;
});

function latenciesOf(turns: readonly AnsweredTurn[]): number[] {
  return turns.map(({ writtenAt, acceptedAt }) => acceptedAt - writtenAt);
}

async function measureSide(customers: Customers, pids: ReadonlyMap<string, number>): Promise<SideRun> {
  const steady = new ProcessorMeter(pids);
  const turns = await customers.writeSteadily(perSecond, seconds);
  const steadyProcessorMs = steady.perTurn(turns.length);
  const latencies = latenciesOf(turns);
  const full = new ProcessorMeter(pids);
  const { turnsPerSecond, turns: atFullSpeed } = await customers.writeAtFullSpeed(waiting, seconds);
  return {
    p50Ms: percentile(latencies, 0.5),
    p95Ms: percentile(latencies, 0.95),
    turnsPerSecond,
    steadyProcessorMs,
    fullProcessorMs: full.perTurn(atFullSpeed),
  };
}

function reportSides(pairs: readonly { spine: SideRun; product: SideRun }[]): boolean[] {
  const sides = ['spine', 'product'] as const;
  const of = (side: (typeof sides)[number], pick: (run: SideRun) => number) =>
    median(pairs.map((pair) => pick(pair[side])));
  console.log('\nMedian of the rounds');
  printTable([
    ['', 'p50 ms', 'p95 ms', 'turns/s'],
    ...sides.map((side) => [
      side,
      of(side, (run) => run.p50Ms),
      of(side, (run) => run.p95Ms),
      of(side, (run) => run.turnsPerSecond),
    ]),
  ]);
  console.log('\nProcessor ms a turn, by process');
  for (const side of sides) {
    const names = [...(pairs[0]?.[side].steadyProcessorMs.keys() ?? [])];
    const at = (when: 'steadyProcessorMs' | 'fullProcessorMs', name: string) =>
      of(side, (run) => run[when].get(name) ?? NaN);
    printTable([
      ['', ...names],
      [`${side}, ${perSecond}/s`, ...names.map((name) => at('steadyProcessorMs', name))],
      [`${side}, full speed`, ...names.map((name) => at('fullProcessorMs', name))],
    ]);
  }
  const ratio = (pick: (run: SideRun) => number) =>
    median(pairs.map(({ spine, product }) => pick(product) / pick(spine)));
  console.log('');
  const latency = ratio((run) => run.p50Ms);
  console.log(`  The aim for p50 is ${targets.latencyAim}.`);
  return [
    judge('p50 from webhook to Graph, product over spine', latency, '≤', targets.latencyRatio),
    judge(
      'turns/s, product over spine',
      ratio((run) => run.turnsPerSecond),
      '≥',
      targets.speedRatio,
    ),
  ];
}

/** Where the time and the processor go, with each stage in a process of its own. */
async function reportServices(
  product: Product,
  customers: Customers,
  database: Pool,
  around: ReadonlyMap<string, number>,
): Promise<void> {
  const commits = async () => {
    const { rows } = await database.query<{ commits: number }>(
      'SELECT xact_commit::float8 AS commits FROM pg_stat_database WHERE datname = current_database()',
    );
    return rows[0]?.commits ?? NaN;
  };
  const before = await product.statements();
  const commitsBefore = await commits();
  const meter = new ProcessorMeter(new Map([...product.pids, ...around]));
  const turns = await customers.writeSteadily(perSecond, seconds);
  const processor = meter.perTurn(turns.length);
  const commitsATurn = ((await commits()) - commitsBefore) / turns.length;
  const after = await product.statements();

  console.log(`\nThe four processes, ${perSecond} messages/s`);
  printTable([
    ['', ...processor.keys()],
    ['processor ms a turn', ...processor.values()],
  ]);
  await reportStages(database, turns);
  console.log('\nStatements a turn (counted at the driver; sweeps and heartbeats included)');
  const rows = [...after].flatMap(([service, counts]) =>
    [...counts].map(([name, count]) => ({
      service,
      name: name.length > 60 ? `${name.slice(0, 60)}…` : name,
      perTurn: (count - (before.get(service)?.get(name) ?? 0)) / turns.length,
    })),
  );
  const isControl = ({ name }: { name: string }) =>
    /^(begin|commit|rollback|discard plans|set plan_cache_mode .*)$/i.test(name);
  const isRoundTrip = ({ name }: { name: string }) => name === roundTrip;
  const isStatement = (row: { name: string }) => !isControl(row) && !isRoundTrip(row);
  const shown = rows.filter(({ perTurn }) => perTurn >= 0.02).toSorted((a, b) => b.perTurn - a.perTurn);
  printTable(shown.map(({ service, name, perTurn }) => [service, name, perTurn]));
  const sum = (list: typeof rows) => list.reduce((total, { perTurn }) => total + perTurn, 0);
  console.log(
    `  ${formatted(sum(rows.filter(isStatement)))} statements (aim 8), ` +
      `${formatted(sum(rows.filter(isRoundTrip)))} round trips, ${formatted(commitsATurn)} commits (aim 4)`,
  );
}

async function reportStages(database: Pool, turns: readonly AnsweredTurn[]): Promise<void> {
  const { rows } = await database.query<{
    id: string;
    stored: number;
    decided: number;
    claimed: number;
    embed: number | null;
    search: number;
    answer: number;
  }>(
    `SELECT m.provider_message_id AS id, extract(epoch FROM m.received_at)::float8 * 1000 AS stored,
            extract(epoch FROM t.created_at)::float8 * 1000 AS decided, extract(epoch FROM a.started_at)::float8 * 1000 AS claimed,
            (c.timings ->> 'embedMs')::float8 AS embed, (c.timings ->> 'searchMs')::float8 AS search,
            (c.timings ->> 'answerMs')::float8 AS answer
     FROM messages m
     JOIN turns t ON t.conversation_id = m.conversation_id AND m.number BETWEEN t.first_number AND t.last_number
     JOIN replies r ON r.turn_id = t.id
     JOIN receipts c ON c.reply_id = r.id
     JOIN sends s ON s.reply_id = r.id AND s.part = 1
     JOIN attempts a ON a.send_id = s.id
     WHERE m.provider_message_id = ANY($1)`,
    [turns.map(({ messageId }) => messageId)],
  );
  const times = new Map(rows.map((row) => [row.id, row]));
  const stages: Record<string, number[]> = {
    'webhook → being stored': [],
    'being stored → decided': [],
    '  of it embedding the question': [],
    '  of it the search': [],
    '  of it the answer': [],
    'decided → send claimed': [],
    'send claimed → Graph': [],
  };
  for (const { messageId, writtenAt, acceptedAt } of turns) {
    const row = times.get(messageId);
    if (!row) continue;
    const spans = [
      row.stored - writtenAt,
      row.decided - row.stored,
      row.embed ?? 0,
      row.search,
      row.answer,
      row.claimed - row.decided,
      acceptedAt - row.claimed,
    ];
    Object.values(stages).forEach((list, place) => list.push(spans[place] ?? NaN));
  }
  const latencies = latenciesOf(turns);
  printTable([
    ['from → to, ms', 'p50', 'p95'],
    ...Object.entries(stages).map(([name, list]) => [name, percentile(list, 0.5), percentile(list, 0.95)]),
    ['webhook → Graph', percentile(latencies, 0.5), percentile(latencies, 0.95)],
  ]);
}

async function startSpine(
  workplace: Workplace,
  database: Pool,
  given: Pick<SpineOptions, 'appSecret' | 'accessToken' | 'graphUrl' | 'elasticsearchUrl' | 'modelUrl'>,
): Promise<Started & { readonly url: string }> {
  const name = 'spine';
  await database.query(`CREATE DATABASE ${name}`);
  const databaseUrl = new URL(workplace.postgres.url);
  databaseUrl.pathname = `/${name}`;
  const passagesFile = join(workplace.folder, 'passages.json');
  const { rows } = await database.query(
    `SELECT id AS "passageId", source_id AS "sourceId", title, heading_path AS "headingPath", text FROM passages`,
  );
  writeFileSync(passagesFile, JSON.stringify(rows));
  const options: SpineOptions = {
    ...given,
    natsUrl: workplace.nats.url,
    natsToken: workplace.nats.token,
    stream: name.toUpperCase(),
    databaseUrl: databaseUrl.href,
    indexFolder: join(workplace.folder, 'spine-index'),
    passagesFile,
  };
  const ready = /^READY /;
  const started = await workplace.start(name, { file: 'bench/spine.ts', env: withOptions(options), ready });
  return { ...started, url: started.readyLine.slice('READY '.length) };
}

/** `npm start` in a folder of its own, twice; only the second one counts. */
async function measureStart(workplace: Workplace): Promise<boolean> {
  const env = {
    ...process.env,
    DATA_DIR: join(workplace.folder, 'start'),
    PORT: String(await workplace.freePort()),
    SANDBOX_PORT: String(await workplace.freePort()),
  };
  const times: number[] = [];
  for (let start = 0; start < 2; start += 1) {
    const startedAt = performance.now();
    const child = spawn(process.execPath, ['tools/run.mjs', 'start'], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    const isReady = new Promise<void>((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => text.includes('Answerline ready') && resolve());
    });
    await Promise.race([isReady, exited.then(() => Promise.reject(new Error('npm start ended before it was ready.')))]);
    times.push(performance.now() - startedAt);
    child.kill('SIGTERM');
    await exited;
  }
  console.log(
    `\nnpm start: first ${formatted((times[0] ?? NaN) / 1000)} s, again ${formatted((times[1] ?? NaN) / 1000)} s`,
  );
  return judge('second start, ms', times[1] ?? NaN, '≤', targets.startMs);
}
