import { toAppError } from '@answerline/errors';
import type { Logger } from '@answerline/logging';
import { realTimer, type SetTimer } from './timer.ts';

/** A back-off after a failed claim: 1 s, 2 s, 4 s, 8 s, then 10 s. Long enough for a database to come back, short enough to be prompt when it has. */
const firstBackOffMs = 1_000;
const longestBackOffMs = 10_000;
/** What a job gets after its signal was aborted: time to give its row back, no more. */
const abortGraceMs = 2_000;

export interface WorkLoopOptions<Job> {
  /** For the log. */
  readonly name: string;
  /** Takes at most `limit` due jobs, so that nobody else does, and returns them. Must end by itself: the loop waits for it. */
  readonly claim: (limit: number) => Promise<readonly Job[]>;
  /** Does one job and keeps its outcome. What it throws is only logged: a row that waits for a retry is the job's own business. */
  readonly run: (job: Job, signal: AbortSignal) => Promise<void>;
  /** Most jobs at once. */
  readonly concurrency: number;
  readonly sweepEveryMs?: number;
  readonly logger: Logger;
  /** Called for an error of `run` (with the job) or of `claim` (without) instead of the log. */
  readonly onError?: (error: unknown, job?: Job) => void;
  readonly setTimer?: SetTimer;
  /** From 0 to below 1. */
  readonly random?: () => number;
}

export interface WorkLoop {
  /** Says that something may be due. Cheap, never throws, never lost. */
  ring(): void;
  /**
   * Claims nothing more and waits for the jobs that run, at most `deadlineMs`; then aborts their signals and waits 2 s more.
   * A second call joins the first.
   */
  stop(deadlineMs: number): Promise<void>;
  /** Jobs under way. */
  running(): number;
  /** Resolves when nothing runs and the last claim found no more. For tests. */
  idle(): Promise<void>;
}

/**
 * Does the work that waits in rows: claims as many jobs as there are free places, runs them, and claims again as long as
 * there may be more. A ring makes it prompt, the sweep (each second unless told) makes it certain. Starts at once.
 */
export function startWorkLoop<Job>(options: WorkLoopOptions<Job>): WorkLoop {
  const { name, claim, run, concurrency, sweepEveryMs = 1_000, logger } = options;
  const { setTimer = realTimer, random = Math.random } = options;
  const jobs = new Map<Promise<void>, AbortController>();
  const idleWaiters: (() => void)[] = [];
  /** There may be due work that no claim has looked for yet. */
  let mayHaveWork = true;
  let claiming = false;
  let failedClaims = 0;
  let backingOff = false;
  let aborted = false;
  let stopping = false;
  let stopped: Promise<void> | undefined;
  let cancelSweep = () => {};
  let cancelBackOff = () => {};

  const report = (error: unknown, what: string, job?: Job) => {
    if (options.onError) return options.onError(error, job);
    const level = toAppError(error).kind === 'unexpected' ? 'error' : 'warn';
    logger[level]({ loop: name, err: error }, what);
  };

  const ring = () => {
    mayHaveWork = true;
    void pump();
  };

  async function pump(): Promise<void> {
    if (claiming) return;
    claiming = true;
    try {
      while (mayHaveWork && !backingOff && !stopping && jobs.size < concurrency) {
        const limit = concurrency - jobs.size;
        mayHaveWork = false; // before the claim, so that a ring during it counts
        const claimed = await claim(limit);
        failedClaims = 0;
        if (claimed.length >= limit) mayHaveWork = true;
        claimed.forEach(start);
      }
    } catch (error) {
      mayHaveWork = true;
      backOff();
      report(error, 'Claiming work failed');
    } finally {
      claiming = false;
      settle();
    }
  }

  function start(job: Job): void {
    const controller = new AbortController();
    if (aborted) controller.abort();
    // Through a promise, so that a run that throws before its first await is caught too.
    const done = Promise.resolve()
      .then(() => run(job, controller.signal))
      .catch((error: unknown) => report(error, 'A job failed', job))
      .finally(() => {
        jobs.delete(done);
        if (mayHaveWork) void pump();
        settle();
      });
    jobs.set(done, controller);
  }

  function backOff(): void {
    if (stopping) return;
    failedClaims += 1;
    const longest = Math.min(firstBackOffMs * 2 ** (failedClaims - 1), longestBackOffMs);
    backingOff = true;
    // Between half and all of it, so that processes that failed together do not come back together.
    cancelBackOff = setTimer(
      () => {
        backingOff = false;
        void pump();
      },
      longest * (0.5 + random() / 2),
    );
  }

  function sweep(): void {
    cancelSweep = setTimer(() => {
      sweep();
      ring();
    }, sweepEveryMs);
  }

  const isIdle = () => jobs.size === 0 && !claiming && (stopping || !mayHaveWork);
  function settle(): void {
    if (isIdle()) idleWaiters.splice(0).forEach((resolve) => resolve());
  }
  const idle = () =>
    new Promise<void>((resolve) => {
      idleWaiters.push(resolve);
      settle();
    });

  async function finish(deadlineMs: number): Promise<void> {
    stopping = true;
    cancelSweep();
    cancelBackOff();
    if (await inTime(idle(), deadlineMs)) return;
    aborted = true;
    logger.warn({ loop: name, running: jobs.size }, 'Stopping with jobs under way');
    for (const controller of jobs.values()) controller.abort();
    if (!(await inTime(idle(), abortGraceMs))) {
      logger.error({ loop: name, running: jobs.size }, 'Jobs did not stop when told to');
    }
  }

  const inTime = (promise: Promise<void>, ms: number) =>
    new Promise<boolean>((resolve) => {
      const cancel = setTimer(() => resolve(false), ms);
      void promise.then(() => {
        cancel();
        resolve(true);
      });
    });

  sweep();
  void pump();
  return {
    ring,
    stop: (deadlineMs) => (stopped ??= finish(deadlineMs)),
    running: () => jobs.size,
    idle,
  };
}
