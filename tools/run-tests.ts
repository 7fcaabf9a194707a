// Runs Jest and prints `N passed, N failed` as the last line, whatever happens:
//   node --conditions=@answerline/source tools/run-tests.ts <projects, with commas> [Jest's own arguments]
// All but unit and chaos tests get real services: one Postgres for the whole run (or the server of TEST_POSTGRES_URL), the nats-server
// program that spec files start their own servers with, and a folder that is emptied at the end.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  claimServiceDir,
  endServiceIn,
  findNatsServer,
  isServiceDirOwned,
  startEmbeddedPostgres,
} from '@answerline/embedded-services';
import pg from 'pg';

const runDirPrefix = 'answerline-test-';
/** A folder this young may belong to a run that has not put its name on it yet. */
const leftoverAgeMs = 60_000;
/** Jest ends within a second of its result, unless a test left something open. */
const endGraceMs = 10_000;
/** Unit tests need none, and those that kill services have their own. */
const withoutServices = new Set(['unit', 'chaos']);
const root = fileURLToPath(new URL('..', import.meta.url));
const onProgress = (line: string) => void process.stderr.write(`${line}\n`);

const [projects = '', ...rest] = process.argv.slice(2);
const jestArgs = rest[0] === '--' ? rest.slice(1) : rest;

// While Jest runs, a signal is Jest's, and we clean up after it. Before that there is nothing to wait for.
let interrupted: NodeJS.Signals | undefined;
let forward = (signal: NodeJS.Signals): void => process.exit(128 + constants.signals[signal]);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interrupted = signal;
    forward(signal);
  });
}

const runDir = mkdtempSync(join(tmpdir(), runDirPrefix));
// Postgres may run as another user, who has to get to its own folder in here.
chmodSync(runDir, 0o711);
const figuresFile = join(runDir, 'figures');
let exitCode = 1;
try {
  await claimServiceDir(runDir, 'test run', 'SIGTERM', onProgress);
  await removeLeftovers();
  exitCode = await runJest();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
}
const { passed, failed } = readFigures();
await clearDir(runDir).catch((error: Error) => onProgress(error.message));
if (process.env.CLOSING_LINE_FILE) appendFileSync(process.env.CLOSING_LINE_FILE, `${passed} ${failed}\n`);
process.exitCode = interrupted ? 128 + constants.signals[interrupted] : failed > 0 ? 1 : 0;
process.stdout.write(`${passed} passed, ${failed} failed\n`);

/** Jest's own. A Jest that gave none, or that failed without a failed test, counts as one failure. */
function readFigures(): { passed: number; failed: number } {
  if (!existsSync(figuresFile)) return { passed: 0, failed: 1 };
  const [passed = 0, failed = 1] = readFileSync(figuresFile, 'utf8').trim().split(' ').map(Number);
  return { passed, failed: failed === 0 && exitCode !== 0 ? 1 : failed };
}

async function runJest(): Promise<number> {
  const runId = randomBytes(4).toString('hex');
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    TEST_RUN_DIR: runDir,
    TEST_RUN_ID: runId,
    JEST_FIGURES_FILE: figuresFile,
  };
  if (projects.split(',').every((project) => withoutServices.has(project))) return await jest(env);

  env.TEST_NATS_SERVER = await findNatsServer({ onProgress });
  const given = process.env.TEST_POSTGRES_URL;
  if (given) {
    try {
      return await jest(env);
    } finally {
      await dropDatabases(given, `answerline_test_${runId}_`);
    }
  }
  const postgres = await startEmbeddedPostgres({ dataDir: join(runDir, 'postgres'), durable: false });
  try {
    return await jest({ ...env, TEST_POSTGRES_URL: postgres.url });
  } finally {
    await postgres.stop();
  }
}

function jest(env: NodeJS.ProcessEnv): Promise<number> {
  const flags = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'];
  // Last, because Jest takes every word after --selectProjects for a project.
  const select = ['--selectProjects', ...projects.split(',')];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...flags, 'node_modules/jest/bin/jest.js', ...jestArgs, ...select], {
      cwd: root,
      env,
      stdio: 'inherit',
    });
    forward = (signal) => {
      // Ctrl-C in a terminal has reached it already.
      if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal);
    };
    child.once('error', reject);
    let killer: NodeJS.Timeout | undefined;
    const ticker = setInterval(() => {
      if (killer || !existsSync(figuresFile)) return;
      killer = setTimeout(() => {
        onProgress(
          `Jest did not end within ${endGraceMs / 1000} s of its result: a test left a server, socket or timer open.`,
        );
        child.kill('SIGKILL');
      }, endGraceMs);
    }, 500);
    child.once('exit', (code, signal) => {
      clearInterval(ticker);
      clearTimeout(killer);
      if (signal) onProgress(`Jest was ended by ${signal}.`);
      resolve(code ?? 1);
    });
  });
}

/** A run that was killed leaves its folder and perhaps its Postgres behind. */
async function removeLeftovers(): Promise<void> {
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(runDirPrefix));
  for (const dir of folders.map((name) => join(tmpdir(), name))) {
    const changedAt = statSync(dir, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - changedAt > leftoverAgeMs && !isServiceDirOwned(dir)) await clearDir(dir);
  }
}

/** Deletes the folder of a run, after ending what still runs in it. */
async function clearDir(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  const folders = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter(
    (path) => basename(path) === 'process.json',
  );
  await Promise.all(folders.map((path) => endServiceIn(join(dir, dirname(path)))));
  rmSync(dir, { recursive: true, force: true });
}

async function dropDatabases(url: string, prefix: string): Promise<void> {
  const server = new pg.Client({ connectionString: url });
  await server.connect();
  const { rows } = await server.query<{ datname: string }>(
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [prefix],
  );
  for (const { datname } of rows) await server.query(`DROP DATABASE IF EXISTS "${datname}" WITH (FORCE)`);
  await server.end();
}
