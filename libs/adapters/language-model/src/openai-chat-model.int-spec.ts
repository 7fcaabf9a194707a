import { inspect } from 'node:util';
import { createLogger } from '@answerline/logging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { captureLogs, eventually, startStubOpenAi, type StubBehaviour, type StubOpenAi } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ChatRequest } from './chat-model.ts';
import { OpenAiChatModel } from './openai-chat-model.ts';

let stub: StubOpenAi;
beforeAll(async () => {
  stub = await startStubOpenAi();
});
afterEach(() => stub.clear());
afterAll(async () => {
  await stub.close();
  await closeOperatorConnections();
});

const chatModel = (more: Partial<ConstructorParameters<typeof OpenAiChatModel>[0]> = {}) =>
  new OpenAiChatModel({ baseUrl: stub.url, apiKey: 'sk-planted-key', timeoutMs: 5_000, model: 'gpt-4o-mini', ...more });
const ask = (more: Partial<ChatRequest> = {}, model = chatModel()) =>
  model.complete({
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'planted +34 600 123 456' },
    ],
    maxOutputTokens: 300,
    signal: new AbortController().signal,
    ...more,
  });
/** Both ways of asking: as a whole and in pieces. */
const ways = [
  ['as a whole', {}],
  ['in pieces', { onText: () => undefined }],
] as const;
const failureOf = (completion: Promise<unknown>) =>
  completion.then(
    () => 'answered',
    (error: unknown) => error,
  );

describe('a call', () => {
  it.each(ways)('asked %s, sends what it should and nothing else', async (_way, more) => {
    stub.next({ text: 'We open at 7.', usage: { prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 } });
    expect(await ask(more)).toEqual({
      text: 'We open at 7.',
      model: 'gpt-4o-mini',
      usage: { inputTokens: 11, outputTokens: 5 },
      finishReason: 'stop',
    });
    const [request] = stub.requests;
    const { messages, model, max_tokens, stream, stream_options, ...rest } = request?.body ?? {};
    expect(messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'planted +34 600 123 456' },
    ]);
    expect([model, max_tokens, stream, rest]).toEqual(['gpt-4o-mini', 2_300, 'onText' in more, {}]);
    expect(stream_options).toEqual('onText' in more ? { include_usage: true } : undefined);
    const {
      authorization,
      host: _host,
      connection: _connection,
      'content-length': _length,
      ...others
    } = request?.headers ?? {};
    expect(authorization).toBe('Bearer sk-planted-key');
    expect(Object.keys(others).filter((name) => name !== 'transfer-encoding')).toEqual(['content-type']);
  });

  it('hears the pieces as they come', async () => {
    const pieces: string[] = [];
    stub.next({ pieces: ['We ', 'open ', '', 'at 7.'] });
    const { text } = await ask({ onText: (piece) => pieces.push(piece) });
    expect([pieces, text]).toEqual([['We ', 'open ', 'at 7.'], 'We open at 7.']);
  });

  it.each(ways)('asked %s, keeps thoughts to itself', async (_way, more) => {
    const pieces: string[] = [];
    stub.next({ pieces: ['<thi', 'nk>They want', ' hours</thi', 'nk>\n\nWe open', ' at 7.'] });
    const { text } = await ask('onText' in more ? { onText: (piece) => pieces.push(piece) } : {});
    expect(text).toBe('We open at 7.');
    expect(pieces).toEqual('onText' in more ? ['We open', ' at 7.'] : []);
  });

  it('needs no key where the endpoint asks for none', async () => {
    stub.next({ text: 'Yes.' });
    await ask({}, chatModel({ apiKey: undefined }));
    expect(stub.requests[0]?.headers.authorization).toBeUndefined();
  });

  it.each(ways)('asked %s, says why the answer ended', async (_way, more) => {
    for (const finishReason of ['stop', 'length', 'content_filter']) {
      stub.next({ text: 'We open', finishReason });
      expect((await ask(more)).finishReason).toBe(finishReason);
    }
    stub.next({ text: 'We open', finishReason: 'tool_calls' });
    expect((await ask(more)).finishReason).toBe('other');
    stub.next({ text: '', finishReason: 'content_filter' });
    expect((await ask(more)).text).toBe('');
  });

  it("takes a prompt that the endpoint's filter refuses for a filtered answer", async () => {
    stub.next({ status: 400, body: { error: { message: 'Filtered', code: 'content_filter' } } });
    expect(await ask()).toMatchObject({ text: '', finishReason: 'content_filter' });
  });

  it.each(ways)('asked %s, leaves out U+0000, which no database takes', async (_way, more) => {
    stub.next({ text: 'We op\u0000en at 7.' });
    expect((await ask(more)).text).toBe('We open at 7.');
  });

  it.each(ways)('asked %s, guesses tokens that were not counted, and says so', async (_way, more) => {
    for (const usage of [
      null,
      {},
      { prompt_tokens: 0, completion_tokens: 0 },
      { prompt_tokens: -1, completion_tokens: 'x' },
      { prompt_tokens: 2 ** 32 - 1, completion_tokens: 4 },
    ]) {
      stub.next({ text: 'We open at 7.', usage });
      expect((await ask(more)).usage).toEqual({ inputTokens: 9, outputTokens: 4, isEstimated: true });
    }
  });
});

