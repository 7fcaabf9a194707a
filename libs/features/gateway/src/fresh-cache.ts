import { Transient } from '@answerline/errors';

export interface FreshCacheOptions<Value> {
  /** Reads many keys at once. Keys that are not in the answer do not exist. */
  readonly read: (keys: string[]) => Promise<ReadonlyMap<string, Value>>;
  /** No answer is further behind the source than this; a read that takes longer counts as failed. */
  readonly maxAgeMs: number;
  /** What is asked for at this age or later is read again in the background, so that a key in use never waits. */
  readonly refreshAfterMs: number;
  readonly maxEntries: number;
  /** Milliseconds from any start, which never go back. */
  readonly now: () => number;
}

interface Entry<Value> {
  readonly value: Value | null;
  readonly readAt: number;
}

interface Waiter<Value> {
  readonly promise: Promise<Value | null>;
  readonly resolve: (value: Value | null) => void;
  readonly reject: (error: unknown) => void;
}

/** Keys of one read. One read runs at a time, so that a flood of unknown keys cannot take all connections. */
const maxKeysPerRead = 500;

/**
 * Answers from memory, at most `maxAgeMs` behind the source. Keys that do not exist are kept as well. Several lookups of a
 * key share one read; lookups that come while a read runs go into the next one together.
 */
export class FreshCache<Value> {
  /** Oldest read first. */
  readonly #entries = new Map<string, Entry<Value>>();
  readonly #waiting = new Map<string, Waiter<Value>>();
  readonly #options: FreshCacheOptions<Value>;
  #reading = false;

  constructor(options: FreshCacheOptions<Value>) {
    this.#options = options;
  }

  /**
   * The value, or null when there is none; at once when it is known, else a promise of it. The promise is rejected with what
   * `read` threw, or with Transient `lookup_timeout`.
   */
  lookup(key: string): Value | null | Promise<Value | null> {
    const entry = this.#entries.get(key);
    const age = entry === undefined ? Infinity : this.#options.now() - entry.readAt;
    if (entry === undefined || age >= this.#options.maxAgeMs) return this.#readSoon(key);
    // A failed refresh shows when the entry is too old.
    if (age >= this.#options.refreshAfterMs) this.#readSoon(key).catch(() => undefined);
    return entry.value;
  }

  /** What is in memory of a key, however old; undefined when nothing is. */
  peek(key: string): Value | null | undefined {
    return this.#entries.get(key)?.value;
  }

  /** All that is in memory. */
  values(): (Value | null)[] {
    return [...this.#entries.values()].map(({ value }) => value);
  }

  /** Forgets what was read `ageMs` ago or before. What is in use is read again sooner than that. */
  forget(ageMs: number): void {
    const readBefore = this.#options.now() - ageMs;
    for (const [key, { readAt }] of this.#entries) {
      if (readAt > readBefore) break;
      this.#entries.delete(key);
    }
  }

  #readSoon(key: string): Promise<Value | null> {
    const waiting = this.#waiting.get(key);
    if (waiting) return waiting.promise;
    const waiter = Promise.withResolvers<Value | null>();
    this.#waiting.set(key, waiter);
    if (!this.#reading) {
      this.#reading = true;
      // After this tick, so that lookups made together share the read.
      queueMicrotask(() => void this.#readAll());
    }
    return waiter.promise;
  }

  async #readAll(): Promise<void> {
    while (this.#waiting.size > 0) {
      const keys = [...this.#waiting.keys()].slice(0, maxKeysPerRead);
      // What the read returns is as old as its start.
      const readAt = this.#options.now();
      const found = await within(this.#options.maxAgeMs, this.#options.read(keys)).catch((error: unknown) => ({
        error,
      }));
      for (const key of keys) {
        const waiter = this.#waiting.get(key);
        this.#waiting.delete(key);
        if ('error' in found) waiter?.reject(found.error);
        else waiter?.resolve(this.#keep(key, found.get(key) ?? null, readAt));
      }
    }
    this.#reading = false;
  }

  #keep(key: string, value: Value | null, readAt: number): Value | null {
    this.#entries.delete(key);
    this.#entries.set(key, { value, readAt });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#options.maxEntries && oldest !== undefined) this.#entries.delete(oldest);
    return value;
  }
}

async function within<Result>(ms: number, work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Transient('lookup_timeout', 'The database did not answer in time.')), ms);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
