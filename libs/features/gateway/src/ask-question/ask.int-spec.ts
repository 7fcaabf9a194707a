import { randomUUID } from 'node:crypto';
import { type AskEvent, type AskRequest } from '@answerline/contracts';
import { InvalidInput, Transient } from '@answerline/errors';
import { hashApiKey } from '@answerline/secrets';
import { eventually, startTestGateway, startTestRag, type TestGateway, type TestRag } from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

let api: TestGateway;
let rag: TestRag;
let key: string;
let workspaceId: string;
let chatbotId: string;
const receiptId = randomUUID();
const citation = { passageId: randomUUID(), sourceId: randomUUID(), title: 'Visit us' };
const result = { kind: 'answer', text: 'At seven.', citations: [{ ...citation, url: null }], receiptId };
const resultEvent: AskEvent = {
  result: { kind: 'ANSWER_KIND_ANSWER', text: 'At seven.', citations: [{ ...citation, url: '' }], receiptId },
};

beforeAll(async () => {
  rag = await startTestRag({ search: () => Promise.reject(new Error('not scripted')), ask: () => undefined });
  api = await startTestGateway({ ragUrl: rag.url });
  ({ id: workspaceId, key } = await api.createWorkspace());
  chatbotId = await api.createChatbot(key);
});
afterAll(async () => {
  await api.stop();
  await rag.stop();
});
beforeEach(() => {
  rag.script.ask = (_request, send) => send(resultEvent);
});

const ask = (body: unknown, withKey = key) => api.call('POST', `/chatbots/${chatbotId}/ask`, { key: withKey, body });
const askForEvents = (accept = 'text/event-stream', signal?: AbortSignal) =>
  fetch(`${api.origin}/api/v1/chatbots/${chatbotId}/ask`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', accept },
    body: JSON.stringify({ question: 'When do you open?' }),
    ...(signal && { signal }),
  });
/** The events of a stream that has ended. */
const eventsIn = (text: string): [event: string, data: unknown][] =>
  text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => {
      const [, name = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
      return [name, JSON.parse(data)];
    });

describe('asking a chatbot', () => {
  it('hands question and history to rag, and answers what it came to', async () => {
    const asked: AskRequest[] = [];
    rag.script.ask = (request, send) => {
      asked.push(request);
      send({ token: 'At ' });
      send(resultEvent);
    };
    const history = [
      { author: 'contact', text: 'Hello' },
      { author: 'human', text: ' Hi ' },
    ];
    const { status, body } = await ask({ question: ' When do you open? ', history });
    expect([status, body]).toEqual([200, result]);
    expect(asked).toEqual([
      {
        workspaceId,
        chatbotId,
        question: 'When do you open?',
        history: [
          { author: 'AUTHOR_CONTACT', text: 'Hello' },
          { author: 'AUTHOR_HUMAN', text: 'Hi' },
        ],
      },
    ]);
  });

  it.each<[string, AskEvent, object]>([
    [
      'an abstention',
      { result: { kind: 'ANSWER_KIND_ABSTAIN', text: 'No idea.', citations: [], receiptId } },
      { kind: 'abstain', text: 'No idea.', citations: [], receiptId },
    ],
    [
      'a fallback',
      { result: { kind: 'ANSWER_KIND_FALLBACK', text: 'Later.', citations: [], receiptId: '' } },
      { kind: 'fallback', text: 'Later.', citations: [], receiptId: null },
    ],
  ])('answers %s with 200', async (_what, event, expected) => {
    rag.script.ask = (_request, send) => send(event);
    expect((await ask({ question: 'When?' })).body).toEqual(expected);
  });

  it('names the fields that it refuses, and asks for the scope write', async () => {
    const history = [{ author: 'robot', text: '' }];
    const { status, body } = await ask({ question: 'x'.repeat(4_001), history, more: 1 });
    expect([status, body.errors.map(({ path }) => path).toSorted()]).toEqual([
      422,
      ['', 'history.0.author', 'history.0.text', 'question'],
    ]);
    const long = Array.from({ length: 41 }, () => ({ author: 'ai', text: 'x' }));
    expect((await ask({ question: 'When?', history: long })).status).toBe(422);

    const { key: readOnly } = await api.createWorkspace();
    await api.database.query(`UPDATE api_keys SET scopes = '{read}' WHERE key_hash = $1`, [
      Buffer.from(hashApiKey(readOnly), 'hex'),
    ]);
    expect((await ask({ question: 'When?' }, readOnly)).body.code).toBe('scope_missing');
  });

  it('is 503 with a pause while rag is busy', async () => {
    rag.script.ask = () => Promise.reject(new Transient('stopping', 'Stopping.', { retryAfterMs: 1_000 }));
    const { status, body, headers } = await ask({ question: 'When?' });
    expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'stopping', '1']);
  });

  it('ends the work when the client hangs up', async () => {
    const asked = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    rag.script.ask = async (_request, _send, signal) => {
      asked.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended.resolve();
    };
    const gone = new AbortController();
    const call = askForEvents('application/json', gone.signal);
    await asked.promise;
    gone.abort();
    await expect(call).rejects.toThrow();
    await ended.promise;
  });
});