describe('parameters that endpoints differ in', () => {
  it('are those of new models for new models', async () => {
    stub.next({ text: 'Yes.' });
    await ask({}, chatModel({ model: 'gpt-5-mini' }));
    const { max_completion_tokens, max_tokens, temperature, reasoning_effort } = stub.chats()[0] ?? {};
    expect([max_completion_tokens, max_tokens, temperature, reasoning_effort]).toEqual([
      2_300,
      undefined,
      undefined,
      'low',
    ]);
  });

  it('are learned once from what the endpoint refuses', async () => {
    const refusal = (parameter: string): StubBehaviour => ({
      status: 400,
      body: {
        error: { message: `Unsupported parameter: '${parameter}'.`, param: parameter, code: 'unsupported_parameter' },
      },
    });
    const model = chatModel({ model: 'gpt-5-mini' });
    stub.next(refusal('reasoning_effort'), refusal('max_completion_tokens'), { text: 'Yes.' }, { text: 'Yes.' });
    await ask({}, model);
    await ask({}, model);
    expect(
      stub
        .chats()
        .map(({ max_completion_tokens, max_tokens, reasoning_effort }) => [
          max_completion_tokens,
          max_tokens,
          reasoning_effort,
        ]),
    ).toEqual([
      [2_300, undefined, 'low'],
      [2_300, undefined, undefined],
      [undefined, 2_300, undefined],
      [undefined, 2_300, undefined],
    ]);
  });

  it('are not asked about for ever', async () => {
    stub.behave(() => ({
      status: 400,
      body: { error: { message: "Unsupported: 'max_tokens'", param: 'max_tokens' } },
    }));
    expect(await failureOf(ask())).toMatchObject({ code: 'model_refused' });
    expect(stub.requests).toHaveLength(2);
  });
});

