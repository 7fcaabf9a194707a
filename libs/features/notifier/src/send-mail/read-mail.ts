import { planLimits } from '@answerline/contracts';
import { isMailAddress, type MailContent, type MailLanguage } from '@answerline/mail';
import { type Database, type MailSubjects } from '@answerline/persistence';
import * as z from 'zod';
import { type ClaimedMail } from './claim-mails.ts';
import { readTranscript } from './read-transcript.ts';

/** What the settings add to a mail. */
export interface MailOptions {
  /** Who gets mails when nobody else is named. */
  readonly operatorEmail: string | undefined;
  readonly upgradeUrl: string | undefined;
  /** Where the gateway is reached, without a slash at the end. */
  readonly publicUrl: string;
}

/** A mail that can be sent, or the code of why there is nothing to send. */
export type ReadMail =
  | { readonly content: MailContent; readonly to: readonly string[] }
  | { readonly dropped: 'conversation_deleted' | 'channel_disconnected' | 'no_longer_true' | 'no_recipient' };

/** Somebody who lists more addresses than this wants a mailing list. */
const MAX_RECIPIENTS = 20;
const TOLERANCE_PERCENT = 10;

const id = z.uuid();
const subjects = {
  handoff: z.object({ conversationId: id }),
  quota: z.object({ month: z.string().regex(/^\d{4}-\d\d$/), percent: z.number() }),
  channel_alarm: z.object({ channelId: id, code: z.string(), daysLeft: z.number().nullable() }),
  channel_suspended: z.object({ channelId: id }),
} satisfies { [Kind in keyof MailSubjects]: z.ZodType<MailSubjects[Kind]> };

/**
 * Reads what a mail says, as it is now, and to whom: the chatbot's addresses, else the workspace's owner, else the operator. Throws when
 * its row is none of ours.
 */
export async function readMail(database: Database, mail: ClaimedMail, options: MailOptions): Promise<ReadMail> {
  switch (mail.kind) {
    case 'handoff':
      return readHandoff(database, mail, options);
    case 'quota':
      return readQuota(database, mail, options);
    case 'channel_alarm':
    case 'channel_suspended':
      return readChannelMail(database, mail, mail.kind, options);
  }
}

async function readHandoff(database: Database, mail: ClaimedMail, options: MailOptions): Promise<ReadMail> {
  const { workspaceId, createdAt: at } = mail;
  const { conversationId } = subjects.handoff.parse(mail.about);
  const [row] = await database.query<{
    channel_id: string;
    chatbot_id: string;
    chatbot_name: string;
    language: string;
    notify_emails: string[];
    owner_email: string | null;
    time_zone: string;
    contact_name: string | null;
    wa_id: string | null;
    owner: 'ai' | 'human';
    muted_until: Date | null;
    window_until: Date | null;
  }>(
    `SELECT c.channel_id, b.id AS chatbot_id, b.name AS chatbot_name, b.language, b.notify_emails, w.owner_email, w.time_zone,
            p.name AS contact_name, i.value AS wa_id, c.owner, c.muted_until, c.window_until
     FROM conversations c
     JOIN contacts p ON p.id = c.contact_id
     JOIN channels ch ON ch.id = c.channel_id
     JOIN chatbots b ON b.id = ch.chatbot_id
     JOIN workspaces w ON w.id = c.workspace_id
     LEFT JOIN contact_identities i ON i.id = c.reply_to_identity_id AND i.kind = 'wa_id'
     WHERE c.workspace_id = $1 AND c.id = $2`,
    [workspaceId, conversationId],
  );
  if (!row) return { dropped: 'conversation_deleted' };
  const to = recipients([row.notify_emails, [row.owner_email]], options);
  if (to.length === 0) return { dropped: 'no_recipient' };
  const { entries, isCut } = await readTranscript(database, { workspaceId, conversationId });
  return {
    to,
    content: {
      kind: 'handoff',
      language: languageOf(row.language),
      timeZone: row.time_zone,
      at,
      chatbotId: row.chatbot_id,
      chatbotName: row.chatbot_name,
      channelId: row.channel_id,
      conversationId,
      contactName: row.contact_name,
      contactPhone: row.wa_id === null ? null : `+${row.wa_id.replace(/^\+/, '')}`,
      isHeldByHuman: row.owner === 'human',
      mutedUntil: row.muted_until,
      windowUntil: row.window_until,
      transcript: entries,
      isTranscriptCut: isCut,
      apiUrl: apiUrl(options),
    },
  };
}

