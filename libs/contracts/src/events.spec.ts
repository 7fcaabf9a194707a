import { describe, expect, it } from '@jest/globals';
import { deadLetterSchema, eventDataSchemas, eventId, isEventType, parseEvent } from './events.ts';

const rowId = '019ab2f0-0000-7000-8000-000000000001';
const ids = { conversationId: rowId, channelId: rowId, contactId: rowId };
const anEvent = (change: object = {}) => ({
  id: eventId('message_received', rowId),
  type: 'message_received',
  occurredAt: '2026-01-02T03:04:05.678Z',
  workspaceId: rowId,
  correlationId: 'abc',
  data: { ...ids, messageId: rowId, messageType: 'text', number: 3 },
  ...change,
});

describe('parseEvent', () => {
  it('returns the event with its data typed by its type', () => {
    const event = parseEvent(anEvent());
    expect(event).toEqual(anEvent());
    expect(event.type === 'message_received' && event.data.number).toBe(3);
  });

  it('leaves out fields of a later version', () => {
    expect(parseEvent(anEvent({ later: 1, data: { ...anEvent().data, later: 1 } }))).toEqual(anEvent());
  });

  it.each([
    ['an unknown type', { type: 'something_else', id: `something_else:${rowId}` }],
    ['an id of another type', { id: `reply_failed:${rowId}` }],
    ['data of another type', { data: { ...ids, reason: 'first' } }],
    ['a workspace that is no id', { workspaceId: 'w1' }],
    ['a local time', { occurredAt: '2026-01-02 03:04' }],
  ])('refuses %s', (_what, change) => {
    expect(() => parseEvent(anEvent(change))).toThrow();
  });

  it.each(['toString', 'constructor', '__proto__'])('does not take %s for a type', (type) => {
    expect(isEventType(type)).toBe(false);
  });
});

describe('the list of events', () => {
  it.each(Object.entries(eventDataSchemas))('%s is described, and so is every field of it', (_type, schema) => {
    expect(schema.description).toBeTruthy();
    const fields: readonly { description?: string | undefined }[] = Object.values(schema.shape);
    for (const field of fields) expect(field.description).toBeTruthy();
  });
});

describe('a dead letter', () => {
  it('stays far under the 64 KiB of its stream, whatever stands in it', () => {
    const largest = {
      id: 'x'.repeat(256),
      stream: 'x'.repeat(64),
      consumer: 'x'.repeat(64),
      subject: 'x'.repeat(4096),
      streamSequence: Number.MAX_SAFE_INTEGER,
      messageId: 'x'.repeat(1024),
      workspaceId: rowId,
      attempts: 5,
      errorCode: 'x'.repeat(64),
      occurredAt: '2026-01-02T03:04:05.678Z',
    };
    expect(deadLetterSchema.parse(largest)).toEqual(largest);
    expect(JSON.stringify(largest).length).toBeLessThan(16 * 1024);
    expect(deadLetterSchema.safeParse({ ...largest, subject: 'x'.repeat(4097) }).success).toBe(false);
  });
});
