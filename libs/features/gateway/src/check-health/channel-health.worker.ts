import { LOGGER, type Logger } from '@answerline/logging';
import { Database } from '@answerline/persistence';
import { startSweep, startWorkLoop, type WorkLoop } from '@answerline/work-queue';
import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { CheckHealth } from './check-health.ts';
import { settleNewChannels } from './settle-channel-states.ts';

/** Whoever has just connected a number watches it become live. */
const SETTLE_EVERY_MS = 1_000;
/** A token that Meta begins to refuse is told within a minute; all else is due once a day. */
const CLAIM_EVERY_MS = 30_000;
/** A run takes a second or two; a day has room for 80,000 of them. */
const CONCURRENCY = 2;
/** A run is at its end by then, or given up: the next claim takes it again. */
const STOP_WITHIN_MS = 10_000;

/** The daily checks, and the states of channels that are on their way to being live. */
@Injectable()
export class ChannelHealthWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #database: Database;
  readonly #health: CheckHealth;
  readonly #logger: Logger;
  #loops: WorkLoop[] = [];

  constructor(database: Database, health: CheckHealth, @Inject(LOGGER) logger: Logger) {
    this.#database = database;
    this.#health = health;
    this.#logger = logger.child({ feature: 'gateway' });
  }

  onApplicationBootstrap(): void {
    const logger = this.#logger;
    this.#loops = [
      startSweep({
        name: 'settle-new-channels',
        everyMs: SETTLE_EVERY_MS,
        sweep: () => settleNewChannels(this.#database, { now: Date.now() }),
        logger,
      }),
      startWorkLoop<string>({
        name: 'channel-health',
        claim: (limit) => this.#health.claimDue(limit),
        run: (channelId) => this.#health.run(channelId),
        concurrency: CONCURRENCY,
        sweepEveryMs: CLAIM_EVERY_MS,
        logger,
      }),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop(STOP_WITHIN_MS)));
  }
}
