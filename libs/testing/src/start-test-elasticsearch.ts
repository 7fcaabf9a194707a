import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from '@answerline/embedded-services';
import { tempDir } from './temp-dir.ts';

/** An Elasticsearch for one spec file. */
export interface TestElasticsearch {
  readonly url: string;
  /** Of the server that runs now; it changes with a restart. */
  readonly pid: number;
  readonly dataDir: string;
  /** Ends it with kill -9, and resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data, also after it was killed. */
  restart(): Promise<void>;
  /** Ends it, within 10 s, and deletes its data. Stopping again does nothing. */
  stop(): Promise<void>;
}

const script = fileURLToPath(new URL('../../../tools/elasticsearch/run-es.sh', import.meta.url));

/** It is ready 8 to 25 s after its start, later on a machine with other work. */
const readyDeadlineMs = 150_000;
const stopDeadlineMs = 10_000;

/**
 * Starts one real Elasticsearch with an empty data folder on a free port: about 10 s, so give the hook that calls this 180 s. It ends
 * when this process does, however that ends. Downloads the server first if `npm run test:elasticsearch` has not.
 */
export async function startTestElasticsearch(): Promise<TestElasticsearch> {
  const folder = await tempDir();
  const port = await freePort();
  const dataDir = join(folder, 'elasticsearch');
  let server = await start(port, dataDir);
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    await end(server, 'SIGTERM');
    await rm(folder, { recursive: true, force: true });
  };
  return {
    url: `http://127.0.0.1:${String(port)}`,
    get pid() {
      return server.pid ?? 0;
    },
    dataDir,
    kill: () => end(server, 'SIGKILL'),
    restart: async () => {
      await end(server, 'SIGTERM');
      server = await start(port, dataDir);
    },
    stop: () => (stopping ??= stop()),
  };
}

async function start(port: number, dataDir: string): Promise<ChildProcess> {
  const server = spawn('bash', [script], {
    // A group of its own; and a server whose stdin closes with us, also when we are killed.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ES_PORT: String(port), ES_DATA: dataDir, ES_END_WITH_STDIN: '1' },
  });
  const lastLines: string[] = [];
  const wentWrong = Promise.withResolvers<never>();
  const isReady = Promise.withResolvers<void>();
  const fail = (why: string) => wentWrong.reject(new Error(`Elasticsearch ${why}.\n${lastLines.join('\n')}`));
  for (const output of [server.stdout, server.stderr]) {
    createInterface({ input: output }).on('line', (line) => {
      if (line.startsWith('ES-READY')) isReady.resolve();
      lastLines.splice(0, lastLines.length - 9);
      lastLines.push(line);
    });
  }
  server.once('error', (error) => fail(`could not be started: ${error.message}`));
  server.once('close', () => fail('ended before it was ready'));
  const timer = setTimeout(() => fail(`was not ready within ${String(readyDeadlineMs / 1000)} s`), readyDeadlineMs);
  try {
    await Promise.race([isReady.promise, wentWrong.promise]);
    return server;
  } catch (error) {
    await end(server, 'SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
    wentWrong.promise.catch(() => undefined);
  }
}

/** Signals the whole group and resolves when the server is gone; one that does not heed the signal is killed. */
async function end(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const { pid } = server;
  if (pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
  const exited = once(server, 'exit');
  process.kill(-pid, signal);
  const killer = setTimeout(() => process.kill(-pid, 'SIGKILL'), stopDeadlineMs);
  await exited;
  clearTimeout(killer);
}
