import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNatsServer, freePort, startEmbeddedNats, startEmbeddedPostgres } from '@answerline/embedded-services';
import { migrateDatabase } from '@answerline/persistence';
import { eventually } from '@answerline/testing';
import pg from 'pg';

/** The product's processes, and the sandbox that plays Meta. */
export const appNames = ['gateway', 'ingest', 'rag', 'notifier'] as const;
export type AppName = (typeof appNames)[number] | 'sandbox';
export type ServiceName = 'postgres' | 'nats';
export type PartName = AppName | ServiceName;

/** A cold start of all takes about 5 s on two cores; a machine that is busy gets ten times that. */
const READY_WITHIN_MS = 60_000;
/** Processes end in order within 25 s; after that they are killed. */
const STOP_WITHIN_MS = 30_000;

/** Where things are, for those who talk to the running product. */
export interface ClusterAddresses {
  readonly gatewayUrl: string;
  readonly sandboxUrl: string;
  readonly databaseUrl: string;
  /** With the token in it. */
  readonly natsUrl: string;
  readonly operatorKey: string;
  /** Every Graph call that was accepted, one JSON object a line. */
  readonly journalFile: string;
}

/** Gateway, ingest, rag and notifier as processes of their own, with a Postgres, a nats-server and a sandbox of their own. */
export interface Cluster extends ClusterAddresses {
  readonly dir: string;
  /** Ends a part with kill -9 and resolves when it is gone. Of Postgres its backends too, as the kernel does when memory runs out. */
  kill(part: PartName): Promise<void>;
  /** Halts a process where it stands (SIGSTOP) until {@link Cluster.resume} or `kill`. */
  halt(app: AppName | 'nats'): void;
  resume(app: AppName | 'nats'): void;
  /** Starts a part that ended, on the same data and port, and resolves when it is ready. */
  restart(part: PartName): Promise<void>;
  /**
   * Starts one more process of an app beside the first, with settings laid over its own, and resolves when it is ready. It is ended
   * by `stop`, or before by its `kill` with kill -9.
   */
  another(app: AppName, settings: Readonly<Record<string, string>>): Promise<{ kill(): Promise<void> }>;
  /** Resolves when all four say that they are ready. */
  untilReady(): Promise<void>;
  /** What an app has logged since the start, over its restarts. */
  logOf(app: AppName): string;
  /** Ends everything in order. */
  stop(): Promise<void>;
}

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Starts all of it on free ports, with everything in `dir`; resolves when all is ready.
 *
 * @param options.settings laid over the settings of the four processes
 */
