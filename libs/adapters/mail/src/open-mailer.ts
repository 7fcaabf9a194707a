import { type Config, ConfigError, type SettingName } from '@answerline/config';
import { Mailer, NoMailer } from './mailer.ts';
import { SmtpMailer } from './smtp-mailer.ts';

/** What a process that sends mail reads. */
export const mailSettings = ['SMTP_URL', 'MAIL_FROM', 'OPERATOR_EMAIL'] as const satisfies readonly SettingName[];

/** For the sandbox's mailbox, which shows whatever it gets. `.invalid` is nobody's (RFC 2606 2). */
export const SANDBOX_SENDER = 'Answerline <no-reply@answerline.invalid>';

/**
 * The mailer of the settings; close it when the process stops. Connects at the first mail only.
 *
 * @param sandboxUrl the sandbox's mailbox, used where SMTP_URL is not set
 * @throws ConfigError when there is a server and nobody to send as
 */
export function openMailer(config: Config<'SMTP_URL' | 'MAIL_FROM'>, sandboxUrl?: string): Mailer {
  const { SMTP_URL: url, MAIL_FROM: from } = config;
  if (url !== undefined) {
    if (from === undefined) throw new ConfigError(['MAIL_FROM must be set where SMTP_URL is: mail needs a sender']);
    return new SmtpMailer({ url, from });
  }
  return sandboxUrl === undefined ? new NoMailer() : new SmtpMailer({ url: sandboxUrl, from: from ?? SANDBOX_SENDER });
}
