import { type AppError, InvalidInput, Transient } from '@answerline/errors';

/** The fields of nodemailer's errors that are ours to read. Its messages repeat addresses, so they go no further. */
interface SmtpFailure {
  readonly code?: unknown;
  readonly command?: unknown;
  readonly responseCode?: unknown;
  readonly response?: unknown;
}

/** The enhanced code after the plain one, as in `550 5.1.1 …` (RFC 3463 2). */
const enhancedCode = /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/;

/** What the socket, DNS and TLS report; anything else without a reply is a server that cannot be reached. */
const codeOf: Readonly<Record<string, string>> = {
  ETIMEDOUT: 'smtp_timeout',
  ETLS: 'smtp_tls_failed',
  EREQUIRETLS: 'smtp_tls_failed',
  EABORT: 'smtp_aborted',
};

/**
 * What an error of nodemailer means for the mail (RFC 5321 4.2.1: 4yz may work later, 5yz will not):
 *
 * - no reply, 4xx, 503 (wrong order of commands): Transient
 * - 5xx to the greeting, to EHLO, to the sign-in or to the sender: Transient, because it is about the settings and not about this mail
 * - 5xx to a recipient or to the mail itself, and a mail over the server's limit: InvalidInput
 */
export function toSmtpError(error: unknown): AppError {
  const { code, command, responseCode, response } = (error ?? {}) as SmtpFailure;
  const status = typeof responseCode === 'number' ? responseCode : 0;
  const step = typeof command === 'string' ? command : '';
  const context = {
    ...(typeof code === 'string' && { reason: code }),
    ...(status > 0 && { status }),
    ...(typeof response === 'string' && { enhancedStatus: enhancedCode.exec(response)?.[1] }),
  };
  const isTooLarge = status === 552 || (code === 'EMESSAGE' && step === 'MAIL FROM');
  if (isTooLarge) return new InvalidInput('smtp_too_large', 'The mail is larger than its server takes.', { context });
  if (code === 'EAUTH' || step.startsWith('AUTH')) {
    return new Transient('smtp_auth_failed', 'The mail server does not take the user and password of SMTP_URL.', {
      context,
    });
  }
  if (status === 0) {
    const known = codeOf[String(code)] ?? 'smtp_unreachable';
    return new Transient(known, 'The mail server could not be used.', { context });
  }
  if (status < 500 || status === 503) {
    return new Transient('smtp_busy', 'The mail server refused the mail for now.', { context });
  }
  if (step === 'MAIL FROM') {
    return new Transient('smtp_sender_refused', 'The mail server does not take mail from MAIL_FROM.', { context });
  }
  if (step === 'RCPT TO' || step === 'DATA') {
    return new InvalidInput('smtp_refused', 'The mail server refused the mail.', { context });
  }
  return new Transient('smtp_unreachable', 'The mail server does not serve us.', { context });
}
