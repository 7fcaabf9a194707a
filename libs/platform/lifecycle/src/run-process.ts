import { ConfigError } from '@answerline/config';
import { AppError, InvalidInput, Unexpected } from '@answerline/errors';
import { errorFields, type Logger } from '@answerline/logging';
import { HealthRegistry } from './health-registry.ts';
import { listenProblem } from './listen-on.ts';

/** Kubernetes and Docker Compose kill 30 s (10 s) after they asked; 25 s leaves room to exit. */
const stopWithinMs = 25_000;
/** Kept back for each part that is stopped later, so that one slow part does not take the time of all. */
const reservePerPartMs = 1_000;
/** Ctrl-C reaches a process both from the terminal and from the command that started it; this close together they are one. */
const sameSignalMs = 500;

/** What `start` of {@link runProcess} works with. */
export interface StartingProcess {
  readonly health: HealthRegistry;
  /**
   * Registers how to stop a part, right after it was started. Parts are stopped in reverse order, also when a later one fails
   * to start. `stop` gets the time it has; when it takes longer the next part is stopped all the same.
   */
  onStop(part: string, stop: (withinMs: number) => unknown): void;
  /** Failures and the end of the process are logged here; until then they go to stderr. */
  logTo(logger: Logger): void;
}

/**
 * The life of a process, for its `main.ts`: starts it, and on SIGTERM, SIGINT or SIGHUP makes it unready at once, stops its
 * parts in reverse order within 25 s and exits 0 (1 if a part failed to stop). A second signal exits 1 at once. A process that was
 * started with an IPC channel also stops when the channel is closed.
 * A start that fails exits 1: a ConfigError and an InvalidInput are printed in plain lines, any other error is logged, and one
 * that is no bug of ours is also printed as one line. An unhandled rejection or an uncaught exception is logged and exits 1 at once.
 */
export function runProcess(options: {
  readonly name: string;
  readonly start: (starting: StartingProcess) => Promise<unknown>;
}): void {
  const { name, start } = options;
  const health = new HealthRegistry();
  const parts: { readonly name: string; readonly stop: (withinMs: number) => unknown }[] = [];
  let logger: Logger | undefined;
  let signalledAt: number | undefined;
  let ended = false;

  const exit = (code: number): void => {
    ended = true;
    process.exit(code);
  };
  const print = (line: string) => process.stderr.write(`${line}\n`);
  const logFailure = (error: unknown, what: string) => {
    if (logger) logger.fatal({ err: error }, what);
    else print(`${name}: ${what}: ${errorFields(error).stack ?? errorFields(error).message}`);
  };
  const logTo = (given: Logger) => {
    logger = given;
    health.logTo(given);
  };

  async function stopParts(): Promise<boolean> {
    const deadline = performance.now() + stopWithinMs;
    let clean = true;
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      const withinMs = Math.max(0, deadline - performance.now() - parts.length * reservePerPartMs);
      try {
        await within(withinMs, part.stop(withinMs));
      } catch (error) {
        clean = false;
        if (logger) logger.error({ part: part.name, err: error }, 'A part did not stop');
        else print(`${name}: ${part.name} did not stop`);
      }
    }
    return clean;
  }

  async function onSignal(signal: NodeJS.Signals): Promise<void> {
    if (signalledAt !== undefined) {
      if (performance.now() - signalledAt >= sameSignalMs) exit(1);
      return;
    }
    signalledAt = performance.now();
    health.beginStopping();
    logger?.info({ signal }, 'Stopping');
    const clean = await stopParts();
    logger?.info({ clean }, 'Stopped');
    exit(clean ? 0 : 1);
  }

  async function run(): Promise<void> {
    try {
      await start({ health, logTo, onStop: (part, stop) => parts.push({ name: part, stop }) });
    } catch (error) {
      if (signalledAt !== undefined || ended) return; // the stop that is under way took something from under the start
      const problem = listenProblem(error) ?? error;
      // What its reader can mend is one line and no stack.
      if (!(problem instanceof ConfigError || problem instanceof InvalidInput)) logFailure(error, 'Start failed');
      plainLines(problem).forEach((line) => print(`${name}: ${line}`));
      health.beginStopping();
      await stopParts();
      exit(1);
    }
  }

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => void onSignal(signal));
  }
  process.on('disconnect', () => {
    // Whoever started us has ended, perhaps by kill -9: nobody else would stop us.
    if (signalledAt === undefined) void onSignal('SIGTERM');
  });
  const onCrash = (error: unknown) => {
    logFailure(error, 'Crashed');
    exit(1);
  };
  process.on('uncaughtException', onCrash);
  process.on('unhandledRejection', onCrash);
  void run();
}

/** What a person at the terminal can act on: our own messages, which are constant texts. A bug has its stack in the log instead. */
function plainLines(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems;
  return error instanceof AppError && !(error instanceof Unexpected) ? [`${error.message} (${error.code})`] : [];
}

async function within(ms: number, work: unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Not stopped after ${Math.round(ms)} ms`)), ms);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
