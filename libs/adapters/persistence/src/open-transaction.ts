import { type QueryResultRow } from 'pg';
import { type PooledConnection } from './pooled-connection.ts';
import { toBatched, type Statement, type Transaction } from './sql.ts';
import { type BatchedStatement, type StatementResult } from './statement-batch.ts';

// Named, so that they are parsed once.
const BEGIN = { name: 'begin', text: 'BEGIN' };
const COMMIT = { name: 'commit', text: 'COMMIT' };
const ROLLBACK = { name: 'rollback', text: 'ROLLBACK' };

interface Queued {
  readonly statement: BatchedStatement;
  /** Nobody waits for a `write`. */
  readonly waiter?: { resolve(result: StatementResult): void; reject(error: unknown): void };
}

/** A transaction on its connection. It gathers what is given in one moment and sends that in one round trip. */
export class OpenTransaction implements Transaction {
  readonly #connection: PooledConnection;
  #queue: Queued[] = [];
  #sending: Promise<void> | undefined;
  #hasBegun = false;
  /** Commit or rollback was asked for: what is given now would run outside, on a connection that may be somebody else's. */
  #isOver = false;
  /** Of the first statement that failed. Postgres takes none but ROLLBACK after it. */
  #failure: { readonly error: unknown } | undefined;

  constructor(connection: PooledConnection) {
    this.#connection = connection;
  }

  query<Row extends QueryResultRow = Record<string, unknown>>(
    statement: Statement | string,
    values: readonly unknown[] = [],
  ): Promise<Row[]> {
    const { promise, resolve, reject } = Promise.withResolvers<StatementResult>();
    this.#add({ statement: toBatched(statement, values), waiter: { resolve, reject } });
    this.#sending ??= Promise.resolve().then(() => this.#send());
    const rows = promise.then((result) => result.rows as Row[]);
    // Of several that are under way the caller may look at the first error only.
    rows.catch(() => undefined);
    return rows;
  }

  write(statement: Statement | string, values: readonly unknown[] = []): void {
    this.#add({ statement: toBatched(statement, values) });
  }

  async last<Row extends QueryResultRow = Record<string, unknown>>(
    statement: Statement | string,
    values: readonly unknown[] = [],
  ): Promise<Row[]> {
    const { promise, resolve, reject } = Promise.withResolvers<StatementResult>();
    promise.catch(() => undefined);
    this.#add({ statement: toBatched(statement, values), waiter: { resolve, reject } });
    await this.commit();
    return (await promise).rows as Row[];
  }

  /** Does nothing the second time. @throws the error of the first statement that failed, also if the caller passed over it */
  async commit(): Promise<void> {
    await this.#sending;
    this.#throwFailure();
    if (this.#isOver) return;
    this.#isOver = true;
    if (!this.#hasBegun && this.#queue.length === 0) return;
    this.#queue.push({ statement: COMMIT });
    await this.#sendQueue();
    this.#throwFailure();
    this.#hasBegun = false;
  }

  /** Never throws: a connection that cannot roll back is closed, which does it too. */
  async rollback(): Promise<void> {
    this.#isOver = true;
    const over = new TypeError('The transaction is over.');
    for (const { waiter } of this.#queue.splice(0)) waiter?.reject(over);
    await this.#sending;
    if (!this.#hasBegun) return;
    await this.#connection.run([ROLLBACK]).catch((error: unknown) => this.#connection.discard(error));
  }

  #add(queued: Queued): void {
    if (this.#isOver) throw new TypeError('The transaction is over.');
    this.#queue.push(queued);
  }

  async #send(): Promise<void> {
    while (this.#queue.some(({ waiter }) => waiter)) await this.#sendQueue();
    this.#sending = undefined;
  }

  async #sendQueue(): Promise<void> {
    const batch = this.#queue.splice(0);
    if (!this.#failure) {
      const begin = this.#hasBegun ? [] : [BEGIN];
      this.#hasBegun = true;
      try {
        const results = await this.#connection.run([...begin, ...batch.map(({ statement }) => statement)]);
        batch.forEach(({ waiter }, place) => waiter?.resolve(results[begin.length + place] ?? NO_RESULT));
        return;
      } catch (error) {
        this.#failure = { error };
      }
    }
    for (const { waiter } of batch) waiter?.reject(this.#failure.error);
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }
}

const NO_RESULT: StatementResult = { rows: [], command: null };
