import { LanceKnowledgeIndex, type KnowledgeHits } from '@answerline/knowledge-index';
import { OpenAiEmbedder, type Embedder } from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  GatedEmbedder,
  seedChannel,
  seedSource,
  startStubOpenAi,
  tempDir,
  type SeededChannel,
  type StubOpenAi,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sweepEmbeddings } from '../embedding-cache.ts';
import { readVersions, type StoredVersion } from '../index-versions.ts';
import { SyncSource } from './sync-source.ts';

const hours = '## Hours\n\nWe open at seven in the morning.';
const parking = '## Parking\n\nYou can park in the yard.';
const dogs = '## Dogs\n\nDogs are welcome on the terrace.';
const dimensions = 32;
/** Three times this without an answer of Postgres and the claim counts as lost: also a busy machine answers in 1.5 s. */
const RENEW_EVERY_MS = 500;
const logger = createLogger({ app: 'spec', level: 'silent' });
const never = new AbortController().signal;

let testDatabase: TestDatabase;
let database: Database;
let index: LanceKnowledgeIndex;
let stub: StubOpenAi;
let channel: SeededChannel;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'sync-spec' });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  stub = await startStubOpenAi({ dimensions });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close(), stub.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query('DELETE FROM sources');
  await database.query('DELETE FROM embeddings');
  channel = await seedChannel(database);
  stub.clear();
});

const model = (name = 'model-a'): OpenAiEmbedder =>
  new OpenAiEmbedder({ model: name, baseUrl: stub.url, apiKey: undefined, timeoutMs: 2_000 });
const syncWith = (embedder: Embedder | null, renewEveryMs?: number): SyncSource =>
  new SyncSource({ database, index, embedder, logger, ...(renewEveryMs !== undefined && { renewEveryMs }) });

/** Does what is due, source after source. */
async function sync(embedder: Embedder | null = model(), signal = never): Promise<void> {
  const syncSource = syncWith(embedder);
  for (let due = await syncSource.claim(1); due.length > 0; due = await syncSource.claim(1)) {
    for (const source of due) await syncSource.execute(source, signal);
  }
}

const textsOfRequests = (): string[] =>
  stub
    .embeddings()
    .flatMap(({ input }) => [input ?? []].flat())
    .filter((text) => text !== 'dimensions');
const row = async (id: string) => (await database.query('SELECT * FROM sources WHERE id = $1', [id]))[0];
const cached = async (workspaceId = channel.workspaceId): Promise<number> =>
  (await database.query('SELECT 1 FROM embeddings WHERE workspace_id = $1', [workspaceId])).length;
const versions = (where = channel): Promise<StoredVersion[]> =>
  readVersions(database, 'lancedb', where, { states: ['building', 'live', 'retired'] });

async function search(text: string, where = channel): Promise<KnowledgeHits> {
  const live = (await versions(where)).find(({ state }) => state === 'live');
  if (!live) throw new Error('There is no live version.');
  return index.search(live.version, { text, k: 10 });
}
const textsFor = async (text: string): Promise<unknown[]> => {
  const ids = (await search(text)).lexical.map(({ passageId }) => passageId);
  const rows = await database.query('SELECT text FROM passages WHERE id = ANY($1::uuid[])', [ids]);
  return rows.map((found) => found['text']);
};

/** Changes a source as an owner would. */
const edit = (id: string, content: string): Promise<unknown> =>
  database.query(`UPDATE sources SET content = $2, state = 'pending', due_at = clock_timestamp() WHERE id = $1`, [
    id,
    content,
  ]);
const remove = (id: string): Promise<unknown> =>
  database.query(`UPDATE sources SET state = 'deleting', tries = 0, due_at = clock_timestamp() WHERE id = $1`, [id]);

