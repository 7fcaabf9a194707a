import Handlebars from 'handlebars';
import { alarmWords } from './alarm-words.ts';
import { type HandoffMail, type MailContent, type MailLanguage, type TranscriptEntry } from './mail-content.ts';
import { mailWords, type MailWords } from './mail-words.ts';
import { type MailText } from './mailer.ts';
import { oneLine, plainText } from './plain-text.ts';

/** Messages that stand in the body; all of them are attached. */
const BODY_MESSAGES = 50;

/** A mail before it is text or HTML. Whatever stands in it is data. */
interface MailPage {
  readonly language: MailLanguage;
  readonly paragraphs: readonly string[];
  readonly facts: readonly { readonly label: string; readonly value: string }[];
  readonly transcriptTitle: string | null;
  readonly messages: readonly { readonly head: string; readonly text: string }[];
  readonly footer: string;
}

const options = { strict: true, knownHelpersOnly: true } as const;
/** Templates are ours; the same few are used again and again. */
const sentences = new Map<string, Handlebars.TemplateDelegate>();

const textPage = Handlebars.compile<MailPage>(
  `{{#each paragraphs}}{{{this}}}

{{/each}}{{#each facts}}{{{label}}}: {{{value}}}
{{/each}}{{#if transcriptTitle}}
{{{transcriptTitle}}}

{{#each messages}}{{{head}}}
{{{text}}}

{{/each}}{{/if}}
-- 
{{{footer}}}
`,
  { ...options, noEscape: true },
);

const htmlPage = Handlebars.compile<MailPage>(
  `<!doctype html>
<html lang="{{language}}"><head><meta charset="utf-8"></head>
<body style="font:15px/1.5 system-ui,sans-serif;color:#1b1b1b;max-width:42em;margin:1.5em auto;padding:0 1em">
{{#each paragraphs}}<p>{{this}}</p>
{{/each}}<table style="border-collapse:collapse;margin:1em 0">
{{#each facts}}<tr><th style="text-align:left;padding:.2em 1em .2em 0">{{label}}</th><td>{{value}}</td></tr>
{{/each}}</table>
{{#if transcriptTitle}}<p>{{transcriptTitle}}</p>
{{#each messages}}<div style="margin:0 0 .8em;padding-left:.8em;border-left:3px solid #ccc"><b>{{head}}</b><div dir="auto" style="white-space:pre-wrap">{{text}}</div></div>
{{/each}}{{/if}}<p style="color:#666;font-size:13px">{{footer}}</p>
</body></html>
`,
  options,
);

/**
 * The words of a mail, in the language of its content. Pure.
 *
 * The subject has fixed words, ids, codes and figures. What others wrote stands in the body only, escaped in HTML and indented in text,
 * so that it cannot pass for a line of ours.
 */
export function renderMail(content: MailContent): MailText {
  const words = mailWords[content.language];
  const { subject, lines, facts } = sentencesOf(content, words);
  const values = valuesOf(content);
  const handoff = content.kind === 'handoff' ? content : null;
  const shown = handoff?.transcript.slice(-BODY_MESSAGES) ?? [];
  const page: MailPage = {
    language: content.language,
    paragraphs: lines.map((line) => say(line, values)).filter((line) => line !== ''),
    facts,
    transcriptTitle: handoff ? say(words.handoff.transcript, { count: shown.length }) : null,
    messages: shown.map((entry) => messageOf(entry, content.timeZone, words)),
    footer: words.footer,
  };
  return {
    subject: say(subject, values),
    text: textPage({ ...page, messages: page.messages.map(indented) }),
    html: htmlPage(page),
    attachments: handoff
      ? [{ filename: `conversation-${handoff.conversationId}.txt`, text: wholeTranscript(handoff, words) }]
      : [],
  };
}

interface Sentences {
  readonly subject: string;
  readonly lines: readonly string[];
  readonly facts: MailPage['facts'];
}

