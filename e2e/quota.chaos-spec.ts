import { cpSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plans } from '@answerline/contracts';
import { freePort } from '@answerline/embedded-services';
import { type JournalEntry } from '@answerline/sandbox';
import { eventually, startStubOpenAi, tempDir, type StubOpenAi } from '@answerline/testing';
import { afterAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { goods } from './chaos/catalogue.ts';
import { call } from './chaos/http.ts';
import { openShops } from './chaos/shops.ts';
import { startCluster, type Cluster } from './cluster.ts';

/** People who write once, all at the same time, to a business that has ten replies left. */
const RACERS = 1_000;
const LEFT = 10;
/** Who has been told nothing yet when all is used up. */
const LATE_COMERS = 100;
/** Long enough that a rag is killed while its turns wait for the model. */
const MODEL_TAKES_MS = 500;
/** What is said over the quota: libs/features/rag/src/answer-turn/texts.ts. */
const overQuotaText = 'Nobody can answer here at the moment';

let cluster: Cluster | undefined;
let database: pg.Client | undefined;
let model: StubOpenAi | undefined;
let passed = false;

afterAll(async () => {
  await database?.end().catch(() => undefined);
  await cluster?.stop();
  await model?.close();
  if (passed || !cluster || !existsSync(cluster.dir)) return;
  const kept = join(tmpdir(), `answerline-quota-${String(Date.now())}`);
  renameSync(cluster.dir, kept);
  process.stderr.write(`quota: logs, journal and data are kept in ${kept}\n`);
}, 60_000);

it('1,000 turns race for the last 10 replies over two rags, one of which is killed: 10 answers and 10 debits, one word to everybody else that day, and no model call for what came when nothing was left', async () => {
  model = await startStubOpenAi({ delayMs: MODEL_TAKES_MS });
  const stub = model;
  const settings = { CHAT_MODEL: 'stub', OPENAI_BASE_URL: stub.url, DATABASE_POOL_SIZE: '10' };
  const at = (cluster = await startCluster({ dir: join(await tempDir(), 'cluster'), settings }));
  database = new pg.Client({ connectionString: at.databaseUrl });
  await database.connect();
  const query = async <Row>(text: string, values: unknown[] = []): Promise<Row[]> =>
    ((await database?.query(text, values))?.rows ?? []) as Row[];
  const control = (method: 'PUT' | 'POST', path: string, body: unknown): Promise<unknown> =>
    call(method, `${at.sandboxUrl}/sandbox${path}`, { body });
  /** Who was sent what, by the journal. */
  const textsByReader = (): Map<string, string[]> => {
    const texts = new Map<string, string[]>();
    for (const line of readFileSync(at.journalFile, 'utf8').split('\n').filter(Boolean)) {
      const entry = JSON.parse(line) as JournalEntry;
      if (entry.kind !== 'text') continue;
      const reader = entry.to?.replace('+', '') ?? '';
      texts.set(reader, [...(texts.get(reader) ?? []), entry.body ?? '']);
    }
    return texts;
  };
  const untilQuiet = (what: string): Promise<unknown> =>
    eventually(
      async () =>
        (
          await query<{ open: boolean }>(
            `SELECT EXISTS (SELECT FROM conversations WHERE answered_seq < inbound_seq)
                 OR EXISTS (SELECT FROM sends WHERE phase IN ('pending', 'retry', 'sending', 'unknown')) AS open`,
          )
        )[0]?.open === false,
      { what, timeoutMs: 150_000 },
    );

  const [shop] = await openShops(at, 1, { quietMs: 0, quietMaxMs: 0 });
  const [workspace] = await query<{ id: string }>('SELECT id FROM workspaces ORDER BY created_at DESC LIMIT 1');
  const workspaceId = workspace?.id ?? '';
  await call('PUT', `${at.gatewayUrl}/api/v1/operator/workspaces/${workspaceId}/plan`, {
    body: { plan: 'growth' },
    key: at.operatorKey,
  });
  const limit = plans.growth.repliesPerMonth;
  await query(
    `INSERT INTO usage (workspace_id, month, used, "limit") VALUES ($1, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), $2, $3)`,
    [workspaceId, limit - LEFT, limit],
  );
  await control('PUT', '/limits', { pairRate: false, messagesPerSecond: 1_000 });

  // The second rag has the same index in a folder of its own: one process writes to a folder.
  const dataDir = join(at.dir, 'data-of-another');
  mkdirSync(dataDir);
  cpSync(join(at.dir, 'data', 'index'), join(dataDir, 'index'), {
    recursive: true,
    filter: (path) => !/lock/i.test(path.slice(at.dir.length)),
  });
  await at.another('rag', { DATA_DIR: dataDir, GRPC_PORT: String(await freePort()) });

  const waId = (person: number): string => String(12_025_600_000 + person);
  const writeAll = async (people: readonly number[]): Promise<void> => {
    const messages = people.map((person) => ({
      phoneNumberId: shop?.phoneNumberId,
      waId: waId(person),
      text: `Please tell me about ${goods[person % goods.length] ?? ''}`,
    }));
    await control('POST', '/messages', { messages });
  };
  const numbered = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n);

  await writeAll(numbered(0, RACERS));
  await eventually(() => stub.chats().length >= LEFT, { what: 'turns wait for the model', timeoutMs: 60_000 });
  await at.kill('rag');
  await at.restart('rag');
  await eventually(async () => (await query('SELECT FROM messages WHERE number IS NOT NULL')).length === RACERS, {
    what: 'all have been stored',
    timeoutMs: 60_000,
  });
  await untilQuiet('everybody has an outcome');

  const books = async (): Promise<unknown> =>
    (
      await query(
        `SELECT (SELECT used FROM usage WHERE workspace_id = $1) AS used,
                (SELECT count(*)::int FROM usage_entries WHERE workspace_id = $1 AND sign = 1) AS debits,
                (SELECT count(*)::int FROM usage_entries WHERE workspace_id = $1 AND sign = -1) AS given_back,
                (SELECT count(*)::int FROM turns WHERE workspace_id = $1 AND outcome IN ('replied', 'abstained')) AS answered,
                (SELECT count(*)::int FROM turns WHERE workspace_id = $1 AND outcome = 'over_quota') AS over_quota`,
        [workspaceId],
      )
    )[0];
  const first = textsByReader();
  const told = [...first]
    .filter(([, texts]) => texts.some((text) => text.includes(overQuotaText)))
    .map(([reader]) => reader);
  expect([...first.values()].map(({ length }) => length)).toEqual(Array.from({ length: RACERS }, () => 1));
  expect([first.size - told.length, told.length]).toEqual([LEFT, RACERS - LEFT]);
  expect(await books()).toEqual({
    used: limit,
    debits: LEFT,
    given_back: 0,
    answered: LEFT,
    over_quota: RACERS - LEFT,
  });

  // Everybody writes again, and some for the first time.
  const asked = stub.chats().length;
  process.stderr.write(`quota: ${String(asked)} model calls for the last ${String(LEFT)} replies\n`);
  await writeAll(numbered(0, RACERS + LATE_COMERS));
  await eventually(
    async () => (await query('SELECT FROM messages WHERE number IS NOT NULL')).length === 2 * RACERS + LATE_COMERS,
    { what: 'all have been stored', timeoutMs: 60_000 },
  );
  await untilQuiet('everybody has an outcome again');
  const second = textsByReader();
  for (const [reader, texts] of second) {
    const isAnswered = first.has(reader) && !told.includes(reader);
    expect([reader, texts.length]).toEqual([reader, isAnswered ? 2 : 1]);
    expect(texts.filter((text) => text.includes(overQuotaText))).toHaveLength(1);
  }
  expect(second.size).toBe(RACERS + LATE_COMERS);
  expect(stub.chats()).toHaveLength(asked);
  expect(await books()).toEqual({
    used: limit,
    debits: LEFT,
    given_back: 0,
    answered: LEFT,
    over_quota: 2 * RACERS + LATE_COMERS - LEFT,
  });
  const warnings = await query<{ percent: number }>(
    `SELECT (about ->> 'percent')::int AS percent FROM mails WHERE workspace_id = $1 AND kind = 'quota' ORDER BY created_at, id`,
    [workspaceId],
  );
  expect(warnings).toEqual([{ percent: 80 }, { percent: 100 }]);
  passed = true;
}, 420_000);
