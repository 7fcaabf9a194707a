import { randomBytes, randomUUID } from 'node:crypto';
import { Secret } from '@answerline/config';
import { type AskEvent, type AskResult, type SearchResponse } from '@answerline/contracts';
import { InvalidInput, Transient } from '@answerline/errors';
import { errorOfStatus } from '@answerline/grpc-status';
import { KnowledgeIndex, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import {
  Answerer,
  type Answer,
  type AnswerRequest,
  Embedder,
  ExtractiveAnswerer,
  type FollowUp,
  type RewrittenQuestion,
} from '@answerline/language-model';
import { createLogger, LOGGER } from '@answerline/logging';
import { Database, migrateDatabase, newId } from '@answerline/persistence';
import { PartsModule } from '@answerline/process-parts';
import { RagClient, ragPackageDefinition } from '@answerline/rag-client';
import { serveRagService } from '@answerline/rag-parts';
import {
  captureLogs,
  createTestDatabase,
  eventually,
  freePort,
  rowsOfWorkspace,
  seedChannel,
  tempDir,
  type SeededChannel,
  type TestDatabase,
} from '@answerline/testing';
import {
  type ClientReadableStream,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type INestApplication } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { textCatalogue } from '../answer-turn/texts.ts';
import { RagWorker } from '../rag.worker.ts';
import { SyncSource } from '../sync-source/sync-source.ts';
import { CallsUnderWay } from './calls-under-way.ts';
import { RagServiceModule } from './rag-service.module.ts';

const token = randomBytes(24).toString('base64url');
const logs = captureLogs();
const logger = createLogger({ app: 'spec', level: 'info', destination: logs.stream });
const HOURS = 'What are your opening hours on Tuesday?';

let testDatabase: TestDatabase;
let database: Database;
let lance: LanceKnowledgeIndex;
let mine: SeededChannel;
let theirs: SeededChannel;
let rag: Rag;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'rag-service-spec' });
  lance = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
  [mine, theirs] = [await seedChannel(database), await seedChannel(database)];
  await addSource(
    mine,
    '## Opening hours\n\nWe are open Tuesday to Friday from **7:00** to 18:00.\n\n## Parking\n\nYou can park in the yard for one hour.',
  );
  await addSource(theirs, '## Opening hours\n\nWe open on Tuesday when we like.');
});
afterAll(async () => {
  await Promise.all([database.close(), lance.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  rag = await startRag();
});
afterEach(() => rag.stop());

async function addSource({ workspaceId, chatbotId }: SeededChannel, content: string): Promise<void> {
  await database.query(
    `INSERT INTO sources (id, workspace_id, chatbot_id, type, title, content, url, due_at)
     VALUES ($1, $2, $3, 'markdown', 'Visit us', $4, 'https://example.com/visit', now())`,
    [newId(), workspaceId, chatbotId, content],
  );
  const syncSource = new SyncSource({ database, index: lance, embedder: null, logger });
  for (const source of await syncSource.claim(5)) await syncSource.execute(source, new AbortController().signal);
}

/** A model of the outside, as a test wants it. */
class ScriptedAnswerer extends Answerer {
  readonly usesModel = true;
  readonly requests: AnswerRequest[] = [];
  script: (request: AnswerRequest, call: number) => Promise<string> | string = () => 'An answer.';

  override async rewrite({ question }: FollowUp): Promise<RewrittenQuestion> {
    return { text: `${question} opening hours`, model: 'm', usage: { inputTokens: 2, outputTokens: 1 }, costMicros: 3 };
  }

  override async answer(request: AnswerRequest): Promise<Answer> {
    this.requests.push(request);
    const text = await this.script(request, this.requests.length);
    const cost = { model: 'm', promptVersion: 'v1', usage: { inputTokens: 30, outputTokens: 5 }, costMicros: 7 };
    const cited = request.passages.slice(0, 1).map(({ passageId }) => passageId);
    return { kind: 'answer', text, citedPassageIds: cited, ...cost };
  }
}

/** Rejects when the request is ended, as a model call does. */
const untilAborted = ({ signal }: AnswerRequest): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

interface Rag {
  readonly port: number;
  readonly answerer: ScriptedAnswerer;
  readonly app: INestApplication;
  /** Of the generated code, with our token. */
  readonly raw: RawClient;
  readonly client: RagClient;
  stop(): Promise<void>;
}

async function startRag(
  options: { port?: number; answerer?: Answerer; index?: KnowledgeIndex; drainWithinMs?: number } = {},
): Promise<Rag> {
  const answerer = new ScriptedAnswerer();
  const port = options.port ?? (await freePort());
  const parts = PartsModule.of([
    [LOGGER, logger],
    [Database, database],
    [KnowledgeIndex, options.index ?? lance],
    [Answerer, options.answerer ?? answerer],
    [Embedder, null],
  ]);
  const module = await Test.createTestingModule({
    imports: [parts, RagServiceModule.forRoot({ token: new Secret(token) })],
  })
    // Turns and sources have specs of their own.
    .overrideProvider(RagWorker)
    .useValue({})
    .overrideProvider(CallsUnderWay)
    .useValue(new CallsUnderWay(options.drainWithinMs))
    .compile();
  const app = module.createNestApplication(new FastifyAdapter(), { bodyParser: false, logger: false });
  await serveRagService(app, { host: '127.0.0.1', port });
  await app.init();
  const client = new RagClient({ url: `grpc://127.0.0.1:${String(port)}`, token });
  const raw = new RawClient(port);
  return {
    port,
    answerer,
    app,
    raw,
    client,
    stop: async () => {
      client.close();
      raw.close();
      await app.close();
    },
  };
}

const Generic = makeGenericClientConstructor(ragPackageDefinition['answerline.rag.v1.RagService'], 'RagService');

/** What any gRPC client sees: status codes and bytes of details. */
class RawClient {
  readonly #client: InstanceType<typeof Generic>;
  constructor(port: number) {
    this.#client = new Generic(`127.0.0.1:${String(port)}`, credentials.createInsecure(), {
      'grpc.enable_http_proxy': 0,
    });
  }
  search(request: object, authorization: string | null = `Bearer ${token}`): Promise<SearchResponse> {
    return new Promise((resolve, reject) => {
      const method = this.#client['search']?.bind(this.#client) as (...args: unknown[]) => void;
      method(
        { workspaceId: '', chatbotId: '', text: '', limit: 0, ...request },
        metadataOf(authorization),
        (error: ServiceError | null, response: SearchResponse) => (error ? reject(error) : resolve(response)),
      );
    });
  }
  ask(
    request: object,
    { authorization = `Bearer ${token}`, deadline }: { authorization?: string | null; deadline?: number } = {},
  ): ClientReadableStream<AskEvent> {
    const method = this.#client['ask']?.bind(this.#client) as (...args: unknown[]) => ClientReadableStream<AskEvent>;
    return method(
      { workspaceId: '', chatbotId: '', question: '', history: [], ...request },
      metadataOf(authorization),
      deadline === undefined ? {} : { deadline },
    );
  }
  close(): void {
    this.#client.close();
  }
}
function metadataOf(authorization: string | null): Metadata {
  const metadata = new Metadata();
  if (authorization !== null) metadata.set('authorization', authorization);
  return metadata;
}

