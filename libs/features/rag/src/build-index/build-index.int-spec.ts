import { readdir, rm } from 'node:fs/promises';
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
import { FindPassages, type PassageSearch } from '../find-passages/find-passages.ts';
import { readVersions, type StoredVersion } from '../index-versions.ts';
import { SyncSource } from '../sync-source/sync-source.ts';
import { BuildIndex, dropRetired, type ClaimedBuild } from './build-index.ts';
import { noticeChanges, requestBuilds } from './notice-changes.ts';
import { RebuildIndex } from './rebuild-index.ts';

const hours = '## Hours\n\nWe open at seven in the morning.';
const parking = '## Parking\n\nYou can park in the yard.';
const dogs = '## Dogs\n\nDogs are welcome on the terrace.';
const dimensions = 32;
const logger = createLogger({ app: 'spec', level: 'silent' });
const never = new AbortController().signal;

let testDatabase: TestDatabase;
let database: Database;
let folder: string;
let index: LanceKnowledgeIndex;
let stub: StubOpenAi;
let channel: SeededChannel;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'build-spec' });
  folder = await tempDir();
  index = await LanceKnowledgeIndex.open({ folder, mode: 'write' });
  stub = await startStubOpenAi({ dimensions });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close(), stub.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  for (const table of ['sources', 'embeddings', 'index_versions']) await database.query(`DELETE FROM ${table}`);
  channel = await seedChannel(database);
  stub.clear();
});

const model = (name: string): OpenAiEmbedder =>
  new OpenAiEmbedder({ model: name, baseUrl: stub.url, apiKey: undefined, timeoutMs: 2_000 });
const [modelA, modelB] = ['model-a', 'model-b'] as const;
const parts = (embedder: Embedder | null) => ({ database, index, embedder, logger });

/** Does what is due, source after source. */
async function sync(embedder: Embedder | null): Promise<void> {
  const syncSource = new SyncSource(parts(embedder));
  for (let due = await syncSource.claim(1); due.length > 0; due = await syncSource.claim(1)) {
    for (const source of due) await syncSource.execute(source, never);
  }
}
/** Takes the one build that is due. */
async function claimed(buildIndex: BuildIndex): Promise<ClaimedBuild> {
  const [build, ...others] = await buildIndex.claim(10);
  if (!build || others.length > 0) throw new Error('Not one build is due.');
  return build;
}
async function buildDue(embedder: Embedder | null): Promise<number> {
  const buildIndex = new BuildIndex(parts(embedder));
  const builds = await buildIndex.claim(100);
  for (const build of builds) await buildIndex.execute(build, never);
  return builds.length;
}
/** Knows the chatbot under one model, and has been restarted with another one. */
async function changeModel(...contents: readonly string[]): Promise<string[]> {
  const ids = [];
  for (const content of contents) ids.push(await seedSource(database, channel, { content }));
  await sync(model(modelA));
  await requestBuilds(parts(model(modelB)), never);
  return ids;
}

const versions = (where = channel): Promise<StoredVersion[]> =>
  readVersions(database, 'lancedb', where, { states: ['building', 'live', 'retired'] });
const states = async (where = channel): Promise<[string, string | undefined][]> =>
  (await versions(where)).map(({ state, version }) => [state, version.embedding?.model]);
const versionOf = (embedder?: string) =>
  index.versionFor(channel.chatbotId, embedder ? { model: embedder, dimensions } : undefined);
const source = async (id: string) => (await database.query('SELECT * FROM sources WHERE id = $1', [id]))[0];
const find = (embedder: Embedder | null, text: string): Promise<PassageSearch> =>
  new FindPassages(parts(embedder)).execute({ ...channel, showSources: false }, text, { signal: never });
const texts = async (embedder: Embedder | null, text: string): Promise<string[]> =>
  (await find(embedder, text)).passages.map(({ passage }) => passage.text);
const everyText = 'opening seven morning park yard dogs welcome terrace';
const textsEmbedded = (): string[] =>
  stub
    .embeddings()
    .flatMap(({ input }) => [input ?? []].flat())
    .filter((text) => text !== 'dimensions');

