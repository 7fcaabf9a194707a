import { randomUUID } from 'node:crypto';
import { newId } from '@answerline/persistence';
import { type ApiAnswer, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

describe('reading conversations', () => {
  it('pages through conversations by the time of the last message, those without one first', async () => {
    const { id, key, channelId, conversationId } = await api.furnish();
    const later = await api.addConversation(id, channelId, '2026-11-21T10:00:00.123456Z');
    const sameTime = await api.addConversation(id, channelId, '2026-11-21T10:00:00.123456Z');
    const [silent, silentToo] = [
      await api.addConversation(id, channelId, null),
      await api.addConversation(id, channelId, null),
    ];
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body }: ApiAnswer = await api.call(
        'GET',
        `/conversations?channelId=${channelId}&limit=2${cursor && `&cursor=${cursor}`}`,
        { key },
      );
      seen.push(...body.items.map(({ id }) => id));
      cursor = body.nextCursor;
    }
    expect(seen).toEqual([silentToo, silent, sameTime, later, conversationId]);
    expect((await api.call('GET', `/conversations/${later}`, { key })).body).toMatchObject({
      id: later,
      contactName: 'Customer A',
      owner: 'ai',
      waiting: 0,
      lastInboundAt: '2026-11-21T10:00:00.123Z',
    });
    for (const cursor of ['x', randomUUID(), Buffer.from('[1]').toString('base64url')]) {
      expect((await api.call('GET', `/conversations?cursor=${cursor}`, { key })).status).toBe(422);
    }
  });

  it('tells plainly why a test number of Meta did not reach somebody', async () => {
    const { id: workspaceId, key, channelId, conversationId } = await api.furnish();
    const replyId = newId();
    await api.database.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text) VALUES ($1, $2, $3, $4, 'ai', 'answer', 'Hi')`,
      [replyId, workspaceId, channelId, conversationId],
    );
    await api.database.query(
      `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, failure)
       VALUES ($1, $2, $3, $4, $5, 0, 0, 'ai', 1, 'Hi', 'failed', 'recipient_not_in_allowed_list')`,
      [newId(), workspaceId, channelId, conversationId, replyId],
    );
    const { body } = await api.call('GET', `/conversations/${conversationId}/messages`, { key });
    expect(body.items).toMatchObject([
      {
        status: 'failed',
        failure: 'recipient_not_in_allowed_list',
        failureHint: expect.stringMatching(/test number.*131030.*Add the recipient at Meta/) as unknown,
      },
    ]);
  });

  it('shows what Meta said of a file, whatever stands in it', async () => {
    const { id: workspaceId, key, channelId, conversationId } = await api.furnish();
    const document = {
      id: 'm1',
      mime_type: 'application/pdf',
      filename: 'order\u0000.pdf',
      file_size: 2048,
      caption: 'First',
    };
    const messages = [
      ['document', 'As edited', { type: 'document', document }],
      ['audio', null, { type: 'audio', audio: { id: 'm2', mime_type: 'audio/ogg; codecs=opus', voice: true } }],
      ['image', null, { type: 'image' }],
    ] as const;
    for (const [place, [type, text, raw]] of messages.entries()) {
      await api.database.query(
        `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, direction, author, type, text,
                               provider_message_id, sent_at, place, received_at, media_state, raw)
         VALUES ($1, $2, $3, $4, 'inbound', 'contact', $5, $6, $7, '2026-11-20T10:00:00Z', $8, now(), 'not_fetched', $9)`,
        [newId(), workspaceId, channelId, conversationId, type, text, `wamid.${newId()}`, place, JSON.stringify(raw)],
      );
    }
    const { body } = await api.call('GET', `/conversations/${conversationId}/messages`, { key });
    const state = 'not_fetched';
    const nothing = { mimeType: null, fileName: null, sizeBytes: null, caption: null, state };
    expect(body.items.map(({ type, text, media }) => [type, text, media])).toEqual([
      ['image', null, nothing],
      ['audio', null, { ...nothing, mimeType: 'audio/ogg; codecs=opus' }],
      [
        'document',
        'As edited',
        { mimeType: 'application/pdf', fileName: 'order.pdf', sizeBytes: 2048, caption: 'First', state },
      ],
    ]);
  });

  it('shows both sides in one list that pages stably while more is said', async () => {
    const { id: workspaceId, key, channelId, conversationId } = await api.furnish();
    let number = 0;
    const message = async (sentAt: string, place = 0): Promise<string> => {
      const id = newId();
      await api.database.query(
        `INSERT INTO messages (id, workspace_id, channel_id, conversation_id, number, direction, author, type, text,
                               provider_message_id, context_message_id, sent_at, place, received_at, raw)
         VALUES ($1, $2, $3, $4, $5, 'inbound', 'contact', 'text', 'Hello', $6, 'wamid.quoted', $7, $8, $7, '{}')`,
        [id, workspaceId, channelId, conversationId, ++number, `wamid.${id}`, sentAt, place],
      );
      return id;
    };
    const turnId = newId();
    let position = 0;
    const reply = async (createdAt: string, parts: [phase: string, delivery: string | null][]): Promise<string> => {
      const id = newId();
      await api.database.query(
        `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, turn_id, author, kind, text, quote_message_id, created_at)
         VALUES ($1, $2, $3, $4, $5, 'ai', 'answer', 'We open at seven.', 'wamid.asked', $6)`,
        [id, workspaceId, channelId, conversationId, parts.length > 1 ? turnId : null, createdAt],
      );
      for (const [part, [phase, delivery]] of parts.entries()) {
        const sendId = newId();
        await api.database.query(
          `INSERT INTO sends (id, workspace_id, channel_id, conversation_id, reply_id, part, position, author, epoch, body, phase, delivery)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'ai', 1, '', $8, $9)`,
          [sendId, workspaceId, channelId, conversationId, id, part, ++position, phase, delivery],
        );
        await api.database.query(
          `INSERT INTO attempts (id, workspace_id, channel_id, send_id, number, phase, started_at, provider_message_id)
           VALUES ($1, $2, $3, $4, 1, 'accepted', now(), $5)`,
          [newId(), workspaceId, channelId, sendId, `wamid.out${part}`],
        );
      }
      return id;
    };
    await api.database.query(
      `INSERT INTO turns (id, workspace_id, conversation_id, first_number, last_number, outcome, epoch) VALUES ($1, $2, $3, 1, 2, 'replied', 1)`,
      [turnId, workspaceId, conversationId],
    );
    const asked = await message('2026-11-20T10:00:00Z', 0);
    const askedMore = await message('2026-11-20T10:00:00Z', 1);
    const answered = await reply('2026-11-20T10:00:02.000001Z', [
      ['accepted', 'read'],
      ['accepted', 'delivered'],
    ]);
    const answeredToo = await reply('2026-11-20T10:00:02.000002Z', [['pending', null]]);
    const thanked = await message('2026-11-20T10:00:02.000002Z');
    const expected = [answeredToo, thanked, answered, askedMore, asked];

    const seen: Record<string, unknown>[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { body }: ApiAnswer = await api.call(
        'GET',
        `/conversations/${conversationId}/messages?limit=1${cursor && `&cursor=${cursor}`}`,
        { key },
      );
      expect(body.items).toHaveLength(1);
      seen.push(...body.items);
      cursor = body.nextCursor;
      // More is said while someone reads: no page changes.
      await message('2026-11-20T11:00:00Z');
    }
    expect(seen.map(({ id }) => id)).toEqual(expected);
    expect(seen[4]).toEqual({
      id: asked,
      conversationId,
      direction: 'inbound',
      author: 'contact',
      kind: null,
      type: 'text',
      text: 'Hello',
      media: null,
      providerMessageId: `wamid.${asked}`,
      status: null,
      failure: null,
      failureHint: null,
      sentAt: '2026-11-20T10:00:00.000Z',
      receivedAt: '2026-11-20T10:00:00.000Z',
      editedAt: null,
      revokedAt: null,
      turnId,
      replyToId: 'wamid.quoted',
    });
    expect(seen[2]).toMatchObject({
      direction: 'outbound',
      author: 'ai',
      kind: 'answer',
      type: 'text',
      text: 'We open at seven.',
      providerMessageId: 'wamid.out0',
      status: 'delivered',
      turnId,
      replyToId: 'wamid.asked',
    });
    expect(seen[0]).toMatchObject({ status: 'pending', turnId: null });
    expect(seen[1]).toMatchObject({ turnId: null });
  });
});
