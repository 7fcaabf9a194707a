import { toAppError } from '@answerline/errors';
import { type Database, type SendChange } from '@answerline/persistence';
import { storeOutcomes, type CallResult } from './store-outcomes.ts';

interface Waiting {
  readonly result: CallResult;
  readonly resolve: (changes: SendChange[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Stores how calls ended, those that end while one transaction runs together in the next one: under load the commits are the cost. */
export class OutcomeStore {
  readonly #database: Database;
  #waiting: Waiting[] = [];
  #isStoring = false;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The sends that changed with this call. Throws what {@link storeOutcomes} throws; the same call may be stored again. */
  store(result: CallResult): Promise<SendChange[]> {
    const { promise, resolve, reject } = Promise.withResolvers<SendChange[]>();
    this.#waiting.push({ result, resolve, reject });
    if (!this.#isStoring) void this.#storeWaiting();
    return promise;
  }

  async #storeWaiting(): Promise<void> {
    this.#isStoring = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#storeTogether(batch);
    }
    this.#isStoring = false;
  }

  async #storeTogether(batch: readonly Waiting[]): Promise<void> {
    try {
      const changes = await storeOutcomes(
        this.#database,
        batch.map(({ result }) => result),
      );
      for (const { result, resolve } of batch) resolve(changes.filter(({ send }) => send.id === result.send.id));
    } catch (error) {
      // One that cannot be stored must not take the others along.
      const isOneOfMany = batch.length > 1 && toAppError(error).kind !== 'transient';
      if (isOneOfMany) for (const one of batch) await this.#storeTogether([one]);
      else for (const { reject } of batch) reject(error);
    }
  }
}