async function eventsOf(stream: ClientReadableStream<AskEvent>): Promise<AskEvent[]> {
  const events: AskEvent[] = [];
  for await (const event of stream) events.push(event as AskEvent);
  return events;
}
const resultOf = async (stream: ClientReadableStream<AskEvent>): Promise<AskResult | undefined> =>
  (await eventsOf(stream)).at(-1)?.result;

/** The status code of a call that fails, and what stands in its details. */
async function failureOf(call: Promise<unknown>): Promise<{ code: string; details: string } & Record<string, unknown>> {
  const error = (await call.then(
    () => Promise.reject(new Error('The call did not fail')),
    (thrown: unknown) => thrown,
  )) as ServiceError;
  const { code, message: _message, ...rest } = errorOfStatus(error) ?? { code: undefined, message: '' };
  return { code: status[error.code] ?? '', details: error.details, reason: code, ...rest };
}

const at = ({ workspaceId, chatbotId }: SeededChannel) => ({ workspaceId, chatbotId });
const receiptOf = async (id: string) => (await database.query('SELECT * FROM receipts WHERE id = $1', [id]))[0];

describe('Search', () => {
  it('finds the passages of a chatbot, best first, with their places and how it searched', async () => {
    const { mode, lexicalReason, passages } = await rag.raw.search({ ...at(mine), text: HOURS });
    expect({ mode, lexicalReason }).toEqual({ mode: 'SEARCH_MODE_LEXICAL', lexicalReason: 'no_embedding_model' });
    expect(passages[0]).toMatchObject({
      title: 'Visit us',
      headingPath: ['Opening hours'],
      text: 'We are open Tuesday to Friday from **7:00** to 18:00.',
      lexical: { rank: 1, score: expect.any(Number) },
      vector: undefined,
    });
    expect(JSON.stringify(passages)).not.toContain('when we like');
    expect((await rag.raw.search({ ...at(mine), text: 'hours yard', limit: 1 })).passages).toHaveLength(1);
    expect((await rag.raw.search({ ...at(mine), text: 'violin' })).passages).toEqual([]);
  });

  it('gives the client of the gateway the same', async () => {
    const found = await rag.client.search({ ...at(mine), text: HOURS, limit: 10 });
    expect(found).toMatchObject({ mode: 'lexical', lexicalReason: 'no_embedding_model' });
    expect(found.passages[0]).toMatchObject({ lexical: { rank: 1 }, vector: null });
  });
});