export async function startCluster(options: {
  readonly dir: string;
  readonly settings?: Readonly<Record<string, string>> | undefined;
}): Promise<Cluster> {
  const { dir, settings = {} } = options;
  mkdirSync(dir, { recursive: true });
  // Postgres may run as another user, who has to get to its own folder in here.
  chmodSync(dir, 0o711);
  const dataDir = join(dir, 'data');
  const program = await findNatsServer({});
  let postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres') });
  let nats = await startEmbeddedNats({ dataDir: join(dir, 'nats'), program }).catch(async (error: unknown) => {
    await postgres.stop();
    throw error;
  });
  const databaseUrl = postgres.url;
  const natsUrl = nats.url.replace('nats://', `nats://${nats.token}@`);
  const ports = await freePorts(['sandbox', 'grpc', ...appNames]);
  const operatorKey = randomBytes(24).toString('hex');
  const common = {
    PATH: process.env.PATH,
    NODE_ENV: 'test',
    HOST: '127.0.0.1',
    DATA_DIR: dataDir,
    SANDBOX_PORT: String(ports.sandbox),
  };
  const product = {
    ...common,
    SANDBOX: 'on',
    PUBLIC_URL: `http://127.0.0.1:${String(ports.gateway)}`,
    DATABASE_URL: databaseUrl,
    NATS_URL: natsUrl,
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    OPERATOR_KEY: operatorKey,
    INTERNAL_TOKEN: randomBytes(24).toString('hex'),
    GRPC_PORT: String(ports.grpc),
    RAG_URL: `grpc://127.0.0.1:${String(ports.grpc)}`,
    LOG_LEVEL: 'info',
    ...settings,
  };
  const apps = new Map<AppName, ChildProcess>();
  const urlOf = (app: AppName): string => `http://127.0.0.1:${String(ports[app])}`;
  const logFile = (app: AppName): string => join(dir, `${app}.log`);
  const startApp = (app: AppName): void => {
    const log = openSync(logFile(app), 'a');
    const env = app === 'sandbox' ? common : { ...product, PORT: String(ports[app]) };
    // The channel ends with us, and the process with it. The folder: the .env of whoever runs this is not ours to read.
    const stdio = ['ignore', log, log, 'ipc'] as const;
    apps.set(
      app,
      spawn(process.execPath, [join(root, `apps/${app}/dist/main.js`)], { cwd: dir, env, stdio: [...stdio] }),
    );
    closeSync(log);
  };
  const others: ChildProcess[] = [];
  const startAnother = async (app: AppName, own: Readonly<Record<string, string>>): Promise<ChildProcess> => {
    const port = await freePort();
    const log = openSync(join(dir, `${app}-${String(others.length + 2)}.log`), 'a');
    const child = spawn(process.execPath, [join(root, `apps/${app}/dist/main.js`)], {
      cwd: dir,
      env: { ...product, ...own, PORT: String(port) },
      stdio: ['ignore', log, log, 'ipc'],
    });
    closeSync(log);
    others.push(child);
    await eventually(() => !hasEnded(child) && answers(`http://127.0.0.1:${String(port)}/health/ready`), {
      what: `another ${app} is ready; its log is in ${dir}`,
      timeoutMs: READY_WITHIN_MS,
    });
    return child;
  };
  const isReady = (app: AppName): Promise<boolean> =>
    answers(`${urlOf(app)}/health/${app === 'sandbox' ? 'live' : 'ready'}`);
  const untilAppReady = (app: AppName): Promise<void> =>
    eventually(() => !hasEnded(apps.get(app)) && isReady(app), {
      what: `${app} is ready; its log is ${logFile(app)}`,
      timeoutMs: READY_WITHIN_MS,
    }).then(() => undefined);
  const processOf = (app: AppName): ChildProcess => {
    const child = apps.get(app);
    if (!child || hasEnded(child)) throw new Error(`${app} does not run`);
    return child;
  };
  const signal = (part: AppName | 'nats', name: NodeJS.Signals): void => {
    if (part === 'nats') process.kill(nats.pid, name);
    else processOf(part).kill(name);
  };

  const stop = async (): Promise<void> => {
    const running = [...apps].filter(([, child]) => !hasEnded(child));
    await Promise.all(
      others.filter((child) => !hasEnded(child)).map((child) => ended(child, 'SIGTERM', STOP_WITHIN_MS)),
    );
    await Promise.all(
      running.filter(([app]) => app !== 'sandbox').map(([, child]) => ended(child, 'SIGTERM', STOP_WITHIN_MS)),
    );
    await Promise.all(
      running.filter(([app]) => app === 'sandbox').map(([, child]) => ended(child, 'SIGTERM', STOP_WITHIN_MS)),
    );
    await Promise.all([postgres.stop(), nats.stop()]);
  };

  try {
    await migrateDatabase(databaseUrl);
    startApp('sandbox');
    for (const app of appNames) startApp(app);
    await Promise.all([...apps.keys()].map(untilAppReady));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dir,
    gatewayUrl: urlOf('gateway'),
    sandboxUrl: urlOf('sandbox'),
    databaseUrl,
    natsUrl,
    operatorKey,
    journalFile: join(dataDir, 'sandbox-journal.jsonl'),
    kill: async (part) => {
      if (part === 'postgres') {
        const pids = await postgresPids(databaseUrl);
        process.kill(postgres.pid, 'SIGKILL');
        for (const pid of pids) killIfThere(pid);
        await postgres.exited;
      } else if (part === 'nats') {
        process.kill(nats.pid, 'SIGKILL');
        await nats.exited;
      } else {
        await ended(processOf(part), 'SIGKILL', STOP_WITHIN_MS);
      }
    },
    halt: (part) => signal(part, 'SIGSTOP'),
    resume: (part) => signal(part, 'SIGCONT'),
    restart: async (part) => {
      if (part === 'postgres') {
        await postgres.stop();
        const port = Number(new URL(databaseUrl).port);
        postgres = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), port });
      } else if (part === 'nats') {
        await nats.stop();
        const port = Number(new URL(natsUrl).port);
        nats = await startEmbeddedNats({ dataDir: join(dir, 'nats'), program, token: nats.token, port });
      } else {
        startApp(part);
        await untilAppReady(part);
      }
    },
    another: async (app, own) => {
      const child = await startAnother(app, own);
      return { kill: () => ended(child, 'SIGKILL', STOP_WITHIN_MS) };
    },
    untilReady: () => Promise.all(appNames.map(untilAppReady)).then(() => undefined),
    logOf: (app) => readFileSync(logFile(app), 'utf8'),
    stop,
  };
}

const hasEnded = (child: ChildProcess | undefined): boolean =>
  child === undefined || child.exitCode !== null || child.signalCode !== null;

async function ended(child: ChildProcess, signal: NodeJS.Signals, withinMs: number): Promise<void> {
  if (hasEnded(child)) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const killer = setTimeout(() => child.kill('SIGKILL'), withinMs);
  child.kill(signal);
  await gone;
  clearTimeout(killer);
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.status === 200;
}

async function postgresPids(databaseUrl: string): Promise<number[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  const { rows } = await client.query<{ pid: number }>(
    'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()',
  );
  void client.end().catch(() => undefined);
  return rows.map(({ pid }) => pid);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function freePorts<Name extends string>(names: readonly Name[]): Promise<Record<Name, number>> {
  const ports = new Set<number>();
  while (ports.size < names.length) ports.add(await freePort());
  const list = [...ports];
  return Object.fromEntries(names.map((name, index) => [name, list[index]])) as Record<Name, number>;
}