describe('asking for events', () => {
  it('sends each token when it comes, and the result last', async () => {
    const gate = Promise.withResolvers<void>();
    rag.script.ask = async (_request, send) => {
      send({ token: 'At\n' });
      await gate.promise;
      send({ token: 'seven.' });
      send(resultEvent);
    };
    const response = await askForEvents();
    expect([response.status, response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual([
      200,
      'text/event-stream',
      'no-store',
    ]);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader?.read())?.value ?? '';
    expect(eventsIn(text)).toEqual([['token', { text: 'At\n' }]]);
    gate.resolve();
    for (let piece = await reader?.read(); piece?.value !== undefined; piece = await reader?.read())
      text += piece.value;
    expect(eventsIn(text)).toEqual([
      ['token', { text: 'At\n' }],
      ['token', { text: 'seven.' }],
      ['result', result],
    ]);
  });

  it.each<[string, boolean]>([
    ['application/json, text/event-stream;q=0.5', true],
    ['Text/Event-Stream; charset=utf-8', true],
    ['text/event-stream;q=0, application/json', false],
    ['*/*', false],
    ['text/*', false],
  ])('is done for Accept: %s: %s', async (accept, events) => {
    const response = await askForEvents(accept);
    expect((await response.text()).startsWith('event: result')).toBe(events);
  });

  it('answers what fails before the first token as a problem', async () => {
    rag.script.ask = () => Promise.reject(new InvalidInput('chatbot_not_found', 'None.', { httpStatus: 404 }));
    const response = await askForEvents();
    expect([response.status, response.headers.get('content-type')]).toEqual([
      404,
      'application/problem+json; charset=utf-8',
    ]);
    expect(await response.json()).toMatchObject({ code: 'not_found' });
  });

  it('tells of what fails later by an event', async () => {
    rag.script.ask = (_request, send) => {
      send({ token: 'At ' });
      throw new Transient('stopping', 'Stopping.');
    };
    const events = eventsIn(await (await askForEvents()).text());
    expect(events).toEqual([
      ['token', { text: 'At ' }],
      ['error', expect.objectContaining({ status: 503, code: 'stopping', correlationId: expect.any(String) })],
    ]);
  });

  it('ends the work when the client hangs up in the middle', async () => {
    const ended = Promise.withResolvers<void>();
    rag.script.ask = async (_request, send, signal) => {
      send({ token: 'At ' });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended.resolve();
    };
    const gone = new AbortController();
    const response = await askForEvents('text/event-stream', gone.signal);
    await response.body?.getReader().read();
    gone.abort();
    await ended.promise;
    await eventually(async () => (await fetch(`${api.origin}/health/live`)).status === 200, { what: 'it still runs' });
  });

  it('stands in the description of the API', () => {
    const content = api.openApi.paths['/api/v1/chatbots/{id}/ask']?.['post']?.responses['200']?.content;
    expect(Object.keys(content ?? {})).toEqual(['application/json', 'text/event-stream']);
  });
});

it('logs no question and no answer', () => {
  for (const text of ['When do you open', 'At seven', 'Visit us']) expect(api.logs.text()).not.toContain(text);
});