describe('Ask', () => {
  it('streams tokens as they are written, then one result, and stores the receipt without a debit', async () => {
    const gate = Promise.withResolvers<void>();
    rag.answerer.script = async ({ onText }) => {
      onText?.('We open ');
      await gate.promise;
      onText?.('at **7:00**.');
      return 'We open at **7:00**.';
    };
    const heard: string[] = [];
    const answer = rag.client.ask(
      { ...at(mine), question: HOURS, history: [] },
      { onToken: (text) => heard.push(text) },
    );
    await eventually(() => expect(heard).toEqual(['We open ']), {
      what: 'the first token, before the second is written',
    });
    gate.resolve();
    const { receiptId, citations, ...rest } = await answer;
    expect(rest).toEqual({ kind: 'answer', text: 'We open at **7:00**.' });
    expect(heard).toEqual(['We open ', 'at **7:00**.']);
    expect(citations).toEqual([
      { passageId: expect.any(String), sourceId: expect.any(String), title: 'Visit us', url: null },
    ]);
    expect(await receiptOf(receiptId ?? '')).toMatchObject({
      workspace_id: mine.workspaceId,
      chatbot_id: mine.chatbotId,
      turn_id: null,
      reply_id: null,
      question: HOURS,
      search_mode: 'lexical',
      prompt_version: 'v1',
      model: 'm',
      input_tokens: 30,
      output_tokens: 5,
      cost_micros: '7',
      passages: expect.arrayContaining([
        expect.objectContaining({ passageId: citations[0]?.passageId, cited: true, lexicalRank: 1 }),
      ]),
    });
    expect(await database.query('SELECT 1 FROM usage')).toEqual([]);
  });

  it('sends tokens and result in this order to any client', async () => {
    rag.answerer.script = ({ onText }) => {
      for (let piece = 0; piece < 200; piece += 1) onText?.(`${String(piece)} `);
      return 'All of it.';
    };
    const events = await eventsOf(rag.raw.ask({ ...at(mine), question: HOURS }));
    expect(events.map(({ token: text }) => text)).toEqual([
      ...Array.from({ length: 200 }, (_, piece) => `${String(piece)} `),
      undefined,
    ]);
    expect(events.at(-1)?.result).toMatchObject({ kind: 'ANSWER_KIND_ANSWER', text: 'All of it.' });
  });

  it('comes as one token from what does not write piece by piece, and shows the source only if the chatbot does', async () => {
    await rag.stop();
    rag = await startRag({ answerer: new ExtractiveAnswerer() });
    const [tokenEvent, resultEvent, ...more] = await eventsOf(rag.raw.ask({ ...at(mine), question: HOURS }));
    expect(tokenEvent?.token).toContain('**7:00**');
    expect(resultEvent?.result).toMatchObject({ kind: 'ANSWER_KIND_ANSWER', text: tokenEvent?.token });
    expect([resultEvent?.result?.citations[0]?.url, more]).toEqual(['', []]);
    await database.query('UPDATE chatbots SET show_sources = true WHERE id = $1', [mine.chatbotId]);
    const shown = await resultOf(rag.raw.ask({ ...at(mine), question: HOURS }));
    await database.query('UPDATE chatbots SET show_sources = false WHERE id = $1', [mine.chatbotId]);
    expect(shown?.citations).toMatchObject([{ title: 'Visit us', url: 'https://example.com/visit' }]);
  });

  it("abstains in the asker's language with the chatbot's own text, and has a receipt", async () => {
    await rag.stop();
    rag = await startRag({ answerer: new ExtractiveAnswerer() });
    const ask = (question: string) => rag.client.ask({ ...at(mine), question, history: [] });
    expect(await ask('Do you repair violins?')).toMatchObject({
      kind: 'abstain',
      text: textCatalogue.en.abstain,
      citations: [],
      receiptId: expect.any(String),
    });
    expect((await ask('¿Ustedes también arreglan violines?')).text).toBe(textCatalogue.es.abstain);
    const texts = JSON.stringify({ en: { abstain: 'No idea.' } });
    await database.query('UPDATE chatbots SET texts = $2 WHERE id = $1', [mine.chatbotId, texts]);
    expect((await ask('Do you repair violins?')).text).toBe('No idea.');
    await database.query(`UPDATE chatbots SET texts = '{}' WHERE id = $1`, [mine.chatbotId]);
  });

  it('rewrites a follow-up by what was said before', async () => {
    const history = [
      { author: 'contact', text: 'Are you open on Tuesday?' },
      { author: 'ai', text: 'Yes.' },
      { author: 'human', text: 'You are welcome.' },
    ] as const;
    const { receiptId } = await rag.client.ask({ ...at(mine), question: 'Until when?', history });
    expect(rag.answerer.requests[0]?.history).toEqual(history);
    expect(await receiptOf(receiptId ?? '')).toMatchObject({
      question: 'Until when?',
      rewritten_question: 'Until when? opening hours',
      input_tokens: 32,
      cost_micros: '10',
    });
  });

  it('tries a model that is busy again', async () => {
    rag.answerer.script = (_, call) => {
      if (call === 1) throw new Transient('model_unavailable', 'Busy.');
      return 'At last.';
    };
    expect(await rag.client.ask({ ...at(mine), question: HOURS, history: [] })).toMatchObject({ text: 'At last.' });
  });

  it('is the honest fallback, without receipt, when the model refuses', async () => {
    rag.answerer.script = ({ onText }) => {
      onText?.('We ope');
      throw new InvalidInput('model_refused', 'Never.');
    };
    const events = await eventsOf(rag.raw.ask({ ...at(mine), question: HOURS }));
    expect(events).toEqual([
      expect.objectContaining({ token: 'We ope' }),
      expect.objectContaining({
        result: { kind: 'ANSWER_KIND_FALLBACK', text: textCatalogue.en.fallback, citations: [], receiptId: '' },
      }),
    ]);
  });
});

