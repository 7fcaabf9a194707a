import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer } from '@answerline/language-model';
import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { type BeforeApplicationShutdown, Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { AnswerTurn } from './answer-turn/answer-turn.ts';
import { workOnTurns } from './answer-turn/answer-turn.worker.ts';
import { SyncSource } from './sync-source/sync-source.ts';
import { workOnSources } from './sync-source/sync-source.worker.ts';

/** A turn that is not done by then is given back and answered by another process. */
const STOP_WITHIN_MS = 15_000;

/** Starts and stops what rag does. */
@Injectable()
export class RagWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #answerTurn: AnswerTurn;
  readonly #syncSource: SyncSource;
  readonly #logger: Logger;
  #parts: { stop(withinMs: number): Promise<void> }[] = [];

  constructor(
    bus: MessageBus,
    database: Database,
    index: KnowledgeIndex,
    answerer: Answerer,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#bus = bus;
    this.#logger = logger.child({ feature: 'rag' });
    this.#answerTurn = new AnswerTurn({ database, index, answerer, logger: this.#logger });
    this.#syncSource = new SyncSource(database, index, this.#logger);
  }

  onApplicationBootstrap(): void {
    this.#parts = [
      workOnTurns(this.#bus, this.#answerTurn, this.#logger),
      workOnSources(this.#bus, this.#syncSource, this.#logger),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop(STOP_WITHIN_MS)));
  }
}
