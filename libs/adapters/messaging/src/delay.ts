/** A wait that can be cut short. Whoever races `passed` calls `cancel` afterwards, so that no timer keeps the process alive. */
export interface Delay {
  readonly passed: Promise<void>;
  isOver(): boolean;
  cancel(): void;
}

/** Starts a wait of `ms` milliseconds. */
export function delay(ms: number): Delay {
  let over = false;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    over = true;
    resolve();
  }, ms);
  return { passed: promise, isOver: () => over, cancel: () => clearTimeout(timer) };
}