/** Changes a source as an owner would. */
const edit = (id: string, content: string): Promise<unknown> =>
  database.query(`UPDATE sources SET content = $2, state = 'pending', due_at = clock_timestamp() WHERE id = $1`, [
    id,
    content,
  ]);
const remove = (id: string): Promise<unknown> =>
  database.query(`UPDATE sources SET state = 'deleting', tries = 0, due_at = clock_timestamp() WHERE id = $1`, [id]);

describe('a change of model', () => {
  it('is built beside what is searched, swapped in, and the old one is gone from the disk', async () => {
    await changeModel(`${hours}\n\n${parking}`, dogs);
    expect(await states()).toEqual([
      ['live', modelA],
      ['building', modelB],
    ]);
    expect(await find(model(modelB), 'park in the yard')).toMatchObject({
      mode: 'lexical',
      lexicalReason: 'index_being_rebuilt',
      passages: [{ passage: { text: 'You can park in the yard.' } }],
    });

    expect(await buildDue(model(modelA))).toBe(0);
    expect(await buildDue(model(modelB))).toBe(1);
    expect(await states()).toEqual([
      ['retired', modelA],
      ['live', modelB],
    ]);
    expect(await index.count(versionOf(modelB))).toBe(3);
    const found = await find(model(modelB), 'park in the yard');
    expect(found).toMatchObject({ mode: 'hybrid', lexicalReason: null });
    expect(found.passages[0]).toMatchObject({
      passage: { text: 'You can park in the yard.' },
      receipt: { lexicalRank: 1, vectorRank: 1 },
    });

    expect(await dropRetired(database, index)).toBe(false);
    await database.query(`UPDATE index_versions SET due_at = now() WHERE state = 'retired'`);
    expect(await dropRetired(database, index)).toBe(true);
    expect(await states()).toEqual([['live', modelB]]);
    expect(await index.listVersions(channel.chatbotId)).toEqual([versionOf(modelB)]);
    expect(
      (await readdir(folder)).filter((name) => name.includes(channel.chatbotId) && name.includes('model-a')),
    ).toEqual([]);
    expect(await texts(model(modelB), everyText)).toHaveLength(3);
  });

  it('takes a searcher along that knows the old version', async () => {
    await changeModel(hours);
    const searching = new FindPassages(parts(model(modelB)));
    const search = () => searching.execute({ ...channel, showSources: false }, 'seven', { signal: never });
    expect((await search()).mode).toBe('lexical');
    await buildDue(model(modelB));
    expect(await search()).toMatchObject({ mode: 'hybrid', passages: [{}] });
    await database.query(`UPDATE index_versions SET due_at = now() WHERE state = 'retired'`);
    await dropRetired(database, index);
    expect(await search()).toMatchObject({ mode: 'hybrid', passages: [{}] });
  });

  it('back within the minute keeps the version that was to be dropped', async () => {
    await changeModel(hours);
    await buildDue(model(modelB));
    await requestBuilds(parts(model(modelA)), never);
    expect(await states()).toEqual([
      ['live', modelB],
      ['building', modelA],
    ]);
    stub.clear();
    await buildDue(model(modelA));
    expect(textsEmbedded()).toEqual([]);
    await database.query(`UPDATE index_versions SET due_at = now() WHERE state = 'retired'`);
    while (await dropRetired(database, index)) expect(await states()).toContainEqual(['live', modelA]);
    expect(await texts(model(modelA), 'seven')).toHaveLength(1);
  });

  it('to none makes a version by words only, and from none one with vectors', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(null);
    expect(await requestBuilds(parts(null), never)).toBe(0);
    expect(await requestBuilds(parts(model(modelA)), never)).toBe(1);
    expect((await find(model(modelA), 'seven')).lexicalReason).toBe('index_being_rebuilt');
    await buildDue(model(modelA));
    expect((await find(model(modelA), 'seven')).mode).toBe('hybrid');
    expect((await find(null, 'seven')).lexicalReason).toBe('no_embedding_model');
    expect(await requestBuilds(parts(null), never)).toBe(1);
    await buildDue(null);
    expect((await versions()).find(({ state }) => state === 'live')?.version).toEqual(versionOf());
    expect(await texts(null, 'seven')).toHaveLength(1);
  });

  it('is noticed at the start although the model answers late, and a start does not wait for it', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(model(modelA));
    stub.next({ status: 503, headers: { 'retry-after-ms': '10' } });
    const noticed = noticeChanges(parts(model(modelB)), never);
    await noticed;
    expect(await states()).toContainEqual(['building', modelB]);
    const stopping = new AbortController();
    stub.behave(() => ({ fault: 'hang' }));
    const hanging = noticeChanges(parts(model('model-c')), stopping.signal);
    await eventually(() => stub.embeddings().some(({ model: asked }) => asked === 'model-c'), {
      what: 'the model is asked',
    });
    stopping.abort();
    await hanging;
    expect(await states()).toContainEqual(['building', modelB]);
  });

  it('started by the last process: its build takes the place of an earlier one, once', async () => {
    await changeModel(hours);
    await requestBuilds(parts(model('model-c')), never);
    expect(await requestBuilds(parts(model('model-c')), never)).toBe(0);
    expect((await states()).toSorted()).toEqual([
      ['building', 'model-c'],
      ['live', modelA],
      ['retired', modelB],
    ]);
    expect(await buildDue(model(modelB))).toBe(0);
  });

  it('makes a source ready that came in between, when it can be found', async () => {
    await changeModel(hours);
    const id = await seedSource(database, channel, { content: dogs });
    await sync(model(modelB));
    expect(await source(id)).toMatchObject({ state: 'pending', error_code: 'index_being_rebuilt' });
    await buildDue(model(modelB));
    expect(await source(id)).toMatchObject({ state: 'ready', error_code: null, passage_count: 1 });
    expect(await texts(model(modelB), everyText)).toHaveLength(2);
  });

  it('that is taken back lets such a source be synced anew', async () => {
    await changeModel(hours);
    const id = await seedSource(database, channel, { content: dogs });
    await sync(model(modelB));
    await requestBuilds(parts(model(modelA)), never);
    expect(await states()).toEqual([
      ['live', modelA],
      ['retired', modelB],
    ]);
    await sync(model(modelA));
    expect(await source(id)).toMatchObject({ state: 'ready', error_code: null });
    expect(await texts(model(modelA), everyText)).toHaveLength(2);
  });

  it('comes to chatbots of all workspaces, also to one whose sources are all deleted', async () => {
    const other = await seedChannel(database);
    const nothing = await seedChannel(database);
    await seedSource(database, channel, { content: hours });
    const gone = await seedSource(database, other, { content: hours });
    await sync(model(modelA));
    await remove(gone);
    await sync(model(modelA));
    expect(await requestBuilds(parts(model(modelB)), never)).toBe(2);
    expect(await buildDue(model(modelB))).toBe(2);
    expect(await states(other)).toContainEqual(['live', modelB]);
    expect(await states(nothing)).toEqual([]);
  });
});

