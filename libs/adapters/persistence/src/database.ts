import { Transient } from '@answerline/errors';
import { type Pool, type QueryResultRow } from 'pg';
import { DataSource } from 'typeorm';
import { type PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver.js';
import { entities } from './entities/index.ts';
import { migrations } from './migrations/index.ts';
import { OpenTransaction } from './open-transaction.ts';
import { PooledConnection } from './pooled-connection.ts';
import { toBatched, type Sql, type Statement, type Transaction } from './sql.ts';
import { WorkspaceData } from './workspace-data.ts';

export interface DatabaseOptions {
  readonly url: string;
  /** Connections of this process. */
  readonly poolSize?: number;
  readonly applicationName: string;
}

/** How long a query may wait for a connection, to connect or from the pool, before it counts as unavailable. */
const CONNECT_TIMEOUT_MS = 5_000;
/** No statement of ours takes longer; one that does is stuck behind a lock. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** A transaction whose process hangs must not hold its locks: 15 s is the lease of a turn. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000;
const DEFAULT_POOL_SIZE = 10;
/**
 * A prepared statement is planned once for any values. By itself Postgres would plan most of ours at each call, because the
 * length of their arrays tempts it to: measured, this was 40 % of the time that it spent on them. A query without a name is
 * planned for its values, which lets Postgres leave out conditions on parameters that are null.
 */
const PLAN_CACHE_MODE = 'force_generic_plan';
const PLAN_ONCE = { text: `SET plan_cache_mode = ${PLAN_CACHE_MODE}` };
const PLAN_FOR_VALUES = { text: `SET plan_cache_mode = auto` };

/**
 * The one way to Postgres: raw SQL for the hot paths, TypeORM repositories by workspace for the rest, over one pool.
 *
 * Every method throws {@link Transient} `database_unavailable` when Postgres cannot be reached and `database_conflict`
 * on a deadlock or serialization failure: the same call may work later.
 */
export class Database implements Sql {
  readonly dataSource: DataSource;
  readonly #pool: Pool;

  private constructor(dataSource: DataSource) {
    this.dataSource = dataSource;
    this.#pool = (dataSource.driver as PostgresDriver).master as Pool;
    // An idle connection that dies is replaced at the next query; without a listener it would end the process.
    this.#pool.on('error', () => undefined);
  }

  static async connect(options: DatabaseOptions): Promise<Database> {
    const dataSource = createDataSource(options);
    await dataSource.initialize().catch((error: unknown) => {
      throw unavailable(error);
    });
    return new Database(dataSource);
  }

  async query<Row extends QueryResultRow = Record<string, unknown>>(
    statement: Statement | string,
    values: readonly unknown[] = [],
  ): Promise<Row[]> {
    return this.#withConnection(async (connection) => {
      const batched = toBatched(statement, values);
      // See PLAN_CACHE_MODE. If the statement fails, the first SET is undone with it.
      const isPlannedAnew = batched.name === undefined && values.length > 0;
      if (!isPlannedAnew) return (await connection.run([batched]))[0]?.rows as Row[];
      const [, result] = await connection.run([PLAN_FOR_VALUES, batched, PLAN_ONCE]);
      return result?.rows as Row[];
    });
  }

  /**
   * One transaction (read committed). It is rolled back when `work` throws, the error goes on to the caller, and when a
   * statement of it failed, even if `work` ends well. Statements that are given in the same moment (`Promise.all`) go in one
   * round trip, in order; so do BEGIN with the first ones, and COMMIT with what was left to {@link Transaction.write}.
   */
  async transaction<Result>(work: (sql: Transaction) => Promise<Result>): Promise<Result> {
    return this.#withConnection(async (connection) => {
      const transaction = new OpenTransaction(connection);
      try {
        const result = await work(transaction);
        await transaction.commit();
        return result;
      } catch (error) {
        await transaction.rollback();
        throw error;
      }
    });
  }

  /** The rows of one workspace. There is no other way to a repository, so that no query can forget its tenant. */
  forWorkspace(workspaceId: string): WorkspaceData {
    return new WorkspaceData(this.dataSource.manager, workspaceId);
  }

  async #withConnection<Result>(work: (connection: PooledConnection) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    const connection = new PooledConnection(client);
    try {
      return await work(connection);
    } catch (error) {
      throw asTransient(error);
    } finally {
      connection.release();
    }
  }

  /** Whether Postgres answers. */
  async isUp(): Promise<boolean> {
    return this.query('SELECT 1').then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    await this.dataSource.destroy();
  }
}

/** The TypeORM data source of this project; migrations and tests use it directly. */
export function createDataSource({ url, poolSize = DEFAULT_POOL_SIZE, applicationName }: DatabaseOptions): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities,
    migrations,
    synchronize: false,
    logging: false,
    applicationName,
    poolSize,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    extra: {
      statement_timeout: STATEMENT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      keepAlive: true,
      options: `-c plan_cache_mode=${PLAN_CACHE_MODE}`,
    },
  });
}

/** Brings the schema of `url` up to date. Safe to run again, and by two processes at once (one waits). */
export async function migrateDatabase(url: string): Promise<void> {
  const dataSource = createDataSource({ url, applicationName: 'answerline-migrate', poolSize: 2 });
  await dataSource.initialize().catch((error: unknown) => {
    throw unavailable(error);
  });
  try {
    const runner = dataSource.createQueryRunner();
    try {
      await runner.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
      await dataSource.runMigrations({ transaction: 'each' });
    } finally {
      await runner.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
      await runner.release();
    }
  } finally {
    await dataSource.destroy();
  }
}

/** Any number, as long as it is always the same. */
const MIGRATION_LOCK = 7_206_219;

/** Classes of SQLSTATE and of sockets after which the same statement may work later. */
const CONFLICT = new Set(['40001', '40P01', '55P03', '57014']);
const AWAY = /^(08|53|57P|25P03|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EAI_AGAIN)/;
const AWAY_MESSAGE = /terminat|timeout|not queryable|closed|ended/i;

function asTransient(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (CONFLICT.has(code)) return new Transient('database_conflict', 'Two transactions met.', { cause: error });
  if (AWAY.test(code) || (code === '' && AWAY_MESSAGE.test(error.message) && !('kind' in error)))
    return unavailable(error);
  return error;
}

function unavailable(error: unknown): Transient {
  return new Transient('database_unavailable', 'Postgres cannot be reached.', { cause: error });
}
