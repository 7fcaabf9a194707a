import { inspect } from 'node:util';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { eventually, startStubOpenAi, type StubBehaviour, type StubOpenAi } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { OpenAiEmbedder } from './openai-embedder.ts';

let stub: StubOpenAi;
beforeAll(async () => {
  stub = await startStubOpenAi({ dimensions: 32 });
});
afterEach(() => stub.clear());
afterAll(async () => {
  await stub.close();
  await closeOperatorConnections();
});

const embedderOf = (more: Partial<ConstructorParameters<typeof OpenAiEmbedder>[0]> = {}) =>
  new OpenAiEmbedder({
    baseUrl: stub.url,
    apiKey: 'sk-planted-key',
    timeoutMs: 5_000,
    model: 'stub-embedding',
    ...more,
  });
const never = new AbortController().signal;
const embed = (texts: readonly string[], embedder = embedderOf(), signal = never) =>
  embedder.embed(texts, { purpose: 'passage', signal });
const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => 'answered',
    (error: unknown) => error,
  );

describe('OpenAiEmbedder', () => {
  it('gives one vector a text, in batches, with line breaks as they stand', async () => {
    const texts = Array.from({ length: 100 }, (_, index) => `line ${String(index)}\nnext`);
    const vectors = await embed(texts);
    expect(vectors).toHaveLength(100);
    expect(vectors[3]).toEqual((await embed(texts.slice(3, 4)))[0]);
    const [first, second] = stub.embeddings();
    expect(first).toEqual({ model: 'stub-embedding', input: texts.slice(0, 96), encoding_format: 'float' });
    expect(second?.input).toEqual(texts.slice(96));
    expect(await embed([])).toEqual([]);
  });

  it('asks for the dimensions once, or knows them already', async () => {
    const embedder = embedderOf();
    expect(await embedder.dimensions(never)).toBe(32);
    expect(await embedder.dimensions(never)).toBe(32);
    expect(stub.requests).toHaveLength(1);
    const other = embedderOf();
    await embed(['text'], other);
    expect(await other.dimensions(never)).toBe(32);
    expect(stub.requests).toHaveLength(2);
  });

  it('puts vectors in the order of their texts', async () => {
    const data = [1, 0].map((index) => ({ object: 'embedding', index, embedding: [index, 1] }));
    stub.next({ body: { object: 'list', data } });
    expect(await embed(['a', 'b'])).toEqual([
      [0, 1],
      [1, 1],
    ]);
  });

  it('refuses vectors of another length than before', async () => {
    const embedder = embedderOf();
    await embed(['text'], embedder);
    stub.next({ body: { data: [{ index: 0, embedding: [1, 2] }] } });
    expect(await failureOf(embed(['text'], embedder))).toMatchObject({ code: 'embedder_answer_unusable' });
  });

  const failures: [string, StubBehaviour, object][] = [
    ['a hang', { fault: 'hang' }, { code: 'embedder_unavailable' }],
    ['429', { status: 429, headers: { 'retry-after': '3' } }, { code: 'embedder_unavailable', retryAfterMs: 3_000 }],
    ['500', { status: 500 }, { code: 'embedder_unavailable' }],
    ['a cut connection', { fault: 'cut_connection' }, { code: 'embedder_unavailable' }],
    ['a cut answer', { fault: 'cut_answer' }, { code: 'embedder_unavailable' }],
    ['an empty body', { fault: 'empty_body' }, { code: 'embedder_answer_unusable' }],
    ['no JSON', { fault: 'not_json' }, { code: 'embedder_answer_unusable' }],
    ['no vectors', { body: { data: [] } }, { code: 'embedder_answer_unusable' }],
    [
      'a hole in a vector',
      { body: { data: [{ index: 0, embedding: [1, null] }] } },
      { code: 'embedder_answer_unusable' },
    ],
  ];
  it.each(failures)('passes on %s as something that passes', async (_what, behaviour, expected) => {
    stub.next(behaviour);
    const error = await failureOf(embed(['planted'], embedderOf({ timeoutMs: 300 })));
    expect(error).toMatchObject({ kind: 'transient', ...expected });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('planted');
    expect(stub.requests).toHaveLength(1);
  });

  it.each([
    [401, 'EMBEDDING_API_KEY'],
    [404, 'EMBEDDING_MODEL'],
    [400, 'EMBEDDING_MODEL'],
  ])('sends the operator to the setting when it is refused with %d', async (status, setting) => {
    stub.next({ status, body: { error: { message: 'sk-planted-key' } } });
    const error = await failureOf(embed(['planted']));
    expect(error).toMatchObject({ kind: 'invalid_input', code: 'embedder_refused' });
    expect((error as Error).message).toContain(setting);
    expect(inspect(error, { depth: 9 })).not.toContain('planted');
  });

  it('stops at an abort, at once and with its reason', async () => {
    const controller = new AbortController();
    stub.next({ fault: 'hang' });
    const failure = failureOf(embed(['text'], embedderOf(), controller.signal));
    await eventually(() => stub.requests.length === 1, { what: 'the request' });
    const reason = new Error('too slow');
    controller.abort(reason);
    expect(await failure).toBe(reason);
    expect(await failureOf(embed(['text'], embedderOf(), controller.signal))).toBe(reason);
    expect(stub.requests).toHaveLength(1);
  });
});
