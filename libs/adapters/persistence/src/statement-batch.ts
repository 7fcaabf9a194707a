import { Query, type Connection, type QueryResultRow, type Submittable } from 'pg';

/** A statement of a batch. `name` makes it a prepared statement of its connection. */
export interface BatchedStatement {
  readonly text: string;
  readonly name?: string;
  readonly values?: readonly unknown[];
}

/** What a statement came to. */
export interface StatementResult {
  readonly rows: QueryResultRow[];
  /** The first word of what Postgres says it did: `INSERT`, `COMMIT`, `ROLLBACK`. */
  readonly command: string | null;
}

/**
 * Statements that go to Postgres together and come back together: one round trip, one write on each side.
 *
 * They stand before one Sync of the extended protocol, so that after the first that fails none of the others runs, and what
 * follows a BEGIN runs only if that worked (PostgreSQL, "Frontend/Backend Protocol", Pipelining). The driver's own `pipeline`
 * sends a Sync with each query: what follows a BEGIN that failed would run, and be kept, outside of any transaction.
 *
 * It is given to `client.query` as one query. The driver's {@link Query} of each statement writes the messages, keeps count of
 * what its connection has prepared, and reads the rows.
 */
export class StatementBatch implements Submittable {
  /** What each statement came to, or the error of the first that failed. */
  readonly results: Promise<StatementResult[]>;
  readonly statements: readonly BatchedStatement[];
  readonly #settle = Promise.withResolvers<StatementResult[]>();
  readonly #queries: readonly DriverQuery[];
  readonly #results: StatementResult[] = [];
  #refusal: Error | undefined;

  constructor(statements: readonly BatchedStatement[]) {
    this.results = this.#settle.promise;
    this.statements = statements;
    this.#queries = statements.map(({ text, name, values = [] }) => {
      const onResult = (error: Error | undefined, result: unknown): void => {
        if (error) this.#refusal ??= error;
        else this.#results.push(result as StatementResult);
      };
      const query: unknown = new Query(text, [...values], onResult);
      // `extended`: without it a statement without values would go by the simple protocol, which is its own Sync.
      return Object.assign(query as DriverQuery, { name, queryMode: 'extended' });
    });
  }

  /** The driver itself could not send a statement or read a row. What it believes of the connection may be wrong now. */
  get isRefused(): boolean {
    return this.#refusal !== undefined;
  }

  // What the driver's client calls, and what it reads: `name` and `text` of the statement that Postgres is at.

  get name(): string | undefined {
    return this.statements[this.#results.length]?.name;
  }

  get text(): string | undefined {
    return this.statements[this.#results.length]?.text;
  }

  submit(connection: Connection): void {
    const unsynced = Object.create(connection, { sync: { value: () => undefined } }) as Connection;
    connection.stream.cork();
    try {
      for (const query of this.#queries) {
        const problem = query.submit(unsynced);
        if (problem) this.#refusal ??= problem;
        if (this.#refusal) break;
      }
      connection.sync();
    } finally {
      connection.stream.uncork();
    }
  }

  handleRowDescription(message: unknown): void {
    this.#current?.handleRowDescription(message);
  }

  handleDataRow(message: unknown): void {
    this.#current?.handleDataRow(message);
  }

  handleCommandComplete(message: unknown, connection: Connection): void {
    const query = this.#current;
    query?.handleCommandComplete(message, connection);
    // Nothing more comes of it; its result goes to the callback.
    query?.handleReadyForQuery(connection);
  }

  handleEmptyQuery(): void {
    this.#results.push({ rows: [], command: null });
  }

  /** COPY is not for batches: the driver's query says so to Postgres. */
  handleCopyInResponse(connection: Connection): void {
    this.#current?.handleCopyInResponse(connection);
  }

  handleCopyData(): void {}

  handleReadyForQuery(): void {
    if (this.#refusal) this.#settle.reject(this.#refusal);
    else this.#settle.resolve(this.#results);
  }

  /** A statement failed, so that Postgres passed over those behind it; or the connection is lost. */
  handleError(error: unknown, connection: DriverConnection): void {
    for (const { name } of this.statements.slice(this.#results.length)) {
      if (name !== undefined) delete connection.submittedNamedStatements[name];
    }
    this.#settle.reject(this.#refusal ?? error);
  }

  get #current(): DriverQuery | undefined {
    return this.#queries[this.#results.length];
  }
}

/** The driver's query as its client drives it (pg/lib/query.js); its types leave most of it out. */
interface DriverQuery {
  name: string | undefined;
  queryMode: string | undefined;
  submit(connection: Connection): Error | null;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: Connection): void;
  handleCopyInResponse(connection: Connection): void;
  handleReadyForQuery(connection: Connection): void;
}

interface DriverConnection {
  /** By name, what was sent to be prepared and is not yet. */
  readonly submittedNamedStatements: Record<string, string>;
}
