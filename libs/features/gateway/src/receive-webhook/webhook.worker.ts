import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { startWorkLoop, type WorkLoop } from '@answerline/work-queue';
import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type Server } from 'node:net';
import { DeliveryBook } from './delivery-book.ts';
import { leaveHeartbeat } from './gateway-heartbeat.ts';
import { FORGET_EVERY_MS, WebhookKeys } from './webhook-keys.ts';

/** The owner sees a refused delivery within seconds. */
const FLUSH_EVERY_MS = 1_000;
/** A lost send may be sent again only without a gap of 15 s: two beats may be late. */
const HEARTBEAT_EVERY_MS = 5_000;
/** Both take milliseconds. */
const STOP_WITHIN_MS = 5_000;

/** What goes on beside the webhook door: writing down what it noted, forgetting old keys, and the heartbeat. */
@Injectable()
export class WebhookWorker implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #database: Database;
  readonly #deliveries: DeliveryBook;
  readonly #keys: WebhookKeys;
  readonly #logger: Logger;
  readonly #http: HttpAdapterHost;
  #loops: WorkLoop[] = [];

  constructor(
    bus: MessageBus,
    database: Database,
    deliveries: DeliveryBook,
    keys: WebhookKeys,
    http: HttpAdapterHost,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#bus = bus;
    this.#database = database;
    this.#deliveries = deliveries;
    this.#keys = keys;
    this.#http = http;
    this.#logger = logger.child({ feature: 'gateway' });
  }

  onApplicationBootstrap(): void {
    const beat = async (): Promise<void> => {
      const server = this.#http.httpAdapter.getHttpServer() as Server;
      // A process that cannot listen and is started again and again must not look like one that accepts.
      if (server.listening) await leaveHeartbeat(this.#database, this.#bus, this.#deliveries);
    };
    this.#loops = [
      this.#every(FLUSH_EVERY_MS, 'delivery-book', () => this.#deliveries.flush()),
      this.#every(FORGET_EVERY_MS, 'webhook-keys', async () => this.#keys.forgetOld()),
      this.#every(HEARTBEAT_EVERY_MS, 'gateway-heartbeat', beat),
    ];
  }

  /** After the last request was answered: what it left is written too. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop(STOP_WITHIN_MS)));
    await this.#deliveries.flush().catch((error: unknown) => {
      this.#logger.warn({ err: error }, 'What became of the last deliveries was not written');
    });
  }

  #every(sweepEveryMs: number, name: string, work: () => Promise<void>): WorkLoop {
    return startWorkLoop<never>({
      name,
      claim: async () => {
        await work();
        return [];
      },
      run: () => Promise.resolve(),
      concurrency: 1,
      sweepEveryMs,
      logger: this.#logger,
    });
  }
}
