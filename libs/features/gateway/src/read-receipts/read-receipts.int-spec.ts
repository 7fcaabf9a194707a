import { randomUUID } from 'node:crypto';
import { newId } from '@answerline/persistence';
import { type FurnishedWorkspace, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
let shop: FurnishedWorkspace;
beforeAll(async () => {
  api = await startTestGateway();
  shop = await api.furnish();
});
afterAll(() => api.stop());

let number = 0;
/** A turn and what was said to it; its ids. */
async function addReply(kind: string): Promise<{ turnId: string; replyId: string }> {
  const [turnId, replyId] = [newId(), newId()];
  number += 1;
  await api.database.query(
    `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch)
     VALUES ($1, $2, $3, $4, $4, 'replied', 1)`,
    [turnId, shop.id, shop.conversationId, number],
  );
  await api.database.query(
    `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text)
     VALUES ($1, $2, $3, $4, $5, 'ai', $6, 'At seven.')`,
    [replyId, shop.id, shop.channelId, shop.conversationId, turnId, kind],
  );
  return { turnId, replyId };
}

async function addPassage(): Promise<string> {
  const [documentId, passageId] = [newId(), newId()];
  await api.database.query(
    `INSERT INTO documents (id, workspace_id, source_id, title, sha256) VALUES ($1, $2, $3, 'Hours', '')`,
    [documentId, shop.id, shop.sourceId],
  );
  await api.database.query(
    `INSERT INTO passages (id, workspace_id, chatbot_id, source_id, document_id, ordinal, title, heading_path, text, sha256)
     VALUES ($1, $2, $3, $4, $5, 0, 'Hours', '{}', 'We open at seven.', '')`,
    [passageId, shop.id, shop.chatbotId, shop.sourceId, documentId],
  );
  return passageId;
}

async function addReceipt(about: Record<string, string>, values: Record<string, unknown> = {}): Promise<string> {
  const row: Record<string, unknown> = {
    id: newId(),
    workspace_id: shop.id,
    question: 'When do you open?',
    passages: '[]',
    model: 'extractive',
    timings: '{}',
    ...about,
    ...values,
  };
  const names = Object.keys(row);
  await api.database.query(
    `INSERT INTO receipts (${names.join(', ')}) VALUES (${names.map((_, place) => `$${place + 1}`).join(', ')})`,
    Object.values(row),
  );
  return String(row['id']);
}

describe('a receipt', () => {
  it('says how the reply that is a message came about', async () => {
    const { turnId, replyId } = await addReply('answer');
    const passage = { sha256: 'a'.repeat(64), lexicalRank: 1, lexicalScore: 4.5, vectorRank: null, vectorScore: null };
    const passages = [
      { passageId: await addPassage(), ...passage, cited: true },
      {
        passageId: randomUUID(),
        ...passage,
        lexicalRank: null,
        lexicalScore: null,
        vectorRank: 1,
        vectorScore: 0.7,
        cited: false,
      },
    ];
    const id = await addReceipt(
      { turn_id: turnId, reply_id: replyId },
      {
        passages: JSON.stringify(passages),
        rewritten_question: 'When does the bakery open?',
        search_mode: 'hybrid',
        prompt_version: '1',
        model: 'gpt-5-mini',
        input_tokens: 900,
        output_tokens: 40,
        cost_micros: 5_000_000_000,
        timings: '{"searchMs":4.5,"answerMs":900}',
        created_at: '2026-11-20T10:00:00Z',
      },
    );
    const expected = {
      id,
      question: 'When do you open?',
      rewrittenQuestion: 'When does the bakery open?',
      searchMode: 'hybrid',
      passages: [
        { ...passages[0], title: 'Hours' },
        { ...passages[1], title: null },
      ],
      promptVersion: '1',
      model: 'gpt-5-mini',
      usage: { inputTokens: 900, outputTokens: 40 },
      costMicros: 5_000_000_000,
      timings: { searchMs: 4.5, answerMs: 900 },
      createdAt: '2026-11-20T10:00:00.000Z',
    };
    const { key } = shop;
    expect((await api.call('GET', `/messages/${replyId}/receipt`, { key })).body).toEqual(expected);
    expect((await api.call('GET', `/receipts/${id}`, { key })).body).toEqual(expected);
    const { items } = (await api.call('GET', `/conversations/${shop.conversationId}/messages`, { key })).body;
    expect(items.map((message) => message.id)).toContain(replyId);
  });

  it('is there for a question that was asked by API', async () => {
    const id = await addReceipt({ chatbot_id: shop.chatbotId });
    expect((await api.call('GET', `/receipts/${id}`, { key: shop.key })).body).toMatchObject({
      id,
      searchMode: null,
      costMicros: null,
      passages: [],
    });
  });

  it('is not there for an inbound message, a reply without one, and what does not exist', async () => {
    const messageId = newId();
    await api.database.query(
      `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, direction, author, type, text,
                             provider_message_id, sent_at, place, received_at, raw)
       VALUES ($1, $2, $3, $4, 'inbound', 'contact', 'text', 'Hello', 'wamid.x', now(), 0, now(), '{}')`,
      [messageId, shop.id, shop.channelId, shop.conversationId],
    );
    const { replyId } = await addReply('fallback');
    for (const path of [`/messages/${messageId}/receipt`, `/messages/${replyId}/receipt`, `/receipts/${replyId}`]) {
      expect((await api.call('GET', path, { key: shop.key })).status).toBe(404);
    }
  });

  it('is about a turn or an asked question, never both or neither', async () => {
    const { turnId, replyId } = await addReply('answer');
    const refused = { code: '23514' };
    await expect(addReceipt({})).rejects.toMatchObject(refused);
    await expect(addReceipt({ turn_id: turnId, chatbot_id: shop.chatbotId })).rejects.toMatchObject(refused);
    await expect(addReceipt({ reply_id: replyId, chatbot_id: shop.chatbotId })).rejects.toMatchObject(refused);
    await expect(addReceipt({ turn_id: turnId }, { search_mode: 'odd' })).rejects.toMatchObject(refused);
  });
});