async function readQuota(database: Database, mail: ClaimedMail, options: MailOptions): Promise<ReadMail> {
  const { workspaceId, createdAt: at } = mail;
  const { month, percent } = subjects.quota.parse(mail.about);
  const [row] = await database.query<{
    plan: string;
    time_zone: string;
    owner_email: string | null;
    used: number | null;
    language: string | null;
    notify_emails: string[] | null;
  }>(
    // A workspace has no language: that of its first chatbot.
    `SELECT w.plan, w.time_zone, w.owner_email, u.used,
            (SELECT b.language FROM chatbots b WHERE b.workspace_id = w.id ORDER BY b.id LIMIT 1) AS language,
            (SELECT array_agg(DISTINCT email) FROM chatbots b, unnest(b.notify_emails) AS email WHERE b.workspace_id = w.id)
              AS notify_emails
     FROM workspaces w LEFT JOIN usage u ON u.workspace_id = w.id AND u.month = $2
     WHERE w.id = $1`,
    [workspaceId, month],
  );
  const limit = row ? planLimits(row.plan).repliesPerMonth : null;
  const used = row?.used ?? 0;
  // Upgraded meanwhile. A reply that is given back to the quota does not make it untrue.
  if (!row || limit === null || used * 100 < (percent - TOLERANCE_PERCENT) * limit)
    return { dropped: 'no_longer_true' };
  // It is about the workspace, so its owner goes first.
  const to = recipients([[row.owner_email], row.notify_emails ?? []], options);
  if (to.length === 0) return { dropped: 'no_recipient' };
  return {
    to,
    content: {
      kind: 'quota',
      language: languageOf(row.language),
      timeZone: row.time_zone,
      at,
      workspaceId,
      month,
      percent,
      plan: row.plan,
      used,
      limit,
      upgradeUrl: options.upgradeUrl ?? null,
    },
  };
}

async function readChannelMail(
  database: Database,
  mail: ClaimedMail,
  kind: 'channel_alarm' | 'channel_suspended',
  options: MailOptions,
): Promise<ReadMail> {
  const { workspaceId, createdAt: at } = mail;
  const { channelId } = subjects.channel_suspended.parse(mail.about);
  const [row] = await database.query<{
    state: string;
    display_phone_number: string | null;
    chatbot_id: string;
    chatbot_name: string;
    language: string;
    notify_emails: string[];
    plan: string;
    owner_email: string | null;
    time_zone: string;
  }>(
    `SELECT ch.state, ch.display_phone_number, b.id AS chatbot_id, b.name AS chatbot_name, b.language, b.notify_emails, w.plan,
            w.owner_email, w.time_zone
     FROM channels ch JOIN chatbots b ON b.id = ch.chatbot_id JOIN workspaces w ON w.id = ch.workspace_id
     WHERE ch.workspace_id = $1 AND ch.id = $2`,
    [workspaceId, channelId],
  );
  if (!row || row.state === 'disconnected') return { dropped: 'channel_disconnected' };
  const to = recipients([row.notify_emails, [row.owner_email]], options);
  if (to.length === 0) return { dropped: 'no_recipient' };
  const channel = {
    language: languageOf(row.language),
    timeZone: row.time_zone,
    at,
    chatbotId: row.chatbot_id,
    chatbotName: row.chatbot_name,
    channelId,
    displayPhoneNumber: row.display_phone_number,
    apiUrl: apiUrl(options),
  };
  if (kind === 'channel_suspended') {
    const upgradeUrl = options.upgradeUrl ?? null;
    return { to, content: { kind: 'channel_suspended', ...channel, plan: row.plan, upgradeUrl } };
  }
  const { code, daysLeft } = subjects.channel_alarm.parse(mail.about);
  return { to, content: { kind: 'channel_alarm', ...channel, code, daysLeft } };
}

/** The first of the lists that names somebody, each address once; else the operator. */
function recipients(lists: readonly (readonly (string | null)[])[], { operatorEmail }: MailOptions): string[] {
  for (const list of [...lists, [operatorEmail ?? null]]) {
    const valid = list.map((address) => address?.trim() ?? '').filter(isMailAddress);
    if (valid.length > 0) return [...new Set(valid)].slice(0, MAX_RECIPIENTS);
  }
  return [];
}

const languageOf = (language: string | null): MailLanguage => (language === 'es' ? 'es' : 'en');
const apiUrl = ({ publicUrl }: MailOptions): string => `${publicUrl}/api/v1`;