describe('a call that is ended', () => {
  it("aborts the model at the caller's deadline", async () => {
    rag.answerer.script = untilAborted;
    const call = eventsOf(rag.raw.ask({ ...at(mine), question: HOURS }, { deadline: Date.now() + 500 }));
    expect(await failureOf(call)).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await eventually(() => rag.answerer.requests[0]?.signal.aborted === true, { what: 'the model call is aborted' });
  });

  it('aborts the model when the caller cancels', async () => {
    rag.answerer.script = untilAborted;
    const gone = new AbortController();
    const call = rag.client.ask({ ...at(mine), question: HOURS, history: [] }, { signal: gone.signal });
    await eventually(() => rag.answerer.requests.length === 1, { what: 'the model is asked' });
    gone.abort(new Error('gone'));
    await expect(call).rejects.toThrow('gone');
    await eventually(() => rag.answerer.requests[0]?.signal.aborted === true, { what: 'the model call is aborted' });
  });
});

describe('a call that is refused', () => {
  it.each<[string, string | null, string]>([
    ['no token', null, 'token_missing'],
    ['another scheme', `Basic ${token}`, 'token_missing'],
    ['a wrong token', `Bearer ${token.slice(1)}x`, 'token_invalid'],
    ['a part of the token', `Bearer ${token.slice(1)}`, 'token_invalid'],
  ])('with %s is UNAUTHENTICATED', async (_what, authorization, reason) => {
    const request = { ...at(mine), text: HOURS, question: HOURS };
    const refusal = { code: 'UNAUTHENTICATED', reason };
    expect(await failureOf(rag.raw.search(request, authorization))).toMatchObject(refusal);
    expect(await failureOf(eventsOf(rag.raw.ask(request, { authorization })))).toMatchObject(refusal);
  });

  it('for its fields is INVALID_ARGUMENT and names them', async () => {
    const refused = async (call: Promise<unknown>) => {
      const { code, reason, fields } = await failureOf(call);
      return [code, reason, (fields as { path: string }[]).map(({ path }) => path)];
    };
    expect(
      await refused(rag.raw.search({ workspaceId: 'x', chatbotId: mine.chatbotId, text: ' ', limit: 51 })),
    ).toEqual(['INVALID_ARGUMENT', 'validation_failed', ['workspaceId', 'text', 'limit']]);
    expect(await refused(rag.raw.search({ ...at(mine), text: 'a\u0000b', limit: -1 }))).toEqual([
      'INVALID_ARGUMENT',
      'validation_failed',
      ['text', 'limit'],
    ]);
    const history = [
      { author: 'AUTHOR_UNSPECIFIED', text: 'x' },
      { author: 'AUTHOR_AI', text: 'x'.repeat(4_001) },
    ];
    expect(await refused(eventsOf(rag.raw.ask({ ...at(mine), question: '', history })))).toEqual([
      'INVALID_ARGUMENT',
      'validation_failed',
      ['question', 'history.0.author', 'history.1.text'],
    ]);
  });

  it("for a chatbot that is not there, or another workspace's, is NOT_FOUND, and leaves nothing behind", async () => {
    const calls: Record<string, (request: object) => Promise<unknown>> = {
      search: (request) => rag.raw.search({ ...request, text: HOURS }),
      ask: (request) => eventsOf(rag.raw.ask({ ...request, question: HOURS })),
    };
    // Whoever adds a method tries it here.
    expect(Object.keys(ragPackageDefinition['answerline.rag.v1.RagService']).toSorted()).toEqual(
      Object.keys(calls).toSorted(),
    );
    for (const call of Object.values(calls)) await call(at(theirs));
    expect(rag.answerer.requests).toHaveLength(1);
    const stored = () => Promise.all([mine, theirs].map(({ workspaceId }) => rowsOfWorkspace(database, workspaceId)));
    const before = await stored();
    expect(before.map(({ chatbots, passages }) => [chatbots?.length, (passages?.length ?? 0) > 0])).toEqual([
      [1, true],
      [1, true],
    ]);
    for (const request of [
      { workspaceId: mine.workspaceId, chatbotId: theirs.chatbotId },
      { workspaceId: theirs.workspaceId, chatbotId: mine.chatbotId },
      { workspaceId: mine.workspaceId, chatbotId: randomUUID() },
      { workspaceId: randomUUID(), chatbotId: theirs.chatbotId },
    ]) {
      for (const call of Object.values(calls)) {
        expect(await failureOf(call(request))).toMatchObject({ code: 'NOT_FOUND', reason: 'chatbot_not_found' });
      }
    }
    expect(rag.answerer.requests).toHaveLength(1);
    expect(await stored()).toEqual(before);
  });

  it('for its size is RESOURCE_EXHAUSTED', async () => {
    const call = rag.raw.search({ ...at(mine), text: 'x'.repeat(1024 * 1024) });
    expect(await failureOf(call)).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  });
});

