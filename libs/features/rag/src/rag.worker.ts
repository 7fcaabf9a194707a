import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Embedder } from '@answerline/language-model';
import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  Optional,
} from '@nestjs/common';
import { AnswerTurn } from './answer-turn/answer-turn.ts';
import { workOnTurns } from './answer-turn/answer-turn.worker.ts';
import { BuildIndex } from './build-index/build-index.ts';
import { workOnIndex } from './build-index/build-index.worker.ts';
import { type IndexParts } from './index-versions.ts';
import { MakeAnswer } from './make-answer/make-answer.ts';
import { SyncSource } from './sync-source/sync-source.ts';
import { workOnSources } from './sync-source/sync-source.worker.ts';

/** A turn that is not done by then is given back and answered by another process. */
const STOP_WITHIN_MS = 15_000;

/** Starts and stops what rag does. */
@Injectable()
export class RagWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #bus: MessageBus;
  readonly #answerTurn: AnswerTurn;
  readonly #indexParts: IndexParts & { readonly logger: Logger };
  readonly #logger: Logger;
  #parts: { stop(withinMs: number): Promise<void> }[] = [];

  constructor(
    bus: MessageBus,
    database: Database,
    index: KnowledgeIndex,
    makeAnswer: MakeAnswer,
    @Inject(LOGGER) logger: Logger,
    @Optional() @Inject(Embedder) embedder: Embedder | null = null,
  ) {
    this.#bus = bus;
    this.#logger = logger.child({ feature: 'rag' });
    this.#answerTurn = new AnswerTurn({ database, makeAnswer, logger: this.#logger });
    this.#indexParts = { database, index, embedder, logger: this.#logger };
  }

  onApplicationBootstrap(): void {
    this.#parts = [
      workOnTurns(this.#bus, this.#answerTurn, this.#logger),
      workOnSources(this.#bus, new SyncSource(this.#indexParts), this.#logger),
      workOnIndex(this.#indexParts, new BuildIndex(this.#indexParts)),
    ];
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop(STOP_WITHIN_MS)));
  }
}
