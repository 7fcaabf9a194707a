import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, freePort, tempDir } from '@answerline/testing';

export const root = fileURLToPath(new URL('..', import.meta.url));
const readyLine = 'Answerline ready';
/** A first start makes a Postgres cluster; machines that run other tests beside this one are slow. */
const readyWithinMs = 60_000;
/** The process gives itself 25 s. */
const stopWithinMs = 30_000;

/** What stands in DATA_DIR/demo.json, as far as tests need it. */
export interface DemoFile {
  readonly baseUrl: string;
  readonly sandboxUrl: string;
  readonly apiKey: string;
  readonly operatorKey: string;
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly channelId: string;
  readonly phoneNumberId: string;
}

/** The built product as a process of its own. */
export interface StandaloneProcess {
  readonly pid: number;
  readonly dataDir: string;
  /** What it has printed so far, stdout and stderr. */
  output(): string;
  /** Resolves to how it ended: its exit code, or null after a signal. */
  readonly exited: Promise<number | null>;
  /** SIGTERM, and SIGKILL when that does not help. Resolves to the exit code. */
  stop(): Promise<number | null>;
}

export interface StandaloneOptions {
  readonly dataDir?: string;
  /** `main` is `npm start`, `start-services` is `npm run start:services`. */
  readonly program?: 'main' | 'start-services';
  /** Laid over the settings; a port is free unless it is given here. */
  readonly env?: Readonly<Record<string, string>>;
  /** In a process group of its own, as under a shell: a signal to `-pid` is Ctrl-C. */
  readonly ownGroup?: boolean;
}

/** Starts apps/standalone/dist/main.js, or the other program there. */
export async function spawnStandalone(options: StandaloneOptions = {}): Promise<StandaloneProcess> {
  const dataDir = options.dataDir ?? join(await tempDir(), 'data');
  const child = spawn(process.execPath, [join(root, `apps/standalone/dist/${options.program ?? 'main'}.js`)], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATA_DIR: dataDir,
      PORT: String(await freePort()),
      SANDBOX_PORT: String(await freePort()),
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.ownGroup === true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'close').then(([code]) => code as number | null);
  return {
    pid: child.pid ?? 0,
    dataDir,
    output: () => output,
    exited,
    async stop() {
      const killer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs);
      child.kill('SIGTERM');
      const code = await exited;
      clearTimeout(killer);
      return code;
    },
  };
}

/** Starts it and waits until it is ready and its demo is made. */
export async function startStandalone(
  options: StandaloneOptions = {},
): Promise<StandaloneProcess & { readonly demo: DemoFile }> {
  const standalone = await spawnStandalone(options);
  let ended = false;
  void standalone.exited.then(() => (ended = true));
  await eventually(() => ended || standalone.output().includes(readyLine), {
    what: 'standalone is ready',
    timeoutMs: readyWithinMs,
  });
  if (ended) throw new Error(`Standalone ended before it was ready:\n${standalone.output()}`);
  const demo = JSON.parse(readFileSync(join(standalone.dataDir, 'demo.json'), 'utf8')) as DemoFile;
  return { ...standalone, demo };
}

/** Calls the management API with the demo's key. Throws unless it answers 2xx. */
export async function callApi<T>(demo: DemoFile, method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(`${demo.baseUrl}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${demo.apiKey}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${answer}`);
  return JSON.parse(answer) as T;
}