describe('a source', () => {
  it('makes the first version of its chatbot live, by words only without a model', async () => {
    const id = await seedSource(database, channel, { content: `${hours}\n\n${parking}` });
    await sync(null);
    expect(await row(id)).toMatchObject({
      state: 'ready',
      passage_count: 2,
      due_at: null,
      lease_until: null,
      tries: 0,
    });
    expect(await versions()).toMatchObject([
      { state: 'live', version: { chatbotId: channel.chatbotId, mapping: index.mapping } },
    ]);
    expect((await versions())[0]?.version.embedding).toBeUndefined();
    expect(await textsFor('where can I park')).toEqual(['You can park in the yard.']);
  });

  it('is embedded with title, headings and text, once for each text, whoever has it', async () => {
    await seedSource(database, channel, { content: `${hours}\n\n${parking}` });
    await sync();
    expect(textsOfRequests().toSorted()).toEqual([
      'House rules\nHours\nWe open at seven in the morning.',
      'House rules\nParking\nYou can park in the yard.',
    ]);
    expect((await versions())[0]?.version.embedding).toEqual({ model: 'model-a', dimensions });
    const live = (await versions())[0]?.version ?? index.versionFor('');
    const [vector] = await model().embed(['opening in the morning'], { purpose: 'question', signal: never });
    expect((await index.search(live, { text: '', vector: vector ?? [], k: 10 })).vector).toHaveLength(2);

    stub.clear();
    await seedSource(database, channel, { content: `${parking}\n\n${dogs}` });
    await sync();
    expect(textsOfRequests()).toEqual(['House rules\nDogs\nDogs are welcome on the terrace.']);
    expect(await cached()).toBe(3);
  });

  it('of another workspace shares no vectors', async () => {
    const other = await seedChannel(database);
    await seedSource(database, channel, { content: hours });
    await sync();
    await seedSource(database, other, { content: hours });
    await sync();
    expect(textsOfRequests()).toHaveLength(2);
    expect([await cached(), await cached(other.workspaceId)]).toEqual([1, 1]);
  });

  it('that is deleted leaves the index, and the cache with the texts that nobody else has', async () => {
    const first = await seedSource(database, channel, { content: `${hours}\n\n${parking}` });
    await seedSource(database, channel, { content: parking });
    await sync();
    expect(await cached()).toBe(2);
    await remove(first);
    await sync();
    expect(await row(first)).toBeUndefined();
    expect(await cached()).toBe(1);
    expect(await textsFor('seven in the morning')).toEqual([]);
    expect(await index.count((await versions())[0]?.version ?? index.versionFor(''))).toBe(1);
  });

  it('that changes is found with its old text until the new one is embedded, and then no more', async () => {
    const id = await seedSource(database, channel, { content: `${hours}\n\n${parking}` });
    await sync();
    await edit(id, `${dogs}\n\n${parking}`);
    stub.next({ status: 503 });
    await sync();
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'embedder_unavailable' });
    expect(await textsFor('seven in the morning')).toEqual(['We open at seven in the morning.']);
    await database.query('UPDATE sources SET due_at = now() WHERE id = $1', [id]);
    await sync();
    expect(await row(id)).toMatchObject({ state: 'ready', error_code: null, tries: 0 });
    expect(await textsFor('seven in the morning')).toEqual([]);
    expect(await textsFor('dogs on the terrace')).toEqual(['Dogs are welcome on the terrace.']);
    expect(await cached()).toBe(2);
  });

  it('that changes while it is synced is synced again', async () => {
    const id = await seedSource(database, channel, { content: hours });
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const syncing = sync(embedder);
    await gate.reached;
    await edit(id, dogs);
    gate.open();
    await syncing;
    expect(await row(id)).toMatchObject({ state: 'ready', due_at: null });
    expect(await textsFor('seven in the morning')).toEqual([]);
    expect(await textsFor('dogs')).toEqual(['Dogs are welcome on the terrace.']);
  });
});