describe('a failure', () => {
  const failures: [string, StubBehaviour, object][] = [
    ['a hang', { fault: 'hang' }, { code: 'model_unavailable', context: { reason: 'outbound_timeout' } }],
    ['429', { status: 429, headers: { 'retry-after': '2' } }, { code: 'model_unavailable', retryAfterMs: 2_000 }],
    ['500', { status: 500, body: 'no' }, { code: 'model_unavailable' }],
    [
      '503 with a time',
      { status: 503, headers: { 'retry-after': '1' } },
      { code: 'model_unavailable', retryAfterMs: 1_000 },
    ],
    ['a cut connection', { fault: 'cut_connection' }, { code: 'model_unavailable' }],
    ['a cut answer', { fault: 'cut_answer', text: 'We open at 7' }, { code: 'model_unavailable' }],
    ['an empty body', { fault: 'empty_body' }, { code: 'model_answer_unusable' }],
    ['no JSON', { fault: 'not_json' }, { code: 'model_answer_unusable' }],
    ['no choices', { fault: 'no_choices' }, { code: 'model_answer_unusable' }],
    ['no text', { text: '' }, { code: 'model_answer_unusable' }],
    ['a text of blanks', { text: ' \n' }, { code: 'model_answer_unusable' }],
    ['thoughts without an answer', { text: '<think>So', finishReason: 'length' }, { code: 'model_answer_unusable' }],
  ];
  describe.each(ways)('asked %s', (_way, more) => {
    it.each(failures)('such as %s passes', async (_what, behaviour, expected) => {
      stub.next(behaviour);
      const startedAt = performance.now();
      const error = await failureOf(ask(more, chatModel({ timeoutMs: 300 })));
      expect(error).toMatchObject({ kind: 'transient', ...expected });
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(stub.requests).toHaveLength(1);
    });

    it.each([
      [401, 'OPENAI_API_KEY'],
      [403, 'OPENAI_API_KEY'],
      [404, 'OPENAI_BASE_URL'],
      [400, 'CHAT_MODEL'],
    ])('such as %d is for good, and names %s', async (status, setting) => {
      stub.next({ status, body: { error: { message: 'sk-planted-key, planted', code: 'stub' } } });
      const error = await failureOf(ask(more));
      expect(error).toMatchObject({ kind: 'invalid_input', code: 'model_refused' });
      expect((error as Error).message).toContain(setting);
    });

    it('such as a prompt that is too long has a code of its own', async () => {
      stub.next({ status: 400, body: { error: { message: 'Too long', code: 'context_length_exceeded' } } });
      expect(await failureOf(ask(more))).toMatchObject({ kind: 'invalid_input', code: 'model_context_exceeded' });
    });

    it('such as an endless answer is cut off', async () => {
      stub.next({ text: 'x'.repeat(5_000_000) });
      expect(await failureOf(ask(more))).toMatchObject({ code: 'model_answer_unusable' });
    });

    it('shows neither key nor text, in the error and in the log', async () => {
      const logs = captureLogs();
      const logger = createLogger({ app: 'spec', level: 'trace', destination: logs.stream });
      const texts: string[] = [];
      const plantedBody = {
        error: { message: 'sk-planted-key planted 600 123 456', type: 'planted text', code: 'x y planted' },
      };
      const planted: StubBehaviour[] = [
        ...failures.map(([, behaviour]) => behaviour),
        { status: 400, body: plantedBody },
        { status: 401, body: plantedBody },
        { status: 500, body: plantedBody },
        { body: 'planted is no JSON' },
        { body: { choices: 'planted' } },
        { body: { choices: [{ message: { content: [{ type: 'text', text: 'planted' }] } }] } },
      ];
      for (const behaviour of planted) {
        stub.next(behaviour);
        const error = await failureOf(ask(more, chatModel({ timeoutMs: 200 })));
        expect(error).toBeInstanceOf(Error);
        logger.error({ err: error }, 'Test');
        texts.push(inspect(error, { depth: 9, showHidden: true }));
      }
      expect(logs.lines()).toHaveLength(planted.length);
      expect(`${logs.text()} ${texts.join(' ')}`).not.toMatch(/planted|600 123 456/);
    });
  });

  it('of a stream that ends too early is one', async () => {
    stub.next({ text: 'We open at 7 and close at 6.', fault: 'early_end' });
    expect(await failureOf(ask({ onText: () => undefined }))).toMatchObject({
      code: 'model_answer_unusable',
      context: { reason: 'stream_cut' },
    });
  });

  it('of an endpoint that is not there is one', async () => {
    const gone = await startStubOpenAi();
    await gone.close();
    expect(await failureOf(ask({}, chatModel({ baseUrl: gone.url })))).toMatchObject({
      code: 'model_unavailable',
      context: { reason: 'outbound_refused' },
    });
  });
});

