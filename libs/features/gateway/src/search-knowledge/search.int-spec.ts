import { randomUUID } from 'node:crypto';
import { type SearchRequest } from '@answerline/contracts';
import { Transient } from '@answerline/errors';
import { startTestGateway, startTestRag, type TestGateway, type TestRag } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
let rag: TestRag;
const asked: SearchRequest[] = [];
beforeAll(async () => {
  rag = await startTestRag({ search: () => Promise.reject(new Error('not scripted')), ask: () => undefined });
  api = await startTestGateway({ ragUrl: rag.url });
});
afterAll(async () => {
  await api.stop();
  await rag.stop();
});

describe('searching a knowledge base', () => {
  it('asks rag for the workspace of the key, and shows the places in both lists', async () => {
    const { id: workspaceId, key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const passage = { title: 'Prices', headingPath: ['Menu'], text: 'A croissant costs two coins.' };
    const [first, second] = [
      { passageId: randomUUID(), sourceId: randomUUID(), ...passage, score: 1.2 },
      { passageId: randomUUID(), sourceId: randomUUID(), ...passage, score: -0.4 },
    ];
    rag.script.search = (request) => {
      asked.push(request);
      return {
        mode: 'SEARCH_MODE_HYBRID',
        lexicalReason: '',
        passages: [
          { ...first, lexical: { rank: 2, score: 7.5 }, vector: { rank: 1, score: 0.8 } },
          { ...second, lexical: undefined, vector: { rank: 2, score: 0.7 } },
        ],
      };
    };
    const { status, body } = await api.call('GET', `/chatbots/${chatbotId}/search?q=%20croissant&limit=2`, { key });
    expect(status).toBe(200);
    expect(asked).toEqual([{ workspaceId, chatbotId, text: 'croissant', limit: 2 }]);
    expect(body).toEqual({
      mode: 'hybrid',
      lexicalReason: null,
      items: [
        { ...first, rank: 1, lexicalRank: 2, lexicalScore: 7.5, vectorRank: 1, vectorScore: 0.8 },
        { ...second, rank: 2, lexicalRank: null, lexicalScore: null, vectorRank: 2, vectorScore: 0.7 },
      ],
    });
  });

  it('takes ten unless told, and refuses what is no search', async () => {
    const { key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    rag.script.search = (request) => {
      asked.push(request);
      return { mode: 'SEARCH_MODE_LEXICAL', lexicalReason: 'embedder_unavailable', passages: [] };
    };
    expect((await api.call('GET', `/chatbots/${chatbotId}/search?q=a`, { key })).body).toEqual({
      mode: 'lexical',
      lexicalReason: 'embedder_unavailable',
      items: [],
    });
    expect(asked.at(-1)?.limit).toBe(10);
    for (const query of ['q=', 'q=a&limit=0', 'q=a&limit=51', `q=${'x'.repeat(2_001)}`, '']) {
      expect((await api.call('GET', `/chatbots/${chatbotId}/search?${query}`, { key })).status).toBe(422);
    }
  });

  it('is 500 for a bug in rag, and says no more', async () => {
    const { key } = await api.createWorkspace();
    const path = `/chatbots/${await api.createChatbot(key)}/search?q=a`;
    rag.script.search = () => Promise.reject(new Error('row 17'));
    const { status, body } = await api.call('GET', path, { key });
    expect([status, body.code]).toEqual([500, 'internal_error']);
    expect(JSON.stringify(body)).not.toContain('row 17');
  });

  it('is 503 while rag, or something that rag needs, is away; the gateway stays ready', async () => {
    const { key } = await api.createWorkspace();
    const path = `/chatbots/${await api.createChatbot(key)}/search?q=a`;
    rag.script.search = () =>
      Promise.reject(new Transient('knowledge_index_unavailable', 'Away.', { retryAfterMs: 4_500 }));
    const indexAway = await api.call('GET', path, { key });
    expect([indexAway.status, indexAway.body.code, indexAway.headers.get('retry-after')]).toEqual([
      503,
      'knowledge_index_unavailable',
      '5',
    ]);
    await rag.stop();
    const ragAway = await api.call('GET', path, { key });
    expect([ragAway.status, ragAway.body.code, ragAway.headers.get('retry-after')]).toEqual([
      503,
      'rag_unavailable',
      '2',
    ]);
    expect((await fetch(`${api.origin}/health/ready`)).status).toBe(200);
  });
});
