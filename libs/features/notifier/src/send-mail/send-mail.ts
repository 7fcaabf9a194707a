import { setTimeout as delay } from 'node:timers/promises';
import { toAppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type Mailer, renderMail } from '@answerline/mail';
import { type Database } from '@answerline/persistence';
import { claimMails, endMail, type ClaimedMail, type MailEnd } from './claim-mails.ts';
import { pauseAfter } from './mail-pauses.ts';
import { readMail, type MailOptions } from './read-mail.ts';

/** Tries to store an outcome while Postgres is away; a mail whose outcome is lost goes out a second time. */
const STORE_TRIES = 15;
const STORE_RETRY_MS = 1_000;

/**
 * Sends the mails that wait for owners. What one says is read when it is sent. At least once: when a process dies between the server's
 * 250 and the commit the mail goes out again, under the same Message-ID.
 */
export class SendMail {
  readonly #database: Database;
  readonly #mailer: Mailer;
  readonly #options: MailOptions;
  readonly #logger: Logger;

  constructor(parts: {
    readonly database: Database;
    readonly mailer: Mailer;
    readonly options: MailOptions;
    readonly logger: Logger;
  }) {
    this.#database = parts.database;
    this.#mailer = parts.mailer;
    this.#options = parts.options;
    this.#logger = parts.logger;
  }

  /** Takes up to `limit` due mails, so that nobody else does. */
  async claim(limit: number): Promise<ClaimedMail[]> {
    return claimMails(this.#database, limit);
  }

  /** Sends one claimed mail and stores how it ended. `stopping` cuts it off and gives it back. */
  async execute(mail: ClaimedMail, stopping: AbortSignal): Promise<void> {
    const end = await this.#send(mail, stopping);
    await this.#store(mail, end);
  }

  async #send(mail: ClaimedMail, stopping: AbortSignal): Promise<MailEnd> {
    const facts = { mailId: mail.id, workspaceId: mail.workspaceId, mailKind: mail.kind, tries: mail.tries };
    try {
      const read = await readMail(this.#database, mail, this.#options);
      if ('dropped' in read) {
        const level = read.dropped === 'no_recipient' ? 'warn' : 'info';
        this.#logger[level]({ ...facts, code: read.dropped }, 'Mail not sent');
        return { state: 'failed', code: read.dropped };
      }
      stopping.throwIfAborted();
      const outgoing = { ...renderMail(read.content), id: mail.id, to: read.to };
      const { refusedRecipients } = await this.#mailer.send(outgoing, stopping);
      this.#logger.info({ ...facts, recipients: read.to.length, refusedRecipients }, 'Mail sent');
      return { state: 'sent', code: refusedRecipients > 0 ? 'some_recipients_refused' : null };
    } catch (error) {
      if (stopping.aborted) return { state: 'given_back' };
      const { kind, code } = toAppError(error);
      const inMs = kind === 'invalid_input' ? null : pauseAfter(mail.tries, kind);
      const level = kind === 'transient' && inMs !== null ? 'warn' : 'error';
      this.#logger[level]({ ...facts, err: error, retryInMs: inMs }, 'Mail not sent');
      return inMs === null ? { state: 'failed', code } : { state: 'again', code, inMs };
    }
  }

  async #store(mail: ClaimedMail, end: MailEnd): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        const isOurs = await endMail(this.#database, mail, end);
        if (!isOurs) this.#logger.warn({ mailId: mail.id }, 'Somebody else has the mail by now; it may come twice');
        return;
      } catch (error) {
        if (toAppError(error).kind !== 'transient' || tries >= STORE_TRIES) throw error;
        await delay(STORE_RETRY_MS);
      }
    }
  }
}