describe('while an index is built', () => {
  /** Holds the build at its first request to the model, does something, and lets it end. */
  async function buildWhile(during: () => Promise<unknown>): Promise<void> {
    const embedder = new GatedEmbedder(model(modelB));
    const gate = embedder.hold();
    const building = buildDue(embedder);
    await gate.reached;
    await during();
    gate.open();
    await building;
    expect(await states()).toContainEqual(['live', modelB]);
  }

  it('a source that is added, one that changes and one that is deleted are right in the end', async () => {
    const [changed = '', deleted = ''] = await changeModel(hours, parking);
    await buildWhile(async () => {
      await seedSource(database, channel, { content: dogs });
      await edit(changed, '## Hours\n\nWe open at nine.');
      await remove(deleted);
      await sync(model(modelB));
    });
    expect((await texts(model(modelB), `${everyText} nine`)).toSorted()).toEqual([
      'Dogs are welcome on the terrace.',
      'We open at nine.',
    ]);
    expect(await index.count(versionOf(modelB))).toBe(2);
    expect(await database.query(`SELECT DISTINCT state, error_code FROM sources`)).toEqual([
      { state: 'ready', error_code: null },
    ]);
  });

  it('a source that is only marked for deletion is not in the new version', async () => {
    const [, deleted = ''] = await changeModel(hours, parking);
    await buildWhile(() => remove(deleted));
    expect(await index.count(versionOf(modelB))).toBe(1);
    await sync(model(modelB));
    expect(await source(deleted)).toBeUndefined();
    expect(await texts(model(modelB), everyText)).toEqual(['We open at seven in the morning.']);
  });

  const deleteChatbot = async (): Promise<void> => {
    await database.query('DELETE FROM channels WHERE chatbot_id = $1', [channel.chatbotId]);
    await database.query('DELETE FROM chatbots WHERE id = $1', [channel.chatbotId]);
  };

  it('the chatbot can be deleted: the build stops and leaves nothing', async () => {
    await changeModel(hours);
    const embedder = new GatedEmbedder(model(modelB));
    const gate = embedder.hold();
    const building = new BuildIndex({ ...parts(embedder), renewEveryMs: 200 });
    const done = building.execute(await claimed(building), never);
    await gate.reached;
    await seedSource(database, channel, { content: dogs });
    await sync(model(modelB));
    expect(await index.count(versionOf(modelB))).toBe(1);
    await deleteChatbot();
    await done;
    expect(await index.listVersions(channel.chatbotId)).toEqual([versionOf(modelA)]);
  });

  it('the chatbot can be deleted as late as before the swap', async () => {
    await changeModel(hours);
    const embedder = new GatedEmbedder(model(modelB));
    const first = embedder.hold();
    const done = buildDue(embedder);
    await first.reached;
    await seedSource(database, channel, { content: dogs });
    await sync(model(modelB));
    await database.query('DELETE FROM embeddings');
    const second = embedder.hold();
    first.open();
    await second.reached;
    expect(await index.count(versionOf(modelB))).toBe(1);
    await deleteChatbot();
    second.open();
    await done;
    expect(await index.listVersions(channel.chatbotId)).toEqual([versionOf(modelA)]);
  });
});

