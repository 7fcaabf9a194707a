import { describe, expect, it } from '@jest/globals';
import { asDemo } from './as-demo.ts';
import { oddities } from './oddities.ts';
import { walkBody } from './walk-body.ts';

const bodyOf = (field: string, value: unknown) => ({ entry: [{ changes: [{ field, value }] }] });

describe('walkBody', () => {
  it('finds every message, echo and status', () => {
    const value = {
      metadata: { phone_number_id: '7' },
      messages: [{ id: 'a', type: 'text' }, { from: '1' }],
      message_echoes: [{ id: 'b', type: 'image' }],
      statuses: [{ id: 'c' }, { id: 'd' }],
    };
    const { messages, echoes, statuses, others } = walkBody({
      entry: [bodyOf('messages', value).entry[0], { changes: [{ field: 'account_update', value: {} }] }],
    });
    expect(messages.map(({ id, type, phoneNumberId }) => [id, type, phoneNumberId])).toEqual([
      ['a', 'text', '7'],
      [undefined, 'unknown', '7'],
    ]);
    expect([echoes.length, statuses, others]).toEqual([1, 2, 1]);
  });

  it.each([null, 3, 'x', [], {}, { entry: {} }, { entry: [null, { changes: 1 }] }])('finds nothing in %j', (body) => {
    expect(walkBody(body)).toEqual({ messages: [], echoes: [], statuses: 0, others: 0 });
  });

  it('does not take the statuses of calls for those of messages', () => {
    expect(walkBody(bodyOf('calls', { statuses: [{ id: 'x' }] }))).toMatchObject({ statuses: 0, others: 1 });
  });
});

describe('asDemo', () => {
  it('moves a body to the demo and keeps what refers to its own messages', () => {
    const made = asDemo(
      bodyOf('messages', {
        metadata: { phone_number_id: '7' },
        messages: [
          { id: 'a', context: { id: 'z', from: '1' }, image: { id: 'media' } },
          { id: 'b', reaction: { message_id: 'a' } },
          { edit: { original_message_id: 'a', message: { id: 'keep' } } },
        ],
        statuses: [{ id: 'c', conversation: { id: 'keep' } }],
      }),
      'f.json',
      '9',
    );
    expect(made).toEqual(
      bodyOf('messages', {
        metadata: { phone_number_id: '9' },
        messages: [
          { id: 'f.json:a', context: { id: 'f.json:z', from: '1' }, image: { id: 'media' } },
          { id: 'f.json:b', reaction: { message_id: 'f.json:a' } },
          { edit: { original_message_id: 'f.json:a', message: { id: 'keep' } } },
        ],
        statuses: [{ id: 'f.json:c', conversation: { id: 'keep' } }],
      }),
    );
  });
});

describe('oddities', () => {
  const found = Object.fromEntries(oddities('7').map(({ name, body }) => [name, walkBody(body)]));

  it('are as odd as their names say', () => {
    const bytes = Object.fromEntries(oddities('7').map(({ name, body }) => [name, JSON.stringify(body).length]));
    expect(bytes['2.9 MB']).toBeGreaterThan(2_900_000);
    expect(bytes['2.9 MB']).toBeLessThan(3_000_000);
    expect([found['1,000 updates']?.messages.length, found['1,000 updates']?.statuses]).toEqual([600, 400]);
    expect(found['message without type']?.messages[0]?.raw).not.toHaveProperty('type');
    expect(found['message without id']?.messages[0]?.raw).not.toHaveProperty('id');
    expect(found['several entries']).toMatchObject({ statuses: 1, others: 0 });
  });

  it('are the same each time, each message with an id of its own', () => {
    expect(JSON.stringify(oddities('7'))).toBe(JSON.stringify(oddities('7')));
    const ids = Object.values(found).flatMap(({ messages }) => messages.map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
  });
});
