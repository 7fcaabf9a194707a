import type { Logger } from '@answerline/logging';

/** A probe asks every few seconds, and Kubernetes gives up on it after a few: a check that takes longer has failed. */
const checkTimeoutMs = 2_000;
/** Answers this fresh are given again, so that many probes cost what one costs. */
const cacheMs = 1_000;

export interface Readiness {
  readonly ready: boolean;
  /** Names of the checks that fail, or `stopping`. */
  readonly failing: readonly string[];
}

type Check = () => Promise<unknown>;

/**
 * What a process needs from others to do its work. Live means that the process runs, whatever its services do: a restart
 * does not mend a database. Ready means that every check passes and the process is not stopping.
 */
export class HealthRegistry {
  readonly #checks = new Map<string, { readonly run: () => Promise<boolean>; passed: boolean }>();
  readonly #now: () => number;
  #logger: Logger | undefined;
  #stopping = false;

  /** @param options.now milliseconds from any start, which never go back */
  constructor(options: { readonly now?: () => number } = {}) {
    this.#now = options.now ?? (() => performance.now());
  }

  /** A check that begins or ceases to fail is logged here, once each time, with its error. */
  logTo(logger: Logger): void {
    this.#logger = logger;
  }

  /** Adds a check under a name that may be shown to anyone. It fails when it throws, returns false or takes over 2 s. */
  add(name: string, check: Check): void {
    this.#checks.set(name, { run: this.#cached(() => this.#perform(name, check)), passed: true });
  }

  /** Whether the process itself runs: always, if it can answer. */
  live(): true {
    return true;
  }

  /** Asks all checks at once; answers are at most 1 s old. Never throws. */
  async ready(): Promise<Readiness> {
    if (this.#stopping) return { ready: false, failing: ['stopping'] };
    const results = await Promise.all(
      [...this.#checks].map(async ([name, check]) => ((await check.run()) ? undefined : name)),
    );
    const failing = results.filter((name) => name !== undefined);
    return this.#stopping ? { ready: false, failing: ['stopping'] } : { ready: failing.length === 0, failing };
  }

  /** From now on the process is not ready, so that no new work is sent to it. */
  beginStopping(): void {
    this.#stopping = true;
  }

  /** One call at a time, and its result again until it is too old. A check that hangs is not asked again meanwhile. */
  #cached(check: () => Promise<boolean>): () => Promise<boolean> {
    let last: { readonly result: Promise<boolean>; endedAt: number } | undefined;
    return () => {
      if (last !== undefined && this.#now() - last.endedAt < cacheMs) return last.result;
      const call = { result: check(), endedAt: Infinity };
      last = call;
      void call.result.finally(() => (call.endedAt = this.#now()));
      return call.result;
    };
  }

  async #perform(name: string, check: Check): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`No answer within ${checkTimeoutMs} ms`)), checkTimeoutMs);
    });
    try {
      const passed = (await Promise.race([check(), timeout])) !== false;
      this.#note(name, passed);
      return passed;
    } catch (error) {
      this.#note(name, false, error);
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  #note(name: string, passed: boolean, error?: unknown): void {
    const check = this.#checks.get(name);
    if (check === undefined || check.passed === passed || this.#stopping) return;
    check.passed = passed;
    if (passed) this.#logger?.info({ check: name }, 'Health check passes again');
    else this.#logger?.warn({ check: name, err: error }, 'Health check fails');
  }
}
