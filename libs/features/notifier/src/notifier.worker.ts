import { LOGGER, type Logger } from '@answerline/logging';
import { Mailer } from '@answerline/mail';
import { MessageBus } from '@answerline/messaging';
import { Database, noteMailSetup } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { GraphClient } from '@answerline/whatsapp';
import { startSweep } from '@answerline/work-queue';
import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { NOTIFIER_OPTIONS, type NotifierOptions } from './notifier-options.ts';
import { relayEvents } from './relay-events/relay-events.worker.ts';
import { SendMail } from './send-mail/send-mail.ts';
import { workOnMails } from './send-mail/send-mail.worker.ts';
import { SendReply } from './send-reply/send-reply.ts';
import { workOnSends } from './send-reply/send-reply.worker.ts';
import { settleSends } from './settle-sends/settle-sends.ts';
import { consumeForPresence } from './show-presence/show-presence.consumer.ts';
import { ShowPresence } from './show-presence/show-presence.ts';

/** A call under way takes at most 10 s. */
const STOP_WITHIN_MS = 15_000;
/** Lost calls are noticed within 20 s plus this. */
const SETTLE_EVERY_MS = 5_000;

/** Starts and stops what the notifier does. */
@Injectable()
export class NotifierWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #database: Database;
  readonly #graph: GraphClient;
  readonly #secrets: SecretBox;
  readonly #mailer: Mailer;
  readonly #options: NotifierOptions;
  readonly #logger: Logger;
  #parts: { stop(withinMs: number): Promise<void> }[] = [];

  constructor(
    bus: MessageBus,
    database: Database,
    graph: GraphClient,
    secrets: SecretBox,
    mailer: Mailer,
    @Inject(NOTIFIER_OPTIONS) options: NotifierOptions,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#bus = bus;
    this.#database = database;
    this.#graph = graph;
    this.#secrets = secrets;
    this.#mailer = mailer;
    this.#options = options;
    this.#logger = logger.child({ feature: 'notifier' });
  }

  async onApplicationBootstrap(): Promise<void> {
    const [bus, database, mailer, logger] = [this.#bus, this.#database, this.#mailer, this.#logger];
    const calls = { database, graph: this.#graph, secrets: this.#secrets, logger };
    const showPresence = new ShowPresence(database, this.#graph, this.#secrets, logger);
    const onHumanReply = (conversationId: string): void => void showPresence.showRead(conversationId);
    const sendReply = new SendReply({ ...calls, onHumanReply });
    const sendMail = new SendMail({ database, mailer, options: this.#options, logger });
    await noteMailSetup(database, { canSend: mailer.canSend, hasOperator: this.#options.operatorEmail !== undefined });
    this.#parts = [
      workOnSends(bus, sendReply, logger),
      startSweep({
        name: 'settle-sends',
        everyMs: SETTLE_EVERY_MS,
        sweep: async () => {
          const { changes, isFull } = await settleSends(database);
          if (changes.length > 0) bus.ring('send');
          return isFull;
        },
        logger,
      }),
      await consumeForPresence(bus, database, showPresence, logger),
      workOnMails(bus, { sendMail, mailer, database, logger }),
      relayEvents(bus, database, logger),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop(STOP_WITHIN_MS)));
  }
}
