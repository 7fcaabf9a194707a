import { setTimeout as delay } from 'node:timers/promises';
import { migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  startTestElasticsearch,
  type TestDatabase,
  type TestElasticsearch,
} from '@answerline/testing';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { call } from './chaos/http.ts';
import { startStandalone, type DemoFile, type StandaloneProcess } from './running-standalone.ts';

/** Persons who write, one after the other, until the first is answered, and then some more. */
const EVERY_MS = 150;
const AFTER_THE_KILL = 24;

let elasticsearch: TestElasticsearch;
let testDatabase: TestDatabase;
let database: pg.Client;
let standalone: StandaloneProcess;
let demo: DemoFile;

beforeAll(async () => {
  [elasticsearch, testDatabase] = await Promise.all([startTestElasticsearch(), createTestDatabase(migrateDatabase)]);
  database = new pg.Client({ connectionString: testDatabase.url });
  await database.connect();
  const started = await startStandalone({
    env: { DATABASE_URL: testDatabase.url, ELASTICSEARCH_URL: elasticsearch.url },
  });
  standalone = started;
  demo = started.demo;
}, 240_000);
afterAll(async () => {
  await standalone?.stop();
  await database?.end();
  await Promise.all([testDatabase?.drop(), elasticsearch?.stop()]);
}, 60_000);

const rows = async (sql: string) => (await database.query<Record<string, unknown>>(sql)).rows;
const count = async (sql: string): Promise<number> => Number((await rows(sql))[0]?.['n']);

it('an Elasticsearch that is killed while turns are answered delays the answers and loses none', async () => {
  // Meta's limit to one person is of no interest here.
  await call('PUT', `${demo.sandboxUrl}/sandbox/limits`, { body: { pairRate: false } });
  const write = async (writer: number): Promise<void> => {
    const waId = `1202557${String(writer).padStart(4, '0')}`;
    const body = { phoneNumberId: demo.phoneNumberId, waId, text: 'When are you open on Sunday?' };
    await call('POST', `${demo.sandboxUrl}/sandbox/messages`, { body });
    await delay(EVERY_MS);
  };
  const answered = () => count(`SELECT count(*) AS n FROM replies WHERE kind = 'answer'`);
  let written = 0;
  for (; (await answered()) === 0; written += 1) await write(written);
  await elasticsearch.kill();
  const before = await answered();
  for (const until = written + AFTER_THE_KILL; written < until; written += 1) await write(written);
  await eventually(async () => (await count('SELECT count(*) AS n FROM conversations WHERE lease_until > now()')) > 0, {
    what: 'turns are being answered without it',
    timeoutMs: 20_000,
  });
  await elasticsearch.restart();
  await eventually(async () => (await count(`SELECT count(*) AS n FROM sends WHERE phase = 'accepted'`)) === written, {
    what: 'all are answered',
    timeoutMs: 60_000,
  });

  // One reply each. Where the start took longer than the 25 s of a turn it is the honest fallback, which costs nothing.
  const kinds = await rows('SELECT kind, count(*)::int AS n FROM replies GROUP BY kind ORDER BY kind');
  const answers = await answered();
  const fallbacks = written - answers;
  expect(kinds).toEqual([
    { kind: 'answer', n: answers },
    ...(fallbacks > 0 ? [{ kind: 'fallback', n: fallbacks }] : []),
  ]);
  expect(answers).toBeGreaterThan(before);
  expect(await rows('SELECT used FROM usage')).toEqual([{ used: answers }]);
}, 300_000);
