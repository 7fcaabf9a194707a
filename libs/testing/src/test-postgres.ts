import { createHash, randomUUID } from 'node:crypto';
import pg from 'pg';

/** A database of its own for one spec file. */
export interface TestDatabase {
  readonly url: string;
  /** Deletes it, ending the sessions that are still open. */
  drop(): Promise<void>;
}

/**
 * The Postgres server of this test run, as a URL whose role may create databases. Throws when there is none: integration tests
 * never skip themselves.
 */
export function testPostgresUrl(): string {
  return required('TEST_POSTGRES_URL');
}

/**
 * Makes an empty database, or one that `migrate` has prepared. A named function (such as `migrateDatabase`) runs once in a test
 * run, into a template that all spec files copy (about 50 ms); it must depend on nothing but its url. An anonymous one runs for
 * each database.
 */
export async function createTestDatabase(migrate?: (url: string) => Promise<void>): Promise<TestDatabase> {
  const name = `${databasePrefix()}${randomUUID().replaceAll('-', '')}`;
  const template = migrate?.name ? await templateFor(migrate.name, migrate) : undefined;
  await withServer(async (server) => {
    await server.query(`CREATE DATABASE ${quoted(name)} TEMPLATE ${quoted(template ?? 'template0')}`);
  });
  const url = urlOf(name);
  if (migrate && !template) await migrate(url);
  return {
    url,
    drop: () =>
      withServer(async (server) => {
        await server.query(`DROP DATABASE IF EXISTS ${quoted(name)} WITH (FORCE)`);
      }),
  };
}

async function templateFor(functionName: string, migrate: (url: string) => Promise<void>): Promise<string> {
  const name = `${databasePrefix()}template_${sha256(functionName).toString('hex', 0, 8)}`;
  await withServer(async (server) => {
    // The lock ends with the session. Others wait here until the template stands under its final name.
    await server.query('SELECT pg_advisory_lock($1)', [lockKey(name)]);
    const { rowCount } = await server.query('SELECT FROM pg_database WHERE datname = $1', [name]);
    if (rowCount) return;
    const draft = `${name}_draft`;
    await server.query(`DROP DATABASE IF EXISTS ${quoted(draft)} WITH (FORCE)`);
    await server.query(`CREATE DATABASE ${quoted(draft)} TEMPLATE template0`);
    await migrate(urlOf(draft));
    await server.query(`ALTER DATABASE ${quoted(draft)} RENAME TO ${quoted(name)}`);
  });
  return name;
}

async function withServer(work: (server: pg.Client) => Promise<void>): Promise<void> {
  const server = new pg.Client({ connectionString: testPostgresUrl() });
  await server.connect();
  try {
    await work(server);
  } finally {
    await server.end();
  }
}

function urlOf(database: string): string {
  const url = new URL(testPostgresUrl());
  url.pathname = `/${database}`;
  return url.href;
}

/** The run's own, so that the runner finds what to delete on a server that outlives the run. */
const databasePrefix = () => `answerline_test_${required('TEST_RUN_ID')}_`;
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
const sha256 = (text: string) => createHash('sha256').update(text).digest();
const lockKey = (name: string) => sha256(name).readInt32BE();

function required(variable: string): string {
  const value = process.env[variable];
  if (value) return value;
  throw new Error(`${variable} is not set. Run integration tests with: npm test -- <part of the file name>`);
}
