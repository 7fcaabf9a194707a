export { isMailAddress } from './mail-address.ts';
export {
  type ChannelAlarmMail,
  type ChannelSuspendedMail,
  type HandoffMail,
  type MailContent,
  type MailLanguage,
  type QuotaMail,
  type TranscriptEntry,
} from './mail-content.ts';
export { Mailer, NoMailer, type MailAttachment, type MailText, type OutgoingMail } from './mailer.ts';
export { mailSettings, openMailer, SANDBOX_SENDER } from './open-mailer.ts';
export { renderMail } from './render-mail.ts';
export { SEND_TIMEOUT_MS, SmtpMailer } from './smtp-mailer.ts';
