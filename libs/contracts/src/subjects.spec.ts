import { describe, expect, it } from '@jest/globals';
import {
  deadLetterSubject,
  doorbellSubject,
  eventSubject,
  liveSubject,
  parseDeadLetterSubject,
  parseEventSubject,
  parseWebhookSubject,
  webhookSubject,
  workspaceOfSubject,
} from './subjects.ts';

const workspaceId = '019ab2f0-0000-7000-8000-000000000001';
const keyId = '019ab2f0-0000-7000-8000-000000000002';
const channelId = '019ab2f0-0000-7000-8000-000000000003';
const conversationId = '019ab2f0-0000-7000-8000-000000000004';

describe('subjects', () => {
  it('are what the streams take', () => {
    expect(webhookSubject(workspaceId, keyId)).toBe(`webhooks.${workspaceId}.${keyId}`);
    expect(eventSubject('message_received', workspaceId, channelId, conversationId)).toBe(
      `events.message_received.${workspaceId}.${channelId}.${conversationId}`,
    );
    expect(deadLetterSubject('WEBHOOKS', 'ingest', workspaceId)).toBe(`dead.WEBHOOKS.ingest.${workspaceId}`);
    expect(deadLetterSubject('WEBHOOKS', 'ingest', null)).toBe('dead.WEBHOOKS.ingest.none');
    expect(liveSubject(workspaceId, conversationId)).toBe(`live.${workspaceId}.${conversationId}`);
    expect(doorbellSubject('turn')).toBe('doorbell.turn');
  });

  it('come apart into what they were made of', () => {
    expect(parseWebhookSubject(webhookSubject(workspaceId, keyId))).toEqual({ workspaceId, keyId });
    const event = { type: 'reply_failed', workspaceId, channelId, conversationId } as const;
    expect(parseEventSubject(eventSubject(event.type, workspaceId, channelId, conversationId))).toEqual(event);
    const ofWorkspace = { ...event, channelId: null, conversationId: null };
    expect(parseEventSubject(eventSubject(event.type, workspaceId, null, null))).toEqual(ofWorkspace);
    for (const workspace of [workspaceId, null]) {
      expect(parseDeadLetterSubject(deadLetterSubject('EVENTS', 'fanout', workspace))).toEqual({
        stream: 'EVENTS',
        consumer: 'fanout',
        workspaceId: workspace,
      });
    }
  });

  it.each([
    '',
    '*',
    '>',
    `${workspaceId}.x`,
    `${workspaceId} `,
    ` ${workspaceId}`,
    `${workspaceId}\n`,
    '5511999990000',
    'wamid.ABC',
    workspaceId.toUpperCase(),
  ])('refuse the token %j without repeating it', (token) => {
    const attempts = [
      () => webhookSubject(token, keyId),
      () => webhookSubject(workspaceId, token),
      () => eventSubject('message_received', workspaceId, token, conversationId),
      () => deadLetterSubject('WEBHOOKS', 'ingest', token),
      () => liveSubject(workspaceId, token),
    ];
    for (const attempt of attempts) expect(attempt).toThrow(/^A subject token must be one of our ids or words\.$/);
  });

  it('refuse stream and consumer names that are no tokens', () => {
    expect(() => deadLetterSubject('WEB.HOOKS', 'ingest', null)).toThrow(TypeError);
    expect(() => deadLetterSubject('WEBHOOKS', '>', null)).toThrow(TypeError);
  });

  it.each(['', 'webhooks', `webhooks.${workspaceId}`, `webhooks.${workspaceId}.${keyId}.x`, `webhooks.x.${keyId}`])(
    'do not take %j for a webhook',
    (subject) => {
      expect(parseWebhookSubject(subject)).toBeNull();
    },
  );

  it('name their workspace', () => {
    expect(workspaceOfSubject(webhookSubject(workspaceId, keyId))).toBe(workspaceId);
    expect(workspaceOfSubject(eventSubject('reply_accepted', workspaceId, channelId, conversationId))).toBe(
      workspaceId,
    );
    expect(workspaceOfSubject('elsewhere.x')).toBeNull();
  });
});
