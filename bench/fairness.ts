import { randomBytes } from 'node:crypto';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Pool } from 'pg';
import { Customers, type AnsweredTurn } from './customers.ts';
import { formatted, judge, percentile, printTable } from './figures.ts';
import { makeKnowledge, type Knowledge } from './knowledge.ts';
import { ManagementApi, type WhatsAppNumber } from './management-api.ts';
import { startModel } from './model.ts';
import { Product } from './product.ts';
import { Sandbox } from './sandbox.ts';
import { Workplace } from './workplace.ts';

const { values: given } = parseArgs({
  options: {
    seconds: { type: 'string', default: '40' },
    'per-second': { type: 'string', default: '4' },
    waiting: { type: 'string', default: '500' },
  },
});
const seconds = Number(given.seconds);
const perSecond = Number(given['per-second']);
/** Turns of the crowd that wait for an answer at any time. */
const waiting = Number(given.waiting);

/** How much longer the few may wait because of the many. */
const target = 2;
/** What a call of the chat model takes, ms. */
const modelMs = 500;
const passages = 200;
/** So many that none of the crowd ever writes twice: one call of the model each. */
const crowdPeople = 100_000;
/** What the crowd is ahead of the few, so that all that wait do by then; and how long it goes on after them. */
const crowdLeadMs = 5_000;
const crowdTailMs = 2_000;

const loadBefore = loadavg()[0] ?? NaN;

await Workplace.use(async (workplace) => {
  const knowledge = makeKnowledge(passages);
  const model = await startModel(workplace, 'model', modelMs);
  const embedding = await startModel(workplace, 'embedding', 0);
  const sandbox = await Sandbox.start(workplace);
  const product = await Product.at(workplace, sandbox.url);
  product.configure({
    OPENAI_BASE_URL: model.url,
    EMBEDDING_BASE_URL: embedding.url,
    CHAT_MODEL: 'bench',
    EMBEDDING_MODEL: 'bench',
  });
  await product.startStandalone();
  const few = await openShop(sandbox, product, knowledge, { phoneNumberId: '106540352242922', appId: '1' });
  const crowd = await openShop(sandbox, product, knowledge, { phoneNumberId: '106540352242923', appId: '2' });
  const database = new Pool({ connectionString: workplace.postgres.url, max: 1 });
  await database.query('UPDATE channels SET messages_per_second = 1000');
  await database.end();

  const fewCustomers = new Customers(sandbox, few, knowledge.questions);
  const crowdCustomers = new Customers(sandbox, crowd, knowledge.questions, crowdPeople);
  await fewCustomers.introduce();
  console.log(
    `Two workspaces, a model of ${modelMs} ms: B ${perSecond} messages/s for ${seconds} s, alone and beside A's ${waiting} waiting turns` +
      ` (load before the bench ${formatted(loadBefore)})`,
  );

  const alone = await fewCustomers.writeSteadily(perSecond, seconds);
  const crowdSeconds = seconds + (crowdLeadMs + crowdTailMs) / 1000;
  const [beside, crowded] = await Promise.all([
    delay(crowdLeadMs).then(() => fewCustomers.writeSteadily(perSecond, seconds)),
    crowdCustomers.writeAtFullSpeed(waiting, crowdSeconds),
  ]);

  printTable([
    ['from webhook to Graph', 'turns', 'p50 ms', 'p95 ms'],
    ['B alone', ...figuresOf(alone)],
    ['B beside A', ...figuresOf(beside)],
  ]);
  console.log(`  A: ${crowded.turns} turns, ${formatted(crowded.turnsPerSecond)} turns/s\n`);
  const ratio = p95Of(beside) / p95Of(alone);
  if (!judge('p95 of B, beside A over alone', ratio, '≤', target)) process.exitCode = 1;
});

/** A workspace with a chatbot, a knowledge base and a number; every message is due at once. @returns the number's id */
async function openShop(
  sandbox: Sandbox,
  product: Product,
  { documents }: Knowledge,
  meta: { readonly phoneNumberId: string; readonly appId: string },
): Promise<string> {
  const number: WhatsAppNumber = {
    ...meta,
    wabaId: `10229012934039${meta.appId}`,
    appSecret: randomBytes(16).toString('hex'),
    accessToken: randomBytes(16).toString('hex'),
  };
  const api = await ManagementApi.ofNewWorkspace(product.url, product.operatorKey);
  const chatbotId = await api.createChatbot({ quietMs: 0, quietMaxMs: 0 });
  for (const { title, text } of documents) await api.addSource(chatbotId, title, text);
  await sandbox.addNumber(number);
  await api.connectWhatsApp(chatbotId, number);
  return number.phoneNumberId;
}

function latenciesOf(turns: readonly AnsweredTurn[]): number[] {
  return turns.map(({ writtenAt, acceptedAt }) => acceptedAt - writtenAt);
}

function p95Of(turns: readonly AnsweredTurn[]): number {
  return percentile(latenciesOf(turns), 0.95);
}

function figuresOf(turns: readonly AnsweredTurn[]): number[] {
  return [turns.length, percentile(latenciesOf(turns), 0.5), p95Of(turns)];
}
