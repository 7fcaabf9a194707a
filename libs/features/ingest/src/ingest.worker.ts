import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus, type RunningConsumer } from '@answerline/messaging';
import { Database, DELETION_MARKS_PURPOSE, trimDeletionMarks } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { startSweep, type WorkLoop } from '@answerline/work-queue';
import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { consumeWebhooks } from './store-webhooks/store-webhooks.consumer.ts';
import { trackProgress } from './track-progress/track-progress.ts';
import { trimWebhookLog } from './trim-webhook-log/trim-webhook-log.ts';

/** A note each 5 s, as often as gateways leave theirs. */
const PROGRESS_EVERY_MS = 5_000;
/** Nothing depends on when old rows go. */
const TRIM_EVERY_MS = 10 * 60 * 1000;
/** A batch takes milliseconds; what is not done by then is given back. */
const STOP_WITHIN_MS = 10_000;

/** Starts and stops what ingest does. */
@Injectable()
export class IngestWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #secretBox: SecretBox;
  #consumer: RunningConsumer | undefined;
  #sweeps: WorkLoop[] = [];

  constructor(bus: MessageBus, database: Database, secretBox: SecretBox, @Inject(LOGGER) logger: Logger) {
    this.#bus = bus;
    this.#database = database;
    this.#secretBox = secretBox;
    this.#logger = logger.child({ feature: 'ingest' });
  }

  async onApplicationBootstrap(): Promise<void> {
    const fingerprints = this.#secretBox.fingerprints(DELETION_MARKS_PURPOSE);
    this.#consumer = await consumeWebhooks(this.#bus, this.#database, this.#logger, fingerprints);
    this.#sweeps = [
      startSweep({
        name: 'ingest-progress',
        everyMs: PROGRESS_EVERY_MS,
        sweep: () => trackProgress(this.#bus, this.#database),
        logger: this.#logger,
      }),
      startSweep({
        name: 'trim-webhook-log',
        everyMs: TRIM_EVERY_MS,
        sweep: () => trimWebhookLog(this.#database),
        logger: this.#logger,
      }),
      startSweep({
        name: 'trim-deletion-marks',
        everyMs: TRIM_EVERY_MS,
        sweep: () => trimDeletionMarks(this.#database),
        logger: this.#logger,
      }),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    const parts = [...(this.#consumer ? [this.#consumer] : []), ...this.#sweeps];
    await Promise.all(parts.map((part) => part.stop(STOP_WITHIN_MS)));
  }
}
