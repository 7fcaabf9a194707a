import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus, type RunningConsumer } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { startWorkLoop, type WorkLoop } from '@answerline/work-queue';
import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { consumeWebhooks } from './store-webhooks/store-webhooks.consumer.ts';
import { trackProgress } from './track-progress/track-progress.ts';

/** A note each 5 s, as often as gateways leave theirs. */
const PROGRESS_EVERY_MS = 5_000;
/** A batch takes milliseconds; what is not done by then is given back. */
const STOP_WITHIN_MS = 10_000;

/** Starts and stops what ingest does. */
@Injectable()
export class IngestWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #database: Database;
  readonly #logger: Logger;
  #consumer: RunningConsumer | undefined;
  #progress: WorkLoop | undefined;

  constructor(bus: MessageBus, database: Database, @Inject(LOGGER) logger: Logger) {
    this.#bus = bus;
    this.#database = database;
    this.#logger = logger.child({ feature: 'ingest' });
  }

  async onApplicationBootstrap(): Promise<void> {
    this.#consumer = await consumeWebhooks(this.#bus, this.#database, this.#logger);
    this.#progress = startWorkLoop<never>({
      name: 'ingest-progress',
      claim: async () => {
        await trackProgress(this.#bus, this.#database);
        return [];
      },
      run: () => Promise.resolve(),
      concurrency: 1,
      sweepEveryMs: PROGRESS_EVERY_MS,
      logger: this.#logger,
    });
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([this.#consumer?.stop(STOP_WITHIN_MS), this.#progress?.stop(STOP_WITHIN_MS)]);
  }
}
