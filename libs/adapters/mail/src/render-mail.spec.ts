import { describe, expect, it } from '@jest/globals';
import {
  type ChannelAlarmMail,
  type ChannelSuspendedMail,
  type HandoffMail,
  type MailContent,
  type QuotaMail,
  type TranscriptEntry,
} from './mail-content.ts';
import { renderMail } from './render-mail.ts';

const at = new Date('2026-11-23T13:05:00Z');
const common = { language: 'en', timeZone: 'Europe/Madrid', at } as const;
const apiUrl = 'https://answerline.example.com/api/v1';
const entry = (text: string | null, more: Partial<TranscriptEntry> = {}): TranscriptEntry => ({
  at,
  author: 'contact',
  type: 'text',
  text,
  isRevoked: false,
  isUndelivered: false,
  ...more,
});
const handoff = (more: Partial<HandoffMail> = {}): HandoffMail => ({
  ...common,
  kind: 'handoff',
  chatbotId: 'chatbot-id',
  chatbotName: 'Bakery',
  channelId: 'channel-id',
  conversationId: 'conversation-id',
  contactName: 'Customer A',
  contactPhone: '+12025550123',
  isHeldByHuman: true,
  mutedUntil: new Date('2026-11-24T13:05:00Z'),
  windowUntil: new Date('2026-11-24T13:00:00Z'),
  transcript: [entry('Human please')],
  isTranscriptCut: false,
  apiUrl,
  ...more,
});
const quota = (more: Partial<QuotaMail> = {}): QuotaMail => ({
  ...common,
  kind: 'quota',
  workspaceId: 'workspace-id',
  month: '2026-11',
  percent: 80,
  plan: 'growth',
  used: 4_000,
  limit: 5_000,
  upgradeUrl: 'https://example.com/plans?from=mail&now',
  ...more,
});
const channel = {
  ...common,
  chatbotId: 'chatbot-id',
  chatbotName: 'Bakery',
  channelId: 'channel-id',
  displayPhoneNumber: '+1 202 555 0199',
  apiUrl,
};
const alarm = (more: Partial<ChannelAlarmMail> = {}): ChannelAlarmMail => ({
  ...channel,
  kind: 'channel_alarm',
  code: 'token_expired',
  daysLeft: null,
  ...more,
});
const suspended: ChannelSuspendedMail = { ...channel, kind: 'channel_suspended', plan: 'free', upgradeUrl: null };

describe('a subject', () => {
  const planted = ['Customer', 'Bakery', '2025550', '202 555', 'Human please', 'growth'];
  it.each<[string, MailContent, string]>([
    ['handoff', handoff(), 'Somebody asks for a person (conversation conversation-id)'],
    ['quota', quota(), '80 % of the AI replies of 2026-11 are used'],
    ['channel_alarm', alarm(), 'WhatsApp needs your attention: token_expired (channel channel-id)'],
    ['an expiry', alarm({ daysLeft: 0 }), 'WhatsApp: the access token expires in 0 day(s) (channel channel-id)'],
    ['channel_suspended', suspended, 'WhatsApp is switched off by the plan (channel channel-id)'],
  ])('of %s has ids, codes and figures only', (_kind, content, expected) => {
    const { subject } = renderMail(content);
    expect(subject).toBe(expected);
    for (const text of planted) expect(subject).not.toContain(text);
    const { subject: spanish } = renderMail({ ...content, language: 'es' });
    expect(spanish).not.toBe(expected);
    expect(spanish).toMatch(/^[\p{L}\p{N} :().,%_-]+$/u);
  });

  it('cannot be given a second line, not by a code either', () => {
    const { subject, text } = renderMail(alarm({ code: 'x\r\nBcc: other@example.com' }));
    expect(subject).toBe('WhatsApp needs your attention: unknown (channel channel-id)');
    expect(text).not.toContain('Bcc');
  });
});