describe('a model that is away', () => {
  it('busy with Retry-After: waits that long, then goes on with what it had', async () => {
    // Two requests of 64 texts.
    const content = Array.from({ length: 100 }, (_, i) => `## Rule ${String(i)}\n\nRule number ${String(i)}.`).join(
      '\n\n',
    );
    const id = await seedSource(database, channel, { content });
    let asked = 0;
    stub.behave(({ body }) =>
      [body.input ?? []].flat()[0] !== 'dimensions' && (asked += 1) === 2
        ? { status: 429, headers: { 'retry-after': '90' } }
        : undefined,
    );
    await sync();
    const waiting = await row(id);
    expect(waiting).toMatchObject({
      state: 'pending',
      error_code: 'embedder_unavailable',
      lease_until: null,
      passage_count: 0,
    });
    const inMs = (waiting?.['due_at'] as Date).getTime() - Date.now();
    expect(inMs).toBeGreaterThan(80_000);
    expect(inMs).toBeLessThan(95_000);
    expect(await cached()).toBe(64);

    stub.clear();
    await database.query('UPDATE sources SET due_at = now() WHERE id = $1', [id]);
    await sync();
    expect(await row(id)).toMatchObject({ state: 'ready', passage_count: 100, tries: 0 });
    expect(textsOfRequests()).toHaveLength(36);
  });

  it('for days: the source waits and is never given up', async () => {
    const id = await seedSource(database, channel, { content: hours });
    await database.query('UPDATE sources SET tries = 500 WHERE id = $1', [id]);
    stub.behave(() => ({ status: 503 }));
    await sync();
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'embedder_unavailable', tries: 501 });
  });

  it('that refuses for good: shown on the source after ten tries', async () => {
    const id = await seedSource(database, channel, { content: hours });
    stub.behave(() => ({ status: 401 }));
    await sync();
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'embedder_refused', tries: 1 });
    await database.query('UPDATE sources SET tries = 9, due_at = now() WHERE id = $1', [id]);
    await sync();
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'embedder_refused', due_at: null });
  });
});

describe('a claim', () => {
  it('is renewed while the model works, and nobody else gets the source', async () => {
    const id = await seedSource(database, channel, { content: hours });
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const worker = syncWith(embedder, RENEW_EVERY_MS);
    const [source] = await worker.claim(1);
    if (!source) throw new Error('Nothing was due.');
    await database.query(`UPDATE sources SET lease_until = now() - interval '1 minute' WHERE id = $1`, [id]);
    const working = worker.execute(source, never);
    await gate.reached;
    await eventually(async () => ((await row(id))?.['lease_until'] as Date) > new Date(), {
      what: 'the lease is renewed',
    });
    expect(await syncWith(model()).claim(1)).toEqual([]);
    gate.open();
    await working;
    expect(await row(id)).toMatchObject({ state: 'ready' });
  });

  it('ends when the source is deleted: the deletion does not wait for the model', async () => {
    const id = await seedSource(database, channel, { content: hours });
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const worker = syncWith(embedder, RENEW_EVERY_MS);
    const [source] = await worker.claim(1);
    if (!source) throw new Error('Nothing was due.');
    const working = worker.execute(source, never);
    await gate.reached;
    await remove(id);
    await working;
    expect(await row(id)).toMatchObject({ state: 'deleting', lease_until: null });
    await sync();
    expect(await row(id)).toBeUndefined();
    expect(await cached()).toBe(0);
  });

  it('that another worker took over writes nothing', async () => {
    const id = await seedSource(database, channel, { content: hours });
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const worker = syncWith(embedder);
    const [source] = await worker.claim(1);
    if (!source) throw new Error('Nothing was due.');
    const working = worker.execute(source, never);
    await gate.reached;
    await database.query(`UPDATE sources SET lease_until = now(), content = $2 WHERE id = $1`, [id, dogs]);
    await sync();
    gate.open();
    await working;
    expect(await row(id)).toMatchObject({ state: 'ready' });
    expect(await textsFor('seven in the morning')).toEqual([]);
    expect(await textsFor('dogs')).toEqual(['Dogs are welcome on the terrace.']);
    expect(await index.count((await versions())[0]?.version ?? index.versionFor(''))).toBe(1);
  });

  it('is given back when the process stops, at once and without a failed try', async () => {
    const id = await seedSource(database, channel, { content: hours });
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const stopping = new AbortController();
    const working = sync(embedder, stopping.signal).catch(() => undefined);
    await gate.reached;
    const before = await row(id);
    stopping.abort();
    // The next claim of the same loop ends as quickly.
    await database.query(`UPDATE sources SET due_at = now() + interval '1 hour' WHERE id = $1`, [id]);
    await working;
    expect(before).toMatchObject({ tries: 1 });
    expect(await row(id)).toMatchObject({ state: 'pending', lease_until: null, tries: 0, error_code: null });
  });
});