describe('a call that fails', () => {
  /** The index as it is, but for its searches. */
  const failing = (error: Error): KnowledgeIndex =>
    new Proxy(lance, {
      get: (target, name) => {
        if (name === 'search') return () => Promise.reject(error);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });

  it('for something that is away is UNAVAILABLE, with the pause that was asked for', async () => {
    await rag.stop();
    rag = await startRag({
      index: failing(new Transient('knowledge_index_unavailable', 'Away.', { retryAfterMs: 1_500 })),
    });
    expect(await failureOf(rag.raw.search({ ...at(mine), text: HOURS }))).toMatchObject({
      code: 'UNAVAILABLE',
      reason: 'knowledge_index_unavailable',
      retryAfterMs: 1_500,
    });
  });

  it('for a bug of ours is INTERNAL and explained to the log only', async () => {
    await rag.stop();
    rag = await startRag({ index: failing(new Error('row 17 is odd')) });
    const failure = await failureOf(rag.raw.search({ ...at(mine), text: HOURS }));
    expect(failure).toMatchObject({ code: 'INTERNAL', reason: 'internal_error' });
    expect(JSON.stringify(failure)).not.toContain('row 17');
    await eventually(() => expect(logs.text()).toContain('row 17 is odd'), { what: 'the log says it' });
  });
});

describe('a stop', () => {
  it('lets an answer under way end, and refuses new calls', async () => {
    const gate = Promise.withResolvers<void>();
    rag.answerer.script = async () => {
      await gate.promise;
      return 'In time.';
    };
    const answer = rag.client.ask({ ...at(mine), question: HOURS, history: [] });
    await eventually(() => rag.answerer.requests.length === 1, { what: 'the model is asked' });
    const stopped = rag.app.close();
    await eventually(
      async () => (await failureOf(rag.raw.search({ ...at(mine), text: HOURS }))).code === 'UNAVAILABLE',
      { what: 'new calls are refused' },
    );
    gate.resolve();
    expect(await answer).toMatchObject({ text: 'In time.' });
    await stopped;
  });

  it('ends an answer that takes too long with UNAVAILABLE', async () => {
    await rag.stop();
    rag = await startRag({ drainWithinMs: 100 });
    rag.answerer.script = untilAborted;
    const answer = eventsOf(rag.raw.ask({ ...at(mine), question: HOURS }));
    await eventually(() => rag.answerer.requests.length === 1, { what: 'the model is asked' });
    const stopped = rag.app.close();
    expect(await failureOf(answer)).toMatchObject({ code: 'UNAVAILABLE', reason: 'stopping' });
    await stopped;
  });

  it('is followed by a new process, which the client finds', async () => {
    const { client, port } = rag;
    const search = () => client.search({ ...at(mine), text: HOURS, limit: 1 });
    await search();
    await rag.app.close();
    await expect(search()).rejects.toMatchObject({ kind: 'transient', code: 'rag_unavailable', retryAfterMs: 2_000 });
    const next = await startRag({ port });
    await eventually(search, { what: 'the client has found it' });
    await next.stop();
  });
});

it('writes no question, answer or token into the log', () => {
  for (const secret of [token, 'opening hours', 'violin', '7:00']) expect(logs.text()).not.toContain(secret);
});