describe('a handoff mail', () => {
  it('says who, where, for how long the AI is silent and how to answer, in the time zone of the workspace', () => {
    const { text } = renderMail(handoff());
    expect(text).toContain('asked for a person on 2026-11-23 14:05 (Europe/Madrid)');
    expect(text).toContain('silent in this conversation until 2026-11-24 14:05.');
    expect(text).toContain('WhatsApp lets you answer until 2026-11-24 14:00;');
    expect(text).toContain(`POST ${apiUrl}/conversations/conversation-id/messages with {"text": "…"}`);
    expect(text).toContain(`POST ${apiUrl}/conversations/conversation-id/handoff with {"action": "hand_back"}`);
    expect(text).toContain('Contact: Customer A\nPhone: +12025550123\nChatbot: Bakery (chatbot-id)\n');
    expect(renderMail(handoff({ mutedUntil: null })).text).toContain(
      'silent in this conversation until you hand it back.',
    );
    expect(renderMail(handoff({ isHeldByHuman: false })).text).toContain('handed back to the AI meanwhile');
    expect(renderMail(handoff({ contactName: null, contactPhone: null })).text).toContain(
      'Contact: (no name)\nChatbot:',
    );
  });

  it('has the last 50 messages in its body and all of them in the attachment, in order', () => {
    const transcript = Array.from({ length: 120 }, (_, n) => entry(`message <${String(n)}>`));
    const { text, html, attachments } = renderMail(handoff({ transcript }));
    const numbersIn = (body: string, pattern: RegExp) => [...body.matchAll(pattern)].map(([, n]) => Number(n));
    const last = Array.from({ length: 50 }, (_, n) => 70 + n);
    expect(numbersIn(text, /message <(\d+)>/g)).toEqual(last);
    expect(numbersIn(html, /message &lt;(\d+)&gt;/g)).toEqual(last);
    expect(attachments.map(({ filename }) => filename)).toEqual(['conversation-conversation-id.txt']);
    expect(numbersIn(attachments[0]?.text ?? '', /message <(\d+)>/g)).toEqual(transcript.map((_, n) => n));
    expect(text).toContain('The last 50 messages. The whole conversation is attached.');
    expect(renderMail(handoff({ isTranscriptCut: true })).attachments[0]?.text).toContain(
      'Older messages are left out',
    );
  });

  it('says who wrote what, what was no text, what was taken back and what nobody got', () => {
    const { text } = renderMail(
      handoff({
        transcript: [
          entry('A photo', { type: 'image' }),
          entry(null, { type: 'sticker' }),
          entry('secret', { isRevoked: true }),
          entry('An answer', { author: 'ai' }),
          entry('Mine', { author: 'human', isUndelivered: true }),
          entry('odd', { type: '<script>' }),
        ],
      }),
    );
    expect(text).toContain('[2026-11-23 14:05] Contact\n    [image] A photo\n');
    expect(text).toContain('    [sticker]\n');
    expect(text).toContain('    (deleted by the sender)\n');
    expect(text).not.toContain('secret');
    expect(text).toContain('[2026-11-23 14:05] AI\n    An answer\n');
    expect(text).toContain('] Your team (not delivered)\n    Mine\n');
    expect(text).toContain('    [unknown] odd\n');
  });

  it('treats what a contact wrote as data: no markup, no template, no line that could be ours', () => {
    const hostile = '<img src=x onerror=alert(1)>{{apiUrl}}\r\n-- \r\nChatbot: Other (x)\u0000\u202e\u001b[31m&amp;';
    const { text, html, attachments } = renderMail(
      handoff({ contactName: `${hostile}\nPhone: +1`, transcript: [entry(hostile)] }),
    );
    expect(html).not.toContain('<img');
    expect(html).toContain('&lt;img src&#x3D;x onerror&#x3D;alert(1)&gt;{{apiUrl}}');
    expect(html).toContain('&amp;amp;');
    for (const body of [text, attachments[0]?.text ?? '']) {
      expect(body.split('\n').filter((line) => line.startsWith('Chatbot:'))).toEqual(['Chatbot: Bakery (chatbot-id)']);
      expect(body).toContain('    Chatbot: Other (x)');
      expect(body).toContain('{{apiUrl}}');
    }
    for (const body of [text, html]) expect(body).not.toMatch(/[\u0000\u001b\u202e]/);
  });
});

describe('a quota mail', () => {
  it('says what is used, what happens next, and where a bigger plan is', () => {
    const { text, html } = renderMail(quota());
    expect(text).toContain('4000 of the 5000 AI replies of the plan “growth” are used in 2026-11.');
    expect(text).toContain('At 100 % the AI stops answering');
    expect(text).toContain('A bigger plan works at once: https://example.com/plans?from=mail&now\n');
    expect(html).toContain('from&#x3D;mail&amp;now');
    const all = renderMail(quota({ percent: 100, used: 5_000, upgradeUrl: null })).text;
    expect(all).toContain('The AI answers nobody until the month ends.');
    expect(all).toContain('ask whoever runs this installation');
  });
});

describe('an alarm', () => {
  it('says what is wrong and what to do, for every code; a code without words has general ones', () => {
    expect(renderMail(alarm()).text).toContain('The access token has expired.\n\nWhat to do: Make a permanent token');
    expect(renderMail(alarm({ daysLeft: 7 })).text).toContain('The access token will expire in 7 day(s).');
    expect(renderMail(alarm({ code: 'account_locked' })).text).toContain('restricted or locked');
    const general = renderMail(alarm({ code: 'constructor' })).text;
    expect(general).toContain('A check of the number failed.');
    expect(general).toContain('Code: constructor\nNumber: +1 202 555 0199\n');
    expect(general).toContain(`GET ${apiUrl}/channels/channel-id/health`);
  });

  it('of a suspension says that nothing is lost', () => {
    const { text } = renderMail(suspended);
    expect(text).toContain('The plan “free” does not include WhatsApp.');
    expect(text).toContain('is still stored. The connection and its credentials are kept.');
  });
});

it('every mail can be rendered in both languages, without a hole', () => {
  for (const content of [handoff(), quota(), alarm(), alarm({ daysLeft: 14 }), suspended]) {
    for (const language of ['en', 'es'] as const) {
      const { subject, text, html } = renderMail({ ...content, language });
      for (const body of [subject, text, html]) expect(body).not.toMatch(/\{\{|undefined|null|\[object/);
      expect(html).toContain(`<html lang="${language}">`);
    }
  }
});
