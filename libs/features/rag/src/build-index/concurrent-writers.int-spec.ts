import { setImmediate as turn } from 'node:timers/promises';
import { indexVersionName, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { OpenAiEmbedder } from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createRandom,
  createTestDatabase,
  eventually,
  seedChannel,
  seedSource,
  startStubOpenAi,
  tempDir,
  type SeededChannel,
  type StubOpenAi,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readVersions } from '../index-versions.ts';
import { SyncSource } from '../sync-source/sync-source.ts';
import { BuildIndex, dropRetired } from './build-index.ts';
import { requestBuilds } from './notice-changes.ts';
import { RebuildIndex } from './rebuild-index.ts';

const logger = createLogger({ app: 'spec', level: 'silent' });
const never = new AbortController().signal;

let testDatabase: TestDatabase;
let database: Database;
let index: LanceKnowledgeIndex;
let stub: StubOpenAi;
let channel: SeededChannel;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'writers-spec', poolSize: 20 });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  stub = await startStubOpenAi({ dimensions: 8 });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close(), stub.close()]);
  await testDatabase.drop();
});

/** Postgres and every version in the index hold the same passages. */
async function expectTheSame(): Promise<void> {
  const versions = await readVersions(database, 'lancedb', channel, { states: ['building', 'live', 'retired'] });
  expect(versions.map(({ state }) => state)).toEqual(['live']);
  const rows = await database.query<{ id: string }>('SELECT id FROM passages WHERE chatbot_id = $1 ORDER BY id', [
    channel.chatbotId,
  ]);
  for (const { version } of versions) {
    const { lexical } = await index.search(version, { text: 'bread', k: 1_000 });
    expect(lexical.map(({ passageId }) => passageId).toSorted()).toEqual(rows.map(({ id }) => id));
    expect(await index.count(version)).toBe(rows.length);
  }
  expect((await index.listVersions(channel.chatbotId)).map(indexVersionName)).toEqual(
    versions.map(({ version }) => indexVersionName(version)),
  );
  const waiting = await database.query(`SELECT state, error_code, due_at FROM sources WHERE state <> 'ready'`);
  expect(waiting).toEqual([]);
}

describe('workers that know nothing of each other', () => {
  it.each([1, 2, 3])('leave Postgres and the index alike, whatever comes when (seed %i)', async (seed) => {
    const random = createRandom(seed);
    channel = await seedChannel(database);
    const models = ['model-a', 'model-b'].map(
      (model) => new OpenAiEmbedder({ model, baseUrl: stub.url, apiKey: undefined, timeoutMs: 5_000 }),
    );
    let current = models[0] ?? null;
    const parts = () => ({ database, index, embedder: current, logger });
    const text = () =>
      Array.from(
        { length: 1 + Math.floor(random.next() * 3) },
        () => `## Bread\n\nBread number ${String(random.next())}.`,
      ).join('\n\n');
    let isOver = false;

    /** Leases mean nothing here: any worker may hold what another one works on. */
    const loseLeases = () => database.query(`UPDATE sources SET lease_until = NULL WHERE lease_until IS NOT NULL`);
    const worker = async (): Promise<void> => {
      while (!isOver) {
        const syncSource = new SyncSource({ ...parts(), renewEveryMs: 30 });
        for (const source of await syncSource.claim(1)) await syncSource.execute(source, never);
        await turn();
      }
    };
    const builder = async (): Promise<void> => {
      while (!isOver) {
        const buildIndex = new BuildIndex({ ...parts(), renewEveryMs: 30 });
        for (const build of await buildIndex.claim(1)) await buildIndex.execute(build, never);
        // Both are refused now and then: two transactions met, or a build that was given up still writes there.
        await database
          .query(`UPDATE index_versions SET due_at = now() WHERE state = 'retired'`)
          .then(() => dropRetired(database, index))
          .catch(() => undefined);
        await turn();
      }
    };
    const actions: readonly (() => Promise<unknown>)[] = [
      () => seedSource(database, channel, { content: text() }),
      () => seedSource(database, channel, { content: text() }),
      async () => {
        const [source] = await database.query<{ id: string }>(
          `SELECT id FROM sources WHERE state <> 'deleting' ORDER BY md5(id::text || $1) LIMIT 1`,
          [String(random.next())],
        );
        await database.query(
          `UPDATE sources SET content = $2, state = 'pending', error_code = NULL, due_at = clock_timestamp() WHERE id = $1`,
          [source?.id ?? null, text()],
        );
      },
      async () => {
        const [source] = await database.query<{ id: string }>(
          `SELECT id FROM sources WHERE state <> 'deleting' ORDER BY md5(id::text || $1) LIMIT 1`,
          [String(random.next())],
        );
        await database.query(`UPDATE sources SET state = 'deleting', due_at = clock_timestamp() WHERE id = $1`, [
          source?.id ?? null,
        ]);
      },
      loseLeases,
      () => new RebuildIndex(database).request(channel.chatbotId),
      async () => {
        current = models.find((model) => model !== current) ?? null;
        await requestBuilds(parts(), never);
      },
    ];

    const working = [worker(), worker(), builder(), builder()];
    for (let step = 0; step < 40; step += 1) {
      await random.pick(actions)();
      // Long enough for a worker to get into the middle of something, and not always out of it.
      await database.query('SELECT pg_sleep($1::float8)', [random.next() * 0.06]);
    }
    const settled = eventually(
      async () => {
        await database.query(`UPDATE sources SET due_at = now() WHERE due_at > now()`);
        await database.query(`UPDATE index_versions SET due_at = now() WHERE due_at > now()`);
        await expectTheSame();
      },
      { timeoutMs: 20_000, what: 'everything is settled' },
    );
    await settled.finally(async () => {
      isOver = true;
      await Promise.all(working);
    });
    await expectTheSame();
  });
});
