import { AsyncLocalStorage } from 'node:async_hooks';

const correlation = new AsyncLocalStorage<string>();

/** Runs `fn`, and everything it starts, under the correlation id `id`: it stands on each log line made there. Returns what `fn` returns. */
export function withCorrelation<T>(id: string, fn: () => T): T {
  return correlation.run(id, fn);
}

/** The id of the nearest {@link withCorrelation} around this call, or undefined outside of any. */
export function currentCorrelationId(): string | undefined {
  return correlation.getStore();
}
