import { isIP } from 'node:net';
import { InvalidInput } from '@answerline/errors';
import { createTransport, type SMTPPoolOptions, type SMTPPoolSentMessageInfo, type Transporter } from 'nodemailer';
import { isMailAddress, parseSender } from './mail-address.ts';
import { Mailer, type OutgoingMail } from './mailer.ts';
import { toSmtpError } from './smtp-errors.ts';

/** Mails to owners are few; two connections let a slow recipient's server hold up one of them only. */
const CONNECTIONS = 2;
/** A server closes idle connections after minutes; ours go first, so that no mail meets a closed one. */
const IDLE_MS = 30_000;
/** To a server in reach a connection takes less than a second. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Silence of the server between two replies. Some look a mail through before they take it. */
const REPLY_TIMEOUT_MS = 30_000;
/** A whole mail, whatever the server does meanwhile. Half of the time for which a mail is claimed. */
export const SEND_TIMEOUT_MS = 60_000;

const filenamePattern = /^[\w.-]{1,100}$/;
const uuidPattern = /^[0-9a-f-]{36}$/;

/** Where the server is and how it is spoken to. */
export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte. */
  readonly isSecure: boolean;
  /** STARTTLS or nothing. */
  readonly mustUpgrade: boolean;
  readonly auth: { readonly user: string; readonly pass: string } | undefined;
}

/**
 * Takes SMTP_URL apart. `smtps://` is TLS from the start (port 465). `smtp://` is STARTTLS where the server offers it (port 587), and
 * requires it when there is a password to be sent to another machine.
 */
export function parseSmtpUrl(text: string): SmtpServer {
  const url = new URL(text);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const isSecure = url.protocol === 'smtps:';
  const auth =
    url.username === ''
      ? undefined
      : { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) };
  return {
    host,
    port: url.port === '' ? (isSecure ? 465 : 587) : Number(url.port),
    isSecure,
    mustUpgrade: !isSecure && auth !== undefined && !isLoopback(host),
    auth,
  };
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** Mails over SMTP, by a few connections that are kept for a while. It never tries twice by itself. */
export class SmtpMailer extends Mailer {
  readonly canSend = true;
  readonly #from: { readonly name: string; readonly address: string };
  readonly #transport: Transporter<SMTPPoolSentMessageInfo, SMTPPoolOptions>;
  readonly #sendTimeoutMs: number;

  /** @param options `url` as SMTP_URL, `from` as MAIL_FROM; shorter times for tests */
  constructor(options: {
    readonly url: string;
    readonly from: string;
    readonly replyTimeoutMs?: number;
    readonly sendTimeoutMs?: number;
  }) {
    super();
    const { host, port, isSecure, mustUpgrade, auth } = parseSmtpUrl(options.url);
    const { replyTimeoutMs = REPLY_TIMEOUT_MS } = options;
    this.#from = parseSender(options.from);
    this.#sendTimeoutMs = options.sendTimeoutMs ?? SEND_TIMEOUT_MS;
    const pool: SMTPPoolOptions & { pool: true } = {
      pool: true,
      host,
      port,
      secure: isSecure,
      requireTLS: mustUpgrade,
      ...(auth && { auth }),
      maxConnections: CONNECTIONS,
      // Whether a mail is tried again is the caller's to say.
      maxRequeues: 0,
      idleTimeout: IDLE_MS,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      dnsTimeout: CONNECT_TIMEOUT_MS,
      greetingTimeout: replyTimeoutMs,
      socketTimeout: replyTimeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
      logger: false,
    };
    this.#transport = createTransport(pool);
  }

  async send(mail: OutgoingMail, signal?: AbortSignal): Promise<{ readonly refusedRecipients: number }> {
    refuseUnsafeHeaders(mail);
    const { name, address } = this.#from;
    const timeout = AbortSignal.timeout(this.#sendTimeoutMs);
    try {
      const { rejected } = await this.#transport.sendMail({
        from: { name, address },
        // As objects, so that nothing takes them apart again.
        to: mail.to.map((recipient) => ({ name: '', address: recipient })),
        messageId: `<${mail.id}@${address.slice(address.lastIndexOf('@') + 1)}>`,
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        attachments: mail.attachments.map(({ filename, text }) => ({
          filename,
          content: Buffer.from(text),
          contentType: 'text/plain; charset=utf-8',
        })),
        // No vacation notes and no bounces of bounces (RFC 3834 5).
        headers: { 'Auto-Submitted': 'auto-generated' },
        disableFileAccess: true,
        disableUrlAccess: true,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      return { refusedRecipients: rejected.length };
    } catch (error) {
      throw toSmtpError(timeout.aborted ? { code: 'ETIMEDOUT' } : error);
    }
  }

  close(): void {
    this.#transport.close();
  }
}

/** The second lock: what was rendered and looked up should be right already. */
function refuseUnsafeHeaders({ id, to, subject, attachments }: OutgoingMail): void {
  if (to.length === 0 || !to.every(isMailAddress)) {
    throw new InvalidInput('mail_recipient_invalid', 'A recipient is not one e-mail address.');
  }
  const isSafe =
    uuidPattern.test(id) &&
    !/[\u0000-\u001f\u007f\u2028\u2029]/.test(subject) &&
    attachments.every(({ filename }) => filenamePattern.test(filename));
  if (!isSafe) throw new InvalidInput('mail_header_invalid', 'A header of a mail would have more than one line.');
}
