import { type Logger } from '@answerline/logging';
import { type Mailer } from '@answerline/mail';
import { type MessageBus } from '@answerline/messaging';
import { type Database } from '@answerline/persistence';
import { startSweep, startWorkLoop } from '@answerline/work-queue';
import { markWaitingMails } from './claim-mails.ts';
import { type SendMail } from './send-mail.ts';

/** Mails to owners are few, and a server takes a second for each. */
const CONCURRENCY = 4;
/** Nobody waits for a mail that cannot go anywhere. */
const MARK_EVERY_MS = 10_000;

/** The door of {@link SendMail}: due mails, prompted by the doorbell `mail`. Without a server for mails they are marked, and wait. */
export function workOnMails(
  bus: MessageBus,
  parts: { readonly sendMail: SendMail; readonly mailer: Mailer; readonly database: Database; readonly logger: Logger },
): { stop(withinMs: number): Promise<void> } {
  const { sendMail, mailer, database, logger } = parts;
  const loop = mailer.canSend
    ? startWorkLoop({
        name: 'mails',
        claim: (limit) => sendMail.claim(limit),
        run: async (mail, signal) => {
          await sendMail.execute(mail, signal);
          // The next one of the same workspace may go now.
          loop.ring();
        },
        concurrency: CONCURRENCY,
        logger,
      })
    : startSweep({
        name: 'mails',
        everyMs: MARK_EVERY_MS,
        sweep: async () => (await markWaitingMails(database), false),
        logger,
      });
  if (!mailer.canSend) {
    logger.warn(
      { code: 'mail_not_configured' },
      'No server for mails: what owners should be told waits until SMTP_URL and MAIL_FROM are set',
    );
  }
  const mute = bus.onRing('mail', () => loop.ring(), { queue: 'notifier' });
  return {
    stop: (withinMs) => {
      mute();
      return loop.stop(withinMs);
    },
  };
}
