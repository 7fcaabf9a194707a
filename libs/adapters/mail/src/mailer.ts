import { Transient } from '@answerline/errors';

/** A file that goes with a mail. */
export interface MailAttachment {
  /** Ours, of letters, digits, dots and dashes: it becomes part of a header. */
  readonly filename: string;
  /** Plain text, sent as UTF-8. */
  readonly text: string;
}

/** What a mail says. */
export interface MailText {
  /** One line without anything personal: it is a header, and shown by every phone on a locked screen. */
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly attachments: readonly MailAttachment[];
}

/** A mail as it is handed over. */
export interface OutgoingMail extends MailText {
  /** A UUID. The Message-ID is made of it, so that each try of one mail has the same. */
  readonly id: string;
  readonly to: readonly string[];
}

/** Hands mails over to a server. */
export abstract class Mailer {
  /** False: there is no server, and every mail has to wait. */
  abstract readonly canSend: boolean;

  /**
   * Resolves when the server has taken the mail for at least one recipient. What happened to it is not known when `signal` ended it.
   *
   * @returns how many of the recipients the server refused
   * @throws Transient `mail_not_configured`, `smtp_unreachable`, `smtp_timeout`, `smtp_tls_failed`, `smtp_auth_failed`, `smtp_sender_refused`,
   *   `smtp_busy` (4xx), `smtp_aborted`: the same mail may go later
   * @throws InvalidInput `smtp_refused` (5xx), `smtp_too_large`, `mail_recipient_invalid`, `mail_header_invalid`: it never will
   */
  abstract send(mail: OutgoingMail, signal?: AbortSignal): Promise<{ readonly refusedRecipients: number }>;

  /** Ends what is open. A mail under way is cut off. */
  abstract close(): void;
}

/** Where no server is set. */
export class NoMailer extends Mailer {
  readonly canSend = false;

  async send(): Promise<never> {
    throw new Transient('mail_not_configured', 'There is no server for outgoing mail: set SMTP_URL and MAIL_FROM.');
  }

  close(): void {
    // Nothing is open.
  }
}
