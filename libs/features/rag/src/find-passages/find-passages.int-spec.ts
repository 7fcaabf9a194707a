import { LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { OpenAiEmbedder, type Embedder } from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  captureLogs,
  createTestDatabase,
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
import { SyncSource } from '../sync-source/sync-source.ts';
import { FindPassages, type PassageSearch } from './find-passages.ts';

const never = new AbortController().signal;
const captured = captureLogs();
const logger = createLogger({ app: 'spec', level: 'warn', destination: captured.stream });

let testDatabase: TestDatabase;
let database: Database;
let index: LanceKnowledgeIndex;
let stub: StubOpenAi;
let channel: SeededChannel;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'find-spec' });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  stub = await startStubOpenAi({ dimensions: 32 });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close(), stub.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query('DELETE FROM sources');
  channel = await seedChannel(database);
  stub.clear();
  captured.clear();
});

const model = (): OpenAiEmbedder =>
  new OpenAiEmbedder({ model: 'model-a', baseUrl: stub.url, apiKey: undefined, timeoutMs: 20_000 });

async function know(embedder: Embedder | null, ...contents: readonly string[]): Promise<string[]> {
  const ids = [];
  for (const content of contents)
    ids.push(await seedSource(database, channel, { content, url: 'https://example.com/rules' }));
  const syncSource = new SyncSource({ database, index, embedder, logger });
  for (const source of await syncSource.claim(100)) await syncSource.execute(source, never);
  return ids;
}
const find = (
  embedder: Embedder | null,
  text: string,
  options: { limit?: number; embedWithinMs?: number; signal?: AbortSignal } = {},
) => {
  const { embedWithinMs, signal = never, ...rest } = options;
  const parts = { database, index, embedder, logger, ...(embedWithinMs !== undefined && { embedWithinMs }) };
  return new FindPassages(parts).execute({ ...channel, showSources: true }, text, { signal, ...rest });
};
const textsOf = ({ passages }: PassageSearch): string[] => passages.map(({ passage }) => passage.text);

const hours = '## Hours\n\nWe open at seven in the morning.';
const parking = '## Parking\n\nYou can park in the yard.';

describe('finding passages', () => {
  it('by words and by meaning, with the ranks and scores of both, and one request to the model', async () => {
    const [first] = await know(model(), hours, parking);
    stub.clear();
    const search = await find(model(), 'When do you open in the morning?');
    expect(search).toMatchObject({ mode: 'hybrid', lexicalReason: null });
    expect(stub.embeddings().map(({ input }) => input)).toEqual([['When do you open in the morning?']]);
    expect(search.passages).toHaveLength(2);
    expect(search.passages[0]).toEqual({
      passage: {
        passageId: expect.any(String),
        title: 'House rules',
        headingPath: ['Hours'],
        text: 'We open at seven in the morning.',
        sourceUrl: 'https://example.com/rules',
      },
      sourceId: first,
      score: expect.any(Number),
      receipt: {
        passageId: search.passages[0]?.passage.passageId,
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        lexicalRank: 1,
        lexicalScore: expect.any(Number),
        vectorRank: 1,
        vectorScore: expect.any(Number),
      },
    });
    // Only the vectors know it.
    expect(search.passages[1]?.receipt).toMatchObject({ lexicalRank: null, lexicalScore: null, vectorRank: 2 });
    expect(Object.values(search.timings).every((milliseconds) => milliseconds >= 0)).toBe(true);
    expect(search.timings.embedMs).toBeGreaterThan(0);
  });

  it('by words only without a model', async () => {
    await know(null, hours, parking);
    const search = await find(null, 'open in the morning');
    expect(search).toMatchObject({ mode: 'lexical', lexicalReason: 'no_embedding_model', timings: { embedMs: 0 } });
    expect(textsOf(search)).toEqual(['We open at seven in the morning.']);
    expect(search.passages[0]?.receipt).toMatchObject({ lexicalRank: 1, vectorRank: null, vectorScore: null });
  });

  it.each([
    ['fails', { status: 500 }],
    ['refuses the key', { status: 401 }],
    ['hangs', { fault: 'hang' }],
    ['talks rubbish', { fault: 'not_json' }],
  ] as const)('by words only when the model %s, and says so, without the question in the log', async (_, behaviour) => {
    await know(model(), hours);
    stub.behave(() => behaviour);
    const search = await find(model(), 'open zebra in the morning', { embedWithinMs: 100 });
    expect(search).toMatchObject({ mode: 'lexical', lexicalReason: 'embedder_unavailable' });
    expect(textsOf(search)).toEqual(['We open at seven in the morning.']);
    expect(captured.text()).toContain('could not be embedded');
    expect(captured.text()).not.toContain('zebra');
  });

  it('ends when it is told to, instead of going on by words', async () => {
    await know(model(), hours);
    const embedder = new GatedEmbedder(model());
    const gate = embedder.hold();
    const stopping = new AbortController();
    const search = find(embedder, 'open', { signal: stopping.signal });
    await gate.reached;
    stopping.abort(new Error('Enough.'));
    await expect(search).rejects.toThrow('Enough.');
  });

  it('finds nothing where nothing is known', async () => {
    expect(await find(null, 'anything')).toMatchObject({ passages: [], mode: 'lexical' });
    expect(await find(model(), 'anything')).toMatchObject({ passages: [] });
  });

  it('never finds what is being deleted, and looks further down for what is left', async () => {
    const many = Array.from(
      { length: 12 },
      (_, i) => `## Bread ${String(i)}\n\nRye bread, rye rye rye, number ${String(i)}.`,
    );
    const [, ...rest] = await know(
      null,
      ...many,
      '## Wheat\n\nA loaf with some rye in it, and much else that is not asked about.',
    );
    await database.query(`UPDATE sources SET state = 'deleting' WHERE id = ANY($1::uuid[])`, [rest.slice(0, 11)]);
    const search = await find(null, 'rye bread', { limit: 10 });
    expect(textsOf(search)).toHaveLength(2);
    expect(textsOf(search).at(-1)).toContain('A loaf with some rye');
  });

  it('gives the ten best, or as many as are asked for', async () => {
    await know(
      null,
      ...Array.from({ length: 15 }, (_, i) => `## Bread ${String(i)}\n\nRye bread number ${String(i)}.`),
    );
    expect(textsOf(await find(null, 'rye bread'))).toHaveLength(10);
    expect(textsOf(await find(null, 'rye bread', { limit: 3 }))).toHaveLength(3);
    expect(textsOf(await find(null, 'rye bread', { limit: 15 }))).toHaveLength(15);
  });

  it('shows the address of a source only where it is to be shown', async () => {
    await know(null, hours);
    const hidden = await new FindPassages({ database, index, embedder: null, logger }).execute(
      { ...channel, showSources: false },
      'open',
      { signal: never },
    );
    expect(hidden.passages[0]?.passage).not.toHaveProperty('sourceUrl');
  });

  it('keeps workspaces apart, also when one names the chatbot of another', async () => {
    await know(null, hours);
    const { workspaceId } = await seedChannel(database);
    const search = await new FindPassages({ database, index, embedder: null, logger }).execute(
      { workspaceId, chatbotId: channel.chatbotId, showSources: true },
      'open in the morning',
      { signal: never },
    );
    expect(search.passages).toEqual([]);
  });
});
