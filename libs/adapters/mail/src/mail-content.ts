/** Languages that mails are written in. */
export type MailLanguage = 'en' | 'es';

/** One line of a conversation, oldest first in a list. */
export interface TranscriptEntry {
  readonly at: Date;
  readonly author: 'contact' | 'ai' | 'human' | 'system' | 'phone_app' | 'meta_agent';
  /** `text`, `image`, … */
  readonly type: string;
  /** Null for what has none. */
  readonly text: string | null;
  readonly isRevoked: boolean;
  /** A reply that nobody got. */
  readonly isUndelivered: boolean;
}

interface MailFacts {
  readonly language: MailLanguage;
  /** IANA; times are told in it. */
  readonly timeZone: string;
  /** When what the mail tells of happened. */
  readonly at: Date;
}

/** A contact asked for a human. */
export interface HandoffMail extends MailFacts {
  readonly kind: 'handoff';
  readonly chatbotId: string;
  readonly chatbotName: string;
  readonly channelId: string;
  readonly conversationId: string;
  readonly contactName: string | null;
  /** With a plus; null where Meta gave none. */
  readonly contactPhone: string | null;
  readonly isHeldByHuman: boolean;
  /** Null: until it is handed back. */
  readonly mutedUntil: Date | null;
  /** Until when WhatsApp lets the business answer freely. */
  readonly windowUntil: Date | null;
  readonly transcript: readonly TranscriptEntry[];
  /** There was more than a mail can carry. */
  readonly isTranscriptCut: boolean;
  /** Address of the management API, without a slash at the end. */
  readonly apiUrl: string;
}

/** A share of the month's replies is used. */
export interface QuotaMail extends MailFacts {
  readonly kind: 'quota';
  readonly workspaceId: string;
  /** `2026-11` */
  readonly month: string;
  readonly percent: number;
  readonly plan: string;
  readonly used: number;
  readonly limit: number;
  readonly upgradeUrl: string | null;
}

/** A WhatsApp number that needs its owner. */
interface ChannelMail extends MailFacts {
  readonly chatbotId: string;
  readonly chatbotName: string;
  readonly channelId: string;
  /** The business's own number. */
  readonly displayPhoneNumber: string | null;
  readonly apiUrl: string;
}

export interface ChannelAlarmMail extends ChannelMail {
  readonly kind: 'channel_alarm';
  /** Of the check that failed. */
  readonly code: string;
  /** Until the token expires; null when something is wrong already. */
  readonly daysLeft: number | null;
}

export interface ChannelSuspendedMail extends ChannelMail {
  readonly kind: 'channel_suspended';
  readonly plan: string;
  readonly upgradeUrl: string | null;
}

/** Everything that a mail of its kind tells. */
export type MailContent = HandoffMail | QuotaMail | ChannelAlarmMail | ChannelSuspendedMail;