describe('a version of another model', () => {
  it('that is being built gets the source, which is ready when that one is live', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(model('model-a'));
    await database.query(
      `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, model, dimensions, state, due_at)
       SELECT gen_random_uuid(), workspace_id, chatbot_id, engine, mapping, 'model-b', dimensions, 'building', now()
       FROM index_versions WHERE chatbot_id = $1`,
      [channel.chatbotId],
    );
    const id = await seedSource(database, channel, { content: dogs });
    await sync(model('model-b'));
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'index_being_rebuilt', due_at: null });
    const [live, building] = await versions();
    expect(building).toMatchObject({ state: 'building', version: { embedding: { model: 'model-b' } } });
    expect(await index.count(live?.version ?? index.versionFor(''))).toBe(1);
    expect(await index.count(building?.version ?? index.versionFor(''))).toBe(1);
    await remove(id);
    await sync(model('model-b'));
    expect(await row(id)).toBeUndefined();
    expect(await index.count(building?.version ?? index.versionFor(''))).toBe(0);
  });

  it('without one to be built: the source waits with its reason and is tried again', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(model('model-a'));
    const id = await seedSource(database, channel, { content: dogs });
    await sync(model('model-b'));
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'index_being_rebuilt', tries: 1 });
    expect((await row(id))?.['due_at']).not.toBeNull();
  });

  it('of another engine alone: neither written to nor deleted from', async () => {
    const id = await seedSource(database, channel, { content: hours });
    await database.query(
      `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, state)
       VALUES (gen_random_uuid(), $1, $2, 'elasticsearch', 1, 'live')`,
      [channel.workspaceId, channel.chatbotId],
    );
    await sync();
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'index_of_another_engine' });
    await remove(id);
    await sync();
    expect(await row(id)).toMatchObject({ state: 'deleting', error_code: 'index_of_another_engine' });
  });
});

describe('the cache', () => {
  it('loses after a week what no passage or no version has, and keeps the rest', async () => {
    const { workspaceId } = channel;
    await seedSource(database, channel, { content: hours });
    await sync();
    await database.query(
      `INSERT INTO embeddings (workspace_id, sha256, model, vector)
       SELECT workspace_id, sha256, 'model-of-old', vector FROM embeddings
       UNION ALL SELECT workspace_id, '\\x01', model, vector FROM embeddings`,
    );
    const week = `UPDATE embeddings SET last_used_at = now() - interval '8 days'`;
    expect(await sweepEmbeddings(database)).toBe(false);
    expect(await cached(workspaceId)).toBe(3);
    await database.query(week);
    expect(await sweepEmbeddings(database)).toBe(false);
    expect(await database.query('SELECT model, length(sha256) AS bytes FROM embeddings')).toEqual([
      { model: 'model-a', bytes: 32 },
    ]);
    const [kept] = await database.query<{ last_used_at: Date }>('SELECT last_used_at FROM embeddings');
    expect(Date.now() - (kept?.last_used_at.getTime() ?? 0)).toBeLessThan(60_000);
  });

  it('holds the numbers of the model, and makes them anew when the dimensions are others', async () => {
    await seedSource(database, channel, { content: hours });
    await sync();
    const [stored] = await database.query<{ vector: Buffer }>('SELECT vector FROM embeddings');
    const [exact] = await model().embed(['House rules\nHours\nWe open at seven in the morning.'], {
      purpose: 'passage',
      signal: never,
    });
    const numbers = Array.from({ length: dimensions }, (_, i) => stored?.vector.readFloatLE(i * 4));
    expect(numbers).toEqual(exact?.map(Math.fround));
    await database.query('UPDATE embeddings SET vector = substring(vector FROM 1 FOR 8)');
    stub.clear();
    await seedSource(database, channel, { content: hours });
    await sync();
    expect(textsOfRequests()).toHaveLength(1);
  });
});
