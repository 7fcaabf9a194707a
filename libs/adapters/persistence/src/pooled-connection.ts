import { DatabaseError, type PoolClient } from 'pg';
import { StatementBatch, type BatchedStatement, type StatementResult } from './statement-batch.ts';

/**
 * Plans of prepared statements are made anew after this long. A plan is made for the tables as they are in that moment, and one
 * from when they were nearly empty reads them from end to end; autovacuum, which would end it too, comes once a minute.
 * Planning what a connection has prepared takes about 10 ms.
 */
const PLANS_LAST_MS = 10_000;
const plannedAt = new WeakMap<PoolClient, number>();

/** A connection of the pool while somebody has it. It goes back to the pool only if nothing is wrong with it. */
export class PooledConnection {
  readonly #client: PoolClient;
  readonly #now: () => number;
  #broken: Error | undefined;
  // A connection that is cut between two queries says so only by this event.
  readonly #onError = (error: Error): void => void (this.#broken ??= error);

  /** @param now milliseconds from any start */
  constructor(client: PoolClient, now: () => number = () => performance.now()) {
    this.#client = client;
    this.#now = now;
    client.on('error', this.#onError);
  }

  /**
   * Runs the statements in one round trip, in order. When one fails, none behind it has run, and the error is that of the one
   * that failed; outside of a transaction nothing is stored then.
   */
  async run(statements: readonly BatchedStatement[]): Promise<StatementResult[]> {
    const before = this.#forgetOldPlans();
    const batch = new StatementBatch([...before, ...statements]);
    try {
      this.#client.query(batch);
      return (await batch.results).slice(before.length);
    } catch (error) {
      if (batch.isRefused || !(error instanceof DatabaseError)) this.discard(error);
      throw error;
    }
  }

  #forgetOldPlans(): BatchedStatement[] {
    const now = this.#now();
    const areFresh = now - (plannedAt.get(this.#client) ?? -Infinity) < PLANS_LAST_MS;
    if (!areFresh) plannedAt.set(this.#client, now);
    return areFresh ? [] : [{ text: 'DISCARD PLANS' }];
  }

  /** Nobody gets this connection any more. */
  discard(error: unknown): void {
    this.#broken ??= error instanceof Error ? error : new Error('The connection is not to be used again.');
  }

  release(): void {
    this.#client.off('error', this.#onError);
    this.#client.release(this.#broken);
  }
}
