import { type AskEvent } from '@answerline/contracts';
import { InvalidInput, Transient, Unexpected } from '@answerline/errors';
import { withCorrelation } from '@answerline/logging';
import { eventually, startTestRag, type TestRag } from '@answerline/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RagClient } from './rag-client.ts';

let rag: TestRag;
let client: RagClient;
const where = { workspaceId: 'w', chatbotId: 'c' };
const search = () => client.search({ ...where, text: 'hours', limit: 5 });
const ask = (options: Parameters<RagClient['ask']>[1] = {}) =>
  client.ask({ ...where, question: 'When?', history: [{ author: 'human', text: 'Hello' }] }, options);
const result = (text: string): AskEvent => ({
  result: { text, kind: 'ANSWER_KIND_ABSTAIN', citations: [], receiptId: '' },
});

beforeEach(async () => {
  rag = await startTestRag({
    search: () => ({ mode: 'SEARCH_MODE_HYBRID', lexicalReason: '', passages: [] }),
    ask: (_request, send) => send(result('No idea.')),
  });
  client = new RagClient({ url: rag.url, token: 't0ken' });
});
afterEach(async () => {
  client.close();
  await rag.stop();
});

describe('search', () => {
  it('shows its token and correlation id, and reads what is there and what is not', async () => {
    const seen: unknown[] = [];
    rag.script.search = (request, metadata) => {
      seen.push(request, metadata.get('authorization'), metadata.get('correlation-id'));
      const passage = { passageId: 'p', sourceId: 's', title: 'T', headingPath: ['H'], text: 'x', score: -0.5 };
      const vector = { rank: 1, score: 0 };
      return {
        mode: 'SEARCH_MODE_LEXICAL',
        lexicalReason: 'embedder_unavailable',
        passages: [{ ...passage, lexical: undefined, vector }],
      };
    };
    expect(await withCorrelation('c-1', search)).toEqual({
      mode: 'lexical',
      lexicalReason: 'embedder_unavailable',
      passages: [
        {
          passageId: 'p',
          sourceId: 's',
          title: 'T',
          headingPath: ['H'],
          text: 'x',
          score: -0.5,
          lexical: null,
          vector: { rank: 1, score: 0 },
        },
      ],
    });
    expect(seen).toEqual([{ ...where, text: 'hours', limit: 5 }, ['Bearer t0ken'], ['c-1']]);
  });

  it.each<[string, Error, object]>([
    ['a refusal', new InvalidInput('x_wrong', 'No.'), { kind: 'invalid_input', code: 'x_wrong', httpStatus: 422 }],
    [
      'what is not there',
      new InvalidInput('chatbot_not_found', 'No.', { httpStatus: 404 }),
      { kind: 'invalid_input', code: 'chatbot_not_found', httpStatus: 404 },
    ],
    [
      'what is busy',
      new Transient('index_away', 'Away.', { retryAfterMs: 700 }),
      { kind: 'transient', code: 'index_away', retryAfterMs: 700 },
    ],
    ['a bug', new Unexpected('odd', 'Odd.'), { kind: 'unexpected', code: 'internal_error' }],
    [
      'a token of ours that rag does not take, which is no fault of whoever asked us',
      new InvalidInput('token_invalid', 'No.', { httpStatus: 401 }),
      { kind: 'unexpected', code: 'rag_token_refused' },
    ],
  ])('throws %s as rag did', async (_what, thrown, expected) => {
    rag.script.search = () => Promise.reject(thrown);
    await expect(search()).rejects.toMatchObject(expected);
    rag.script.ask = () => Promise.reject(thrown);
    await expect(ask()).rejects.toMatchObject(expected);
  });

  it('is rag_call_failed when rag knows a mode that we do not', async () => {
    rag.script.search = () => ({ mode: 'SEARCH_MODE_UNSPECIFIED', lexicalReason: '', passages: [] });
    await expect(search()).rejects.toMatchObject({ kind: 'unexpected', code: 'rag_call_failed' });
  });

  it('is rag_unavailable while rag is away, at once', async () => {
    await search();
    await rag.stop();
    const startedAt = performance.now();
    await expect(search()).rejects.toMatchObject({ kind: 'transient', code: 'rag_unavailable', retryAfterMs: 2_000 });
    expect(performance.now() - startedAt).toBeLessThan(2_500);
  });
});

describe('ask', () => {
  it('hears tokens in their order and resolves to the result', async () => {
    const asked: unknown[] = [];
    rag.script.ask = (request, send) => {
      asked.push(request);
      for (const token of ['a', '', 'b']) send({ token });
      send({
        result: {
          text: 'ab',
          kind: 'ANSWER_KIND_ANSWER',
          citations: [{ passageId: 'p', sourceId: 's', title: 'T', url: '' }],
          receiptId: 'r',
        },
      });
    };
    const heard: string[] = [];
    expect(await ask({ onToken: (text) => heard.push(text) })).toEqual({
      kind: 'answer',
      text: 'ab',
      citations: [{ passageId: 'p', sourceId: 's', title: 'T', url: null }],
      receiptId: 'r',
    });
    expect(heard).toEqual(['a', '', 'b']);
    expect(asked).toEqual([{ ...where, question: 'When?', history: [{ author: 'AUTHOR_HUMAN', text: 'Hello' }] }]);
  });

  it('cancels the call at an abort, and rejects with its reason', async () => {
    const cancelled = Promise.withResolvers<void>();
    rag.script.ask = async (_request, send, signal) => {
      send({ token: 'a' });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      cancelled.resolve();
    };
    const gone = new AbortController();
    const reason = new Error('gone');
    await expect(ask({ signal: gone.signal, onToken: () => gone.abort(reason) })).rejects.toBe(reason);
    await cancelled.promise;
    await expect(ask({ signal: gone.signal })).rejects.toBe(reason);
  });

  it('fails when rag ends the stream without a result, and when rag dies in the middle of it', async () => {
    rag.script.ask = (_request, send) => send({ token: 'a' });
    await expect(ask()).rejects.toMatchObject({ kind: 'unexpected', code: 'rag_call_failed' });
    rag.script.ask = (_request, send) => {
      send({ token: 'a' });
      return new Promise(() => undefined);
    };
    await expect(ask({ onToken: () => void rag.stop() })).rejects.toMatchObject({
      kind: 'transient',
      code: 'rag_unavailable',
    });
  });
});

it('finds rag within 2 s after it came back, however long it was away', async () => {
  await search();
  await rag.stop();
  // Without its bound the pause between tries would have grown beyond 4 s by then.
  const awaySince = performance.now();
  await eventually(
    async () => {
      await search().catch(() => undefined);
      return performance.now() - awaySince > 8_000;
    },
    { what: '8 s of tries', timeoutMs: 10_000 },
  );
  await rag.restart();
  const backSince = performance.now();
  await eventually(search, { what: 'rag is found' });
  expect(performance.now() - backSince).toBeLessThan(3_500);
}, 20_000);
