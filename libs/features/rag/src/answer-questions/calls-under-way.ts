import { setTimeout as delay } from 'node:timers/promises';
import { Transient } from '@answerline/errors';
import { type BeforeApplicationShutdown } from '@nestjs/common';

/** A stop waits this long for calls to end, beside the turns, which have as long. */
const DRAIN_WITHIN_MS = 15_000;
/** Another process takes over at once; one that is started again needs about this long. */
const RETRY_AFTER_MS = 1_000;

/** A gRPC call as its server sees it. */
export interface ServedCall {
  readonly cancelled: boolean;
  /** Happens when the caller went away or its deadline has passed. */
  on(event: 'cancelled', listener: () => void): unknown;
  off(event: 'cancelled', listener: () => void): unknown;
}

/**
 * The calls that are being served. Each ends when its caller goes or its deadline passes, when it took too long, or when the process
 * stops and it was not done in time; new ones are refused then.
 */
export class CallsUnderWay implements BeforeApplicationShutdown {
  readonly #calls = new Set<AbortController>();
  readonly #drainWithinMs: number;
  #isStopping = false;
  #onIdle: (() => void) | undefined;

  /** @param drainWithinMs shorter, for tests */
  constructor(drainWithinMs: number = DRAIN_WITHIN_MS) {
    this.#drainWithinMs = drainWithinMs;
  }

  /** Does the work of a call. When the call ends first, rejects with the reason at once, which the work's signal has too. */
  async serve<Result>(
    call: ServedCall,
    withinMs: number,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    if (call.cancelled) throw callerGone();
    if (this.#isStopping) throw stopping();
    const ended = new AbortController();
    const { signal } = ended;
    const onCancelled = (): void => ended.abort(callerGone());
    const timer = setTimeout(() => ended.abort(new Transient('call_timeout', 'This took too long.')), withinMs);
    const aborted = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => aborted.reject(signal.reason as Error), { once: true });
    call.on('cancelled', onCancelled);
    this.#calls.add(ended);
    try {
      return await Promise.race([work(signal), aborted.promise]);
    } finally {
      clearTimeout(timer);
      call.off('cancelled', onCancelled);
      this.#calls.delete(ended);
      if (this.#calls.size === 0) this.#onIdle?.();
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#isStopping = true;
    if (this.#calls.size === 0) return;
    const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
    const tooLate = new AbortController();
    await Promise.race([
      idle,
      delay(this.#drainWithinMs, undefined, { signal: tooLate.signal }).catch(() => undefined),
    ]);
    tooLate.abort();
    for (const call of this.#calls) call.abort(stopping());
  }
}

function callerGone(): Transient {
  return new Transient('call_cancelled', 'The caller has gone.');
}

function stopping(): Transient {
  return new Transient('stopping', 'This process is stopping.', { retryAfterMs: RETRY_AFTER_MS });
}