describe.each(ways)('an abort of what was asked %s', (_way, more) => {
  it('is honoured at once, with its reason, and ends the request', async () => {
    stub.next({ fault: 'hang' });
    const controller = new AbortController();
    const failure = failureOf(ask({ ...more, signal: controller.signal }));
    await eventually(() => stub.requests.length === 1, { what: 'the request' });
    const reason = new Error('superseded');
    const startedAt = performance.now();
    controller.abort(reason);
    expect(await failure).toBe(reason);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  it('before the call sends nothing', async () => {
    const reason = new Error('superseded');
    expect(await failureOf(ask({ ...more, signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(stub.requests).toEqual([]);
  });
});

it('an abort in the middle of a stream is no end of it', async () => {
  const controller = new AbortController();
  const reason = new Error('superseded');
  stub.next({ pieces: ['We ', 'open ', 'at 7.'], pieceDelayMs: 10_000 });
  const failure = failureOf(ask({ signal: controller.signal, onText: () => controller.abort(reason) }));
  expect(await failure).toBe(reason);
});

describe('whatever the environment says', () => {
  const planted = () => ({
    LANGSMITH_TRACING: 'true',
    LANGSMITH_TRACING_V2: 'true',
    LANGCHAIN_TRACING_V2: 'true',
    LANGCHAIN_TRACING: 'true',
    LANGCHAIN_VERBOSE: 'true',
    LANGSMITH_API_KEY: 'planted',
    LANGSMITH_ENDPOINT: `${stub.url}/tracing`,
    LANGCHAIN_ENDPOINT: `${stub.url}/tracing`,
    LANGSMITH_GATEWAY: `${stub.url}/gateway`,
    OPENAI_LOG: 'debug',
    OPENAI_BASE_URL: `${stub.url}/elsewhere`,
    OPENAI_API_KEY: 'sk-elsewhere',
    OPENAI_ORG_ID: 'elsewhere',
    OPENAI_ORGANIZATION: 'elsewhere',
    OPENAI_PROJECT_ID: 'elsewhere',
    OPENAI_CUSTOM_HEADERS: 'x-elsewhere: planted',
  });
  const before = { ...process.env };
  const printed: string[] = [];
  const written: string[] = [];
  const { write: writeOut } = process.stdout;
  const { write: writeErr } = process.stderr;
  const { log, warn, error, debug, info } = console;
  beforeAll(() => {
    Object.assign(process.env, planted());
    const capture = (...args: unknown[]) => void printed.push(args.map(String).join(' '));
    Object.assign(console, { log: capture, warn: capture, error: capture, debug: capture, info: capture });
    process.stdout.write = process.stderr.write = ((chunk: unknown) => {
      written.push(String(chunk));
      return true;
    }) as typeof process.stdout.write;
  });
  afterAll(() => {
    for (const name of Object.keys(planted())) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
    process.stdout.write = writeOut;
    process.stderr.write = writeErr;
    Object.assign(console, { log, warn, error, debug, info });
  });

  it.each(ways)('nobody else is called when asked %s, and nothing is printed', async (_way, more) => {
    // Made under that environment, which is when the libraries look at it.
    await ask(more, chatModel());
    await ask(more, chatModel({ model: 'gpt-5-mini', apiKey: undefined }));
    stub.next({ status: 500 }, { text: '' });
    await failureOf(ask(more));
    await failureOf(ask(more));
    // A trace is sent in the background: the next call gives it time to be.
    await ask(more);
    expect(stub.requests.map(({ path }) => path)).toEqual(Array.from({ length: 5 }, () => '/chat/completions'));
    expect(stub.requests[1]?.headers.authorization).toBeUndefined();
    expect(JSON.stringify(stub.requests.map(({ headers }) => headers))).not.toContain('elsewhere');
    expect(printed).toEqual([]);
    expect(written.join('')).not.toMatch(/planted|Be brief/);
  });
});
