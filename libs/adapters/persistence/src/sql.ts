import { type QueryResultRow } from 'pg';
import { type BatchedStatement } from './statement-batch.ts';

/** A query that runs as it stands. `name` makes it a prepared statement of its connection: give hot queries one. */
export interface Statement {
  readonly text: string;
  readonly name?: string;
}

/** Runs SQL. Rows come back with the column names of the query. */
export interface Sql {
  query<Row extends QueryResultRow = Record<string, unknown>>(
    statement: Statement | string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
}

/** SQL within one transaction. */
export interface Transaction extends Sql {
  /**
   * For a statement whose answer nobody needs: it goes along with the next query, else with the commit, in the order in which
   * they were given. When it fails, that query or the commit throws its error, and nothing of the transaction is stored.
   */
  write(statement: Statement | string, values?: readonly unknown[]): void;
  /** The last query: the commit goes along with it, so that nothing can be taken back after it. */
  last<Row extends QueryResultRow = Record<string, unknown>>(
    statement: Statement | string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
}

/** A statement as it is sent. */
export function toBatched(statement: Statement | string, values: readonly unknown[]): BatchedStatement {
  return typeof statement === 'string' ? { text: statement, values } : { ...statement, values };
}
