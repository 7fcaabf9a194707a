import { type ApiAnswer, eventually, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const idsOf = ({ body }: ApiAnswer): string[] => body.items.map(({ id }) => id);

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

describe('chatbots and sources', () => {
  it('creates, lists in pages and reads chatbots', async () => {
    const { key } = await api.createWorkspace();
    const created = await api.call('POST', '/chatbots', {
      key,
      body: { name: ' Assistant ', language: 'es', quietMs: 0 },
    });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      name: 'Assistant',
      language: 'es',
      quietMs: 0,
      quietMaxMs: 6_000,
      aiEnabled: true,
    });
    const second = await api.createChatbot(key);
    const first = await api.call('GET', '/chatbots?limit=1', { key });
    expect(idsOf(first)).toEqual([second]);
    const next = await api.call('GET', `/chatbots?limit=1&cursor=${first.body.nextCursor}`, { key });
    expect(next.body).toEqual({ items: [created.body], nextCursor: null });
    expect((await api.call('GET', `/chatbots/${created.body.id}`, { key })).body).toEqual(created.body);
  });

  it('stores a source as due and rings, and marks it for deletion the same way', async () => {
    const rings: string[] = [];
    const stop = api.bus.onRing('source', (id) => void rings.push(id));
    const { key } = await api.createWorkspace();
    const chatbotId = await api.createChatbot(key);
    const body = {
      type: 'markdown',
      title: 'Hours',
      text: '# Hours\n\nWe open at seven. 🥐',
      url: 'https://example.com/hours',
    };
    const added = await api.call('POST', `/chatbots/${chatbotId}/sources`, { key, body });
    expect(added.status).toBe(201);
    expect(added.body).toMatchObject({ chatbotId, state: 'pending', passageCount: 0, url: body.url, errorCode: null });
    const due = () =>
      api.database.query(`SELECT state, content, due_at <= now() AS due FROM sources WHERE id = $1`, [added.body.id]);
    expect(await due()).toEqual([{ state: 'pending', content: body.text, due: true }]);
    expect((await api.call('GET', `/chatbots/${chatbotId}/sources`, { key })).body.items).toEqual([added.body]);

    await api.database.query(`UPDATE sources SET state = 'ready', due_at = NULL WHERE id = $1`, [added.body.id]);
    const deleted = await api.call('DELETE', `/sources/${added.body.id}`, { key });
    expect([deleted.status, deleted.body.state]).toEqual([202, 'deleting']);
    expect(await due()).toEqual([{ state: 'deleting', content: body.text, due: true }]);
    expect((await api.call('GET', `/sources/${added.body.id}`, { key })).body.state).toBe('deleting');
    await eventually(() => expect(rings).toEqual([added.body.id, added.body.id]), { what: 'both rings' });
    stop();
  });
});
