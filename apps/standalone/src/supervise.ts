import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '@answerline/config';
import { fetchOperator } from '@answerline/outbound-http';

/** A process that fails at once is not started a hundred times a second; one that failed once is back soon. */
const FIRST_RESTART_MS = 250;
const LONGEST_RESTART_MS = 10_000;
/** Having run for this long, its next end counts as the first again. */
const RAN_WELL_MS = 30_000;
/** From spawn to ready. A start takes about 2 s; a machine that starts five processes at once needs more. */
const READY_WITHIN_MS = 60_000;
const READY_POLL_MS = 50;
const PROBE_TIMEOUT_MS = 2_500;
const PROBE_MAX_BYTES = 64 * 1024;
/** What a process that was asked to stop gets less than we have, so that it can still be killed in time. */
const KILL_RESERVE_MS = 500;

/** A process of ours and how to keep it running. */
export interface SupervisedOptions {
  /** Stands before each line that it prints. */
  readonly name: string;
  /** The program, for the Node that runs us. */
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Answers 200 when it can do its work. */
  readonly healthUrl: string;
  /** Called each time that it became ready, the first time before {@link supervise} resolves. */
  readonly onReady?: () => Promise<unknown>;
  /** False: an end is told and left at that. */
  readonly restart: boolean;
  readonly say: (line: string) => void;
}

/** A process that is started again whenever it ends. */
export interface Supervised {
  /**
   * Resolves when it is ready for the first time. Rejects with ConfigError when it ends before that, having said why, or when
   * something else answers in its place.
   */
  readonly ready: Promise<void>;
  /** Asks it to end, kills it when it has not done so in that time, and starts it no more. */
  stop(withinMs: number): Promise<void>;
}

/**
 * Starts a process. Once it was ready, its end is told of in one line and it is started again, after a pause that grows from
 * 0.25 to 10 s. It runs in a session of its own, so that Ctrl-C in the terminal reaches it only through us, in its turn; and
 * it ends by itself when we are gone.
 */
export function supervise(options: SupervisedOptions): Supervised {
  const { name, healthUrl, say } = options;
  const stopping = new AbortController();
  let child: ChildProcess | undefined;

  /** False when it ended, or was stopped, before. */
  const launchAndWait = async (): Promise<boolean> => {
    child = launch(options);
    if (!(await becomesReady(child, healthUrl, stopping.signal))) return false;
    await options.onReady?.();
    return true;
  };
  const keepRunning = async (): Promise<void> => {
    for (let failures = 0; child && !stopping.signal.aborted; failures += 1) {
      const startedAt = performance.now();
      const end = await endOf(child);
      if (stopping.signal.aborted) return;
      if (performance.now() - startedAt > RAN_WELL_MS) failures = 0;
      const pauseMs = Math.min(FIRST_RESTART_MS * 2 ** failures, LONGEST_RESTART_MS);
      say(`${name} ended (${end})${options.restart ? `; it is started again in ${String(pauseMs / 1000)} s` : ''}`);
      if (!options.restart) return;
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      void launchAndWait().then(
        (isReady) => isReady && say(`${name} is ready again`),
        (error: Error) => say(`${name}: ${error.message}`),
      );
    }
  };
  const begin = async (): Promise<void> => {
    if (await isUp(healthUrl)) throw inUse(healthUrl);
    if (!(await launchAndWait())) throw new ConfigError([`${name} did not start; the lines above say why`]);
    void keepRunning();
  };
  return {
    ready: begin(),
    stop: async (withinMs) => {
      stopping.abort();
      const running = child;
      if (!running || hasEnded(running)) return;
      const killer = setTimeout(() => running.kill('SIGKILL'), Math.max(0, withinMs - KILL_RESERVE_MS));
      running.kill('SIGTERM');
      await endOf(running);
      clearTimeout(killer);
    },
  };
}

function launch({ name, file, env, say }: SupervisedOptions): ChildProcess {
  const stdio = ['ignore', 'pipe', 'pipe', 'ipc'] as const;
  const child = spawn(process.execPath, [file], { env: { ...env }, detached: true, stdio: [...stdio] });
  child.on('error', (error) => say(`${name} could not be started: ${error.message}`));
  for (const output of [child.stdout, child.stderr]) if (output) prefixLines(output, name, say);
  return child;
}

function prefixLines(output: Readable, name: string, say: (line: string) => void): void {
  createInterface({ input: output }).on('line', (line) => say(`${name.padEnd('notifier'.length)} | ${line}`));
}

async function becomesReady(child: ChildProcess, healthUrl: string, stopping: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!hasEnded(child) && !stopping.aborted && performance.now() < deadline) {
    if (await isUp(healthUrl)) return true;
    await delay(READY_POLL_MS);
  }
  return false;
}

/** Whether a health address answers 200. */
async function isUp(url: string): Promise<boolean> {
  try {
    const { status } = await fetchOperator(url, {
      method: 'GET',
      timeoutMs: PROBE_TIMEOUT_MS,
      maxBytes: PROBE_MAX_BYTES,
    });
    return status === 200;
  } catch {
    return false;
  }
}

const inUse = (url: string): ConfigError =>
  new ConfigError([`Something answers at ${url} already: stop that first, or set PORT and SANDBOX_PORT to free ports`]);

const hasEnded = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null || child.pid === undefined;

/** How it ended, in a word. */
async function endOf(child: ChildProcess): Promise<string> {
  if (!hasEnded(child)) await new Promise((resolve) => child.once('exit', resolve));
  return child.signalCode ?? `exit code ${String(child.exitCode ?? 'unknown')}`;
}
