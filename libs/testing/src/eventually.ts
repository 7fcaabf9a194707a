import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** How long to keep trying. 5 s unless told. */
  readonly timeoutMs?: number;
  /** What is waited for, in words for the failure message: "the reply is accepted". */
  readonly what: string;
}

const pollMs = 20;

/**
 * Tries `fn` every 20 ms until it neither throws nor returns `false`, and resolves to what it returned. Expectations inside it
 * are fine. At the deadline it rejects with the words of `what`, the number of tries and the last failure as text and cause;
 * a try that hangs does not keep it waiting.
 */
export async function eventually<T>(fn: () => T | Promise<T>, options: EventuallyOptions): Promise<Exclude<T, false>> {
  const { timeoutMs = 5_000, what } = options;
  const failure = new Error();
  Error.captureStackTrace(failure, eventually);
  const deadline = Date.now() + timeoutMs;
  const tooLate = new AbortController();
  const expired = delay(timeoutMs, hanging, { signal: tooLate.signal }).catch(() => hanging);
  let tries = 0;
  let last: unknown;
  try {
    do {
      tries += 1;
      try {
        const value = await Promise.race([attempt(fn), expired]);
        if (value === hanging) {
          last = new Error('the last try never came back');
          break;
        }
        if (value !== false) return value as Exclude<T, false>;
        last = new Error('it returned false');
      } catch (error) {
        last = error;
      }
      await delay(pollMs);
    } while (Date.now() < deadline);
  } finally {
    tooLate.abort();
  }
  const reason = last instanceof Error ? last.message : String(last);
  failure.message = `Waited ${timeoutMs} ms (${tries} tries) for: ${what}\nLast: ${reason}`;
  failure.cause = last;
  throw failure;
}

const hanging = Symbol('hanging');

async function attempt<T>(fn: () => T | Promise<T>): Promise<T> {
  return fn();
}