describe('a build that is cut short', () => {
  it('by the death of its process: another one does it again when the lease is over, with the vectors that were made', async () => {
    const content = Array.from({ length: 100 }, (_, i) => `## Rule ${String(i)}\n\nRule number ${String(i)}.`).join(
      '\n\n',
    );
    await changeModel(content);
    stub.clear();
    let asked = 0;
    const reached = Promise.withResolvers<void>();
    stub.behave(({ body }) => {
      if ([body.input ?? []].flat()[0] === 'dimensions' || (asked += 1) < 2) return undefined;
      reached.resolve();
      return { fault: 'hang' };
    });
    const dying = new BuildIndex(
      parts(new OpenAiEmbedder({ model: modelB, baseUrl: stub.url, apiKey: undefined, timeoutMs: 60_000 })),
    );
    const dead = new AbortController();
    const build = await claimed(dying);
    const abandoned = dying.execute(build, dead.signal);
    await reached.promise;
    expect(await buildDue(model(modelB))).toBe(0);
    await database.query(`UPDATE index_versions SET lease_until = now() WHERE id = $1`, [build.id]);
    stub.clear();
    expect(await buildDue(model(modelB))).toBe(1);
    expect(textsEmbedded()).toHaveLength(36);
    expect(await states()).toContainEqual(['live', modelB]);
    expect(await index.count(versionOf(modelB))).toBe(100);

    // What the first one still does, should it not be dead, changes nothing.
    dead.abort();
    await abandoned;
    expect(await states()).toEqual([
      ['retired', modelA],
      ['live', modelB],
    ]);
    expect(await index.count(versionOf(modelB))).toBe(100);
    expect(await texts(model(modelB), 'Rule number 42')).toContain('Rule number 42.');
  });

  it('by a stop: it is due again at once', async () => {
    await changeModel(hours);
    const embedder = new GatedEmbedder(model(modelB));
    const gate = embedder.hold();
    const stopping = new AbortController();
    const building = new BuildIndex(parts(embedder));
    const done = building.execute(await claimed(building), stopping.signal);
    await gate.reached;
    stopping.abort();
    await done;
    expect(
      await database.query(`SELECT tries, error_code, lease_until FROM index_versions WHERE state = 'building'`),
    ).toEqual([{ tries: 0, error_code: null, lease_until: null }]);
    expect(await buildDue(model(modelB))).toBe(1);
  });

  it('by the model: it waits as long as that asks, and nothing is lost', async () => {
    await changeModel(hours);
    const embedder = model(modelB);
    await embedder.dimensions(never);
    stub.next({ status: 429, headers: { 'retry-after': '90' } });
    await buildDue(embedder);
    const [row] = await database.query<{ due_at: Date; error_code: string; tries: number }>(
      `SELECT * FROM index_versions WHERE state = 'building'`,
    );
    expect(row).toMatchObject({ error_code: 'embedder_unavailable', tries: 1, lease_until: null });
    expect((row?.due_at.getTime() ?? 0) - Date.now()).toBeGreaterThan(80_000);
    expect(await texts(model(modelA), 'seven')).toHaveLength(1);
    expect(await buildDue(embedder)).toBe(0);
    await database.query(`UPDATE index_versions SET due_at = now() WHERE state = 'building'`);
    expect(await buildDue(embedder)).toBe(1);
    expect((await find(model(modelB), 'seven')).mode).toBe('hybrid');
  });
});