function sentencesOf(content: MailContent, words: MailWords): Sentences {
  const { labels } = words;
  const chatbot = (of: { chatbotName: string; chatbotId: string }) => ({
    label: labels.chatbot,
    value: `${oneLine(of.chatbotName)} (${of.chatbotId})`,
  });
  const number = (shown: string | null) => (shown === null ? [] : [{ label: labels.number, value: oneLine(shown) }]);
  switch (content.kind) {
    case 'handoff':
      return {
        ...words.handoff,
        facts: [
          { label: labels.contact, value: oneLine(content.contactName ?? '') || words.unknownName },
          ...(content.contactPhone === null ? [] : [{ label: labels.phone, value: oneLine(content.contactPhone) }]),
          chatbot(content),
          { label: labels.channel, value: content.channelId },
          { label: labels.conversation, value: content.conversationId },
        ],
      };
    case 'quota':
      return { ...words.quota, facts: [{ label: labels.workspace, value: content.workspaceId }] };
    case 'channel_alarm':
      return {
        ...words.channelAlarm,
        facts: [
          { label: labels.code, value: safeCode(content.code) },
          ...number(content.displayPhoneNumber),
          { label: labels.channel, value: content.channelId },
          chatbot(content),
        ],
      };
    case 'channel_suspended':
      return {
        ...words.channelSuspended,
        facts: [
          ...number(content.displayPhoneNumber),
          { label: labels.channel, value: content.channelId },
          chatbot(content),
        ],
      };
  }
}

/** What the sentences name. Nothing in here was written by a contact. */
function valuesOf(content: MailContent): Record<string, unknown> {
  const { timeZone, language } = content;
  const time = (at: Date | null): string | null => (at === null ? null : localTime(at, timeZone));
  switch (content.kind) {
    case 'handoff': {
      const { conversationId, isHeldByHuman, apiUrl, at, mutedUntil, windowUntil } = content;
      const times = { at: time(at), mutedUntil: time(mutedUntil), windowUntil: time(windowUntil) };
      return { conversationId, isHeldByHuman, apiUrl, timeZone, ...times };
    }
    case 'quota': {
      const { percent, month, plan, used, limit, upgradeUrl } = content;
      return { percent, month, plan, used, limit, upgradeUrl, timeZone, isUsedUp: used >= limit };
    }
    case 'channel_alarm': {
      const { channelId, chatbotId, apiUrl, daysLeft } = content;
      const { problem, todo } = alarmWords(content.code, daysLeft, language);
      const values = {
        channelId,
        chatbotId,
        apiUrl,
        daysLeft,
        isExpiring: daysLeft !== null,
        code: safeCode(content.code),
      };
      return { ...values, todo, problem: say(problem, values) };
    }
    case 'channel_suspended': {
      const { channelId, plan, upgradeUrl, at } = content;
      return { channelId, plan, upgradeUrl, timeZone, at: time(at) };
    }
  }
}

function say(template: string, values: Record<string, unknown>): string {
  let compiled = sentences.get(template);
  if (!compiled) {
    compiled = Handlebars.compile(template, { ...options, noEscape: true });
    sentences.set(template, compiled);
  }
  return compiled(values);
}

/** Our codes are words; anything else came from elsewhere. */
const safeCode = (code: string): string => (/^[a-z][a-z0-9_]{0,63}$/.test(code) ? code : 'unknown');

function messageOf(entry: TranscriptEntry, timeZone: string, words: MailWords): { head: string; text: string } {
  const head = `[${localTime(entry.at, timeZone)}] ${words.authors[entry.author]}`;
  const undelivered = entry.isUndelivered ? ` ${words.undelivered}` : '';
  if (entry.isRevoked) return { head: head + undelivered, text: words.revoked };
  const kind = entry.type === 'text' ? '' : `[${safeCode(entry.type)}]`;
  const text = plainText(entry.text ?? '').trim();
  return { head: head + undelivered, text: [kind, text].filter((part) => part !== '').join(' ') };
}

/** Every line of what somebody wrote begins further in than any line of ours. */
const indented = ({ head, text }: { head: string; text: string }): { head: string; text: string } => ({
  head,
  text: text.replace(/^/gm, '    '),
});

function wholeTranscript(mail: HandoffMail, words: MailWords): string {
  const { labels } = words;
  const head = [
    `${labels.conversation}: ${mail.conversationId}`,
    `${labels.contact}: ${oneLine(mail.contactName ?? '') || words.unknownName}`,
    `${labels.chatbot}: ${oneLine(mail.chatbotName)} (${mail.chatbotId})`,
    mail.timeZone,
    ...(mail.isTranscriptCut ? [words.transcriptCut] : []),
  ].join('\n');
  const messages = mail.transcript.map((entry) => {
    const { head: line, text } = indented(messageOf(entry, mail.timeZone, words));
    return `${line}\n${text}`;
  });
  return `${[head, ...messages].join('\n\n')}\n`;
}

/** `2026-11-23 14:05` in the zone: the same in every language. */
function localTime(at: Date, timeZone: string): string {
  // Sweden writes ISO dates.
  return new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'short', timeZone }).format(at);
}
