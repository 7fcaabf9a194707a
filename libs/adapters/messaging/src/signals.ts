/** Thrown by a handler: not yet. The message is held and tried again after `delayMs`; it does not count as a failure. */
export class SnoozeFor extends Error {
  readonly delayMs: number;

  constructor(delayMs: number) {
    super(`Snooze for ${delayMs} ms`);
    this.name = 'SnoozeFor';
    this.delayMs = delayMs;
  }
}

/** Thrown by a handler: nothing to do here, never hand it out again, and no dead letter. `reason` is a code for the log. */
export class Discard extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(`Discarded: ${reason}`);
    this.name = 'Discard';
    this.reason = reason;
  }
}