describe('two processes', () => {
  it('take each build once', async () => {
    const others = await Promise.all(Array.from({ length: 5 }, () => seedChannel(database)));
    for (const where of others) await seedSource(database, where, { content: hours });
    await sync(model(modelA));
    await requestBuilds(parts(model(modelB)), never);
    const [one, two] = [new BuildIndex(parts(model(modelB))), new BuildIndex(parts(model(modelB)))];
    const claims = await Promise.all([one.claim(3), two.claim(3)]);
    expect(new Set(claims.flat().map(({ id }) => id)).size).toBe(5);
    await Promise.all([
      ...(claims[0] ?? []).map((build) => one.execute(build, never)),
      ...(claims[1] ?? []).map((build) => two.execute(build, never)),
    ]);
    for (const where of others) expect(await states(where)).toContainEqual(['live', modelB]);
  });
});

describe('a rebuild by hand', () => {
  const searchAll = async (): Promise<KnowledgeHits> => {
    const [vector] = await model(modelA).embed([everyText], { purpose: 'question', signal: never });
    return index.search(versionOf(modelA), { text: everyText, vector: vector ?? [], k: 50 });
  };

  it('brings a lost index back as it was', async () => {
    const rebuildIndex = new RebuildIndex(database);
    for (const content of [`${hours}\n\n${parking}`, dogs]) await seedSource(database, channel, { content });
    await sync(model(modelA));
    const before = await searchAll();
    expect(before.lexical).toHaveLength(3);
    expect(before.vector).toHaveLength(3);

    const files = await readdir(folder);
    for (const name of files.filter((file) => file.includes(channel.chatbotId)))
      await rm(`${folder}/${name}`, { recursive: true });
    expect(await texts(model(modelA), everyText).catch(() => [])).toEqual([]);
    stub.clear();
    const ids = await rebuildIndex.request(channel.chatbotId);
    expect(await rebuildIndex.progress(ids)).toMatchObject({ done: 0, waiting: 1, isWorkedOn: false });
    await buildDue(model(modelA));
    expect(await rebuildIndex.progress(ids)).toMatchObject({ done: 1, waiting: 0 });
    expect(await searchAll()).toEqual(before);
    expect(textsEmbedded()).toEqual([everyText]);
    expect(await states()).toEqual([['live', modelA]]);
  });

  it('under way keeps what is written meanwhile, and says how far it is', async () => {
    const rebuildIndex = new RebuildIndex(database);
    const changed = await seedSource(database, channel, { content: hours });
    await sync(model(modelA));
    await database.query('DELETE FROM embeddings');
    const ids = await rebuildIndex.request();
    const embedder = new GatedEmbedder(model(modelA));
    const gate = embedder.hold();
    const building = buildDue(embedder);
    await gate.reached;
    expect(await rebuildIndex.progress(ids)).toMatchObject({
      waiting: 1,
      isWorkedOn: true,
      passagesTotal: 1,
      passagesDone: 0,
    });
    await edit(changed, parking);
    await seedSource(database, channel, { content: dogs });
    await sync(model(modelA));
    expect(await source(changed)).toMatchObject({ state: 'ready' });
    expect((await texts(model(modelA), everyText)).toSorted()).toEqual([
      'Dogs are welcome on the terrace.',
      'You can park in the yard.',
    ]);
    gate.open();
    await building;
    expect((await texts(model(modelA), everyText)).toSorted()).toEqual([
      'Dogs are welcome on the terrace.',
      'You can park in the yard.',
    ]);
    expect(await index.count(versionOf(modelA))).toBe(2);
  });

  it('asked for again starts over', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(model(modelA));
    await database.query('DELETE FROM embeddings');
    const rebuildIndex = new RebuildIndex(database);
    const first = await rebuildIndex.request();
    const embedder = new GatedEmbedder(model(modelA));
    const gate = embedder.hold();
    const building = new BuildIndex({ ...parts(embedder), renewEveryMs: 200 });
    const done = building.execute(await claimed(building), never);
    await gate.reached;
    expect(await rebuildIndex.request()).toEqual(first);
    await done;
    expect(await states()).toContainEqual(['building', modelA]);
    expect(await buildDue(model(modelA))).toBe(1);
    expect(await texts(model(modelA), 'seven')).toHaveLength(1);
  });

  it('that a change of model overtakes leaves what is live alone, and is made up for when the model comes back', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(model(modelA));
    await new RebuildIndex(database).request();
    await requestBuilds(parts(model(modelB)), never);
    expect((await states()).toSorted()).toEqual([
      ['building', modelB],
      ['live', modelA],
      ['retired', modelA],
    ]);
    expect(await dropRetired(database, index)).toBe(true);
    expect(await texts(model(modelA), 'seven')).toHaveLength(1);
    expect(await requestBuilds(parts(model(modelA)), never)).toBe(1);
    await buildDue(model(modelA));
    expect(await requestBuilds(parts(model(modelA)), never)).toBe(0);
    expect(await texts(model(modelA), 'seven')).toHaveLength(1);
  });

  it('is refused for a chatbot that is not there, and asks for nothing where nothing is', async () => {
    const rebuildIndex = new RebuildIndex(database);
    await expect(rebuildIndex.request('nobody')).rejects.toMatchObject({ code: 'chatbot_not_found' });
    expect(await rebuildIndex.request(channel.chatbotId)).toEqual([]);
  });
});

describe('an engine that is changed', () => {
  it('is filled for the first time while nobody can search it, and retires the other one', async () => {
    await seedSource(database, channel, { content: hours });
    await sync(null);
    await database.query(`UPDATE index_versions SET engine = 'elasticsearch' WHERE chatbot_id = $1`, [
      channel.chatbotId,
    ]);
    await index.drop(versionOf());
    await expect(find(null, 'seven')).rejects.toMatchObject({ code: 'knowledge_index_unavailable' });
    expect(await requestBuilds(parts(null), never)).toBe(1);
    await expect(find(null, 'seven')).rejects.toMatchObject({ code: 'knowledge_index_unavailable' });
    await buildDue(null);
    expect(await texts(null, 'seven')).toHaveLength(1);
    expect(
      await database.query(`SELECT engine, state FROM index_versions WHERE chatbot_id = $1 ORDER BY engine`, [
        channel.chatbotId,
      ]),
    ).toEqual([
      { engine: 'elasticsearch', state: 'retired' },
      { engine: 'lancedb', state: 'live' },
    ]);
  });
});
