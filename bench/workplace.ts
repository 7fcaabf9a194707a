import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  freePort,
  startEmbeddedNats,
  startEmbeddedPostgres,
  type EmbeddedNats,
  type EmbeddedPostgres,
} from '@answerline/embedded-services';

const projectFolder = fileURLToPath(new URL('..', import.meta.url));
const readyWithinMs = 60_000;
const stopWithinMs = 30_000;

export interface StartOptions {
  /** Of the program, from the root of the project. */
  readonly file: string;
  readonly args?: readonly string[];
  /** Beside PATH and the like; nothing else of this process's environment goes on. */
  readonly env?: Readonly<Record<string, string>>;
  /** What the process says in a line of its output when it is ready, or the address that answers 200 then. */
  readonly ready: RegExp | { readonly url: string };
}

/** A child process. */
export interface Started {
  readonly pid: number;
  /** The line that said it was ready, empty when an address did. */
  readonly readyLine: string;
  /** SIGTERM, and SIGKILL after 30 s. */
  stop(): Promise<void>;
}

/**
 * A place to measure in, gone afterwards: a folder, Postgres (fsync and synchronous_commit on), NATS, and processes of their
 * own whose output goes to files in the folder.
 */
export class Workplace {
  readonly folder: string;
  readonly postgres: EmbeddedPostgres;
  readonly nats: EmbeddedNats;
  readonly #started = new Set<Started>();

  private constructor(folder: string, postgres: EmbeddedPostgres, nats: EmbeddedNats) {
    this.folder = folder;
    this.postgres = postgres;
    this.nats = nats;
  }

  /** Runs `work` in a new workplace and clears it away, also on Ctrl-C. */
  static async use(work: (workplace: Workplace) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'answerline-bench-'));
    // Postgres does not run as root, so another user must get in.
    chmodSync(folder, 0o711);
    const say = (line: string): void => void process.stderr.write(`${line}\n`);
    const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), onProgress: say });
    const nats = await startEmbeddedNats({ dataDir: join(folder, 'nats'), onProgress: say });
    const workplace = new Workplace(folder, postgres, nats);
    const onSignal = (): void => void workplace.#close().finally(() => process.exit(130));
    process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
    try {
      await work(workplace);
    } finally {
      await workplace.#close();
    }
  }

  /** The address of NATS with its token in it, as NATS_URL takes it. */
  get natsUrl(): string {
    return this.nats.url.replace('://', `://${this.nats.token}@`);
  }

  /** Starts a program of the project and waits until it is ready. */
  async start(name: string, options: StartOptions): Promise<Started> {
    const { PATH, HOME, NODE_OPTIONS } = process.env;
    const inherited = Object.entries({ PATH, HOME, NODE_OPTIONS }).filter(([, value]) => value !== undefined);
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', options.file, ...(options.args ?? [])],
      {
        cwd: projectFolder,
        env: { ...Object.fromEntries(inherited), ...options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const output = createWriteStream(join(this.folder, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(output, { end: false });
    child.stderr.pipe(output, { end: false });
    const started = {
      pid: child.pid ?? NaN,
      readyLine: '',
      stop: async () => {
        this.#started.delete(started);
        await stopped(child);
      },
    };
    this.#started.add(started);
    started.readyLine = await readyLineOf(name, child, options.ready);
    child.once('exit', (code) => {
      if (code === 0 || !this.#started.has(started)) return;
      console.error(`${name} ended in the middle of the bench. Its last lines:\n${this.#lastLines(name)}`);
      void this.#close().finally(() => process.exit(1));
    });
    return started;
  }

  /** A free port of the loopback address. */
  freePort(): Promise<number> {
    return freePort();
  }

  #lastLines(name: string): string {
    return readFileSync(join(this.folder, `${name}.log`), 'utf8')
      .split('\n')
      .slice(-20)
      .join('\n');
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#started].map((started) => started.stop()));
    await this.nats.stop();
    await this.postgres.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs);
  await exited;
  clearTimeout(timer);
}

async function readyLineOf(name: string, child: ChildProcess, ready: StartOptions['ready']): Promise<string> {
  const gaveUp = new AbortController();
  const lines: string[] = [];
  const said = new Promise<string>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        if (gaveUp.signal.aborted) return;
        lines.push(...chunk.split('\n'));
        const line = ready instanceof RegExp ? lines.find((text) => ready.test(text)) : undefined;
        if (line !== undefined) resolve(line);
      });
    }
  });
  const failed = (why: string) => Promise.reject(new Error(`${name} ${why}:\n${lines.slice(-20).join('\n')}`));
  try {
    return await Promise.race([
      ready instanceof RegExp ? said : answered(ready.url, gaveUp.signal),
      once(child, 'exit', { signal: gaveUp.signal }).then(() => failed('ended before it was ready')),
      delay(readyWithinMs, undefined, { signal: gaveUp.signal }).then(() => failed('did not become ready')),
    ]);
  } finally {
    gaveUp.abort();
  }
}

async function answered(url: string, signal: AbortSignal): Promise<string> {
  while (!signal.aborted) {
    const isReady = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return '';
    await delay(50);
  }
  return '';
}
