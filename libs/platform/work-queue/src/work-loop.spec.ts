import { InvalidInput } from '@answerline/errors';
import { createLogger } from '@answerline/logging';
import { describe, expect, it } from '@jest/globals';
import { startWorkLoop, type WorkLoop, type WorkLoopOptions } from './work-loop.ts';
import { fakeClock, flush } from './fake-clock.ts';

interface Job {
  readonly id: number;
  readonly signal: AbortSignal;
  readonly finish: () => void;
  readonly fail: (error: unknown) => void;
}

/** A queue of job numbers, a loop over it, and the jobs that it started, which end when the test says so. */
function startLoop(waiting: number[], options: Partial<WorkLoopOptions<number>> = {}) {
  const clock = fakeClock();
  const lines: string[] = [];
  const limits: number[] = [];
  const started: Job[] = [];
  const loop = startWorkLoop<number>({
    name: 'test',
    concurrency: 2,
    claim: async (limit) => {
      limits.push(limit);
      return waiting.splice(0, limit);
    },
    run: (id, signal) =>
      new Promise((resolve, reject) => started.push({ id, signal, finish: () => resolve(), fail: reject })),
    logger: createLogger({ app: 'test', level: 'debug', destination: { write: (line) => void lines.push(line) } }),
    setTimer: clock.setTimer,
    random: () => 0.5,
    ...options,
  });
  const finish = async (id: number) => {
    started.find((job) => job.id === id)?.finish();
    await flush();
  };
  return { loop, clock, lines, limits, started, finish, ids: () => started.map(({ id }) => id) };
}

const resolved = async (promise: Promise<unknown>) => {
  let isResolved = false;
  void promise.then(() => (isResolved = true));
  await flush();
  return isResolved;
};

describe('startWorkLoop', () => {
  it('claims at once, for its free places only', async () => {
    const { ids, limits, finish, loop } = startLoop([1, 2, 3, 4, 5]);
    await flush();
    expect(ids()).toEqual([1, 2]);
    expect(limits).toEqual([2]);
    expect(loop.running()).toBe(2);
    await finish(1);
    expect(ids()).toEqual([1, 2, 3]);
    expect(limits).toEqual([2, 1]);
  });

  it('claims again while batches are full, and stops at one that is not', async () => {
    const { limits, ids } = startLoop([1, 2, 3], { concurrency: 10, run: async () => {} });
    await flush();
    expect(limits).toEqual([10]);
    expect(ids()).toEqual([]);
    const full = startLoop([1, 2, 3, 4, 5], { concurrency: 1, run: async () => {} });
    await full.loop.idle();
    expect(full.limits).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it('does not claim when nothing may have come', async () => {
    const { limits, finish } = startLoop([1]);
    await flush();
    await finish(1);
    expect(limits).toEqual([2]);
  });

  it('claims on a ring, and on the sweep without one', async () => {
    const waiting: number[] = [];
    const { loop, ids, clock } = startLoop(waiting);
    await loop.idle();
    waiting.push(1);
    loop.ring();
    await flush();
    expect(ids()).toEqual([1]);
    waiting.push(2);
    await clock.advance(999);
    expect(ids()).toEqual([1]);
    await clock.advance(1);
    expect(ids()).toEqual([1, 2]);
  });

  it('does not lose a ring that comes during a claim', async () => {
    const answers: ((jobs: number[]) => void)[] = [];
    const { loop, ids } = startLoop([], { claim: () => new Promise((resolve) => answers.push(resolve)) });
    await flush();
    loop.ring();
    loop.ring();
    expect(answers).toHaveLength(1);
    answers[0]?.([]);
    await flush();
    expect(answers).toHaveLength(2);
    answers[1]?.([7]);
    await flush();
    expect(ids()).toEqual([7]);
    expect(answers).toHaveLength(2);
  });

  it('does not lose a ring that comes while all places are taken', async () => {
    const waiting = [1];
    const { loop, ids, finish, limits } = startLoop(waiting, { concurrency: 1 });
    await flush();
    waiting.push(2);
    loop.ring();
    await flush();
    expect(limits).toEqual([1]);
    await finish(1);
    expect(ids()).toEqual([1, 2]);
  });

  it('goes on after a job that throws, at once or later, and says so', async () => {
    const { loop, lines } = startLoop([1, 2, 3], {
      concurrency: 1,
      run: (id) => {
        if (id === 1) throw new Error('at once');
        return Promise.reject(id === 2 ? new InvalidInput('gone', 'It is gone.') : new Error('later'));
      },
    });
    await loop.idle();
    const read = lines.map((line) => JSON.parse(line) as { level: string; message: string; loop: string });
    expect(read.map(({ level }) => level)).toEqual(['error', 'warn', 'error']);
    expect(read[0]).toMatchObject({ message: 'A job failed', loop: 'test' });
  });

  it('gives errors to onError instead, with their job', async () => {
    const errors: unknown[] = [];
    const failure = new Error('no');
    const { loop, lines } = startLoop([4], {
      run: () => Promise.reject(failure),
      onError: (error, job) => errors.push([error, job]),
    });
    await loop.idle();
    expect(errors).toEqual([[failure, 4]]);
    expect(lines).toEqual([]);
  });

  it('backs off after a failed claim: 1 s doubling to 10 s, less up to half of it, whatever rings', async () => {
    let claims = 0;
    const { loop, clock, lines } = startLoop([], {
      claim: async () => {
        claims += 1;
        throw new Error('database away');
      },
    });
    await flush();
    const delays: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const [before, from] = [claims, clock.now()];
      while (claims === before) {
        loop.ring();
        await clock.advance(250);
      }
      delays.push(clock.now() - from);
    }
    expect(delays).toEqual([750, 1_500, 3_000, 6_000, 7_500, 7_500]);
    expect(lines).toHaveLength(7);
  });

  it('takes up work by itself when the claim works again, and starts at 1 s next time', async () => {
    const waiting = [1];
    let isAway = true;
    const { ids, clock, finish, loop } = startLoop(waiting, {
      claim: async (limit) => {
        if (isAway) throw new Error('database away');
        return waiting.splice(0, limit);
      },
    });
    await clock.advance(750 + 1_500);
    isAway = false;
    await clock.advance(3_000);
    expect(ids()).toEqual([1]);
    await finish(1);
    isAway = true;
    loop.ring();
    await flush();
    isAway = false;
    waiting.push(2);
    await clock.advance(750);
    expect(ids()).toEqual([1, 2]);
  });

  it('keeps to its bound in any order of rings, sweeps and ends', async () => {
    const waiting = Array.from({ length: 200 }, (_, id) => id);
    let most = 0;
    let now = 0;
    const box: { loop?: WorkLoop } = {};
    const { loop, clock } = startLoop(waiting, {
      concurrency: 3,
      run: async (id) => {
        now += 1;
        most = Math.max(most, now);
        for (let turn = 0; turn < id % 7; turn += 1) await Promise.resolve();
        box.loop?.ring();
        now -= 1;
      },
    });
    box.loop = loop;
    await clock.advance(2_000);
    await loop.idle();
    expect(waiting).toEqual([]);
    expect(most).toBe(3);
  });
});

describe('stop', () => {
  it('claims nothing more and waits for the jobs that run', async () => {
    const { loop, clock, limits, finish, started } = startLoop([1, 2, 3]);
    await flush();
    const stopped = loop.stop(5_000);
    loop.ring();
    await clock.advance(4_000);
    await finish(1);
    expect(await resolved(stopped)).toBe(false);
    await finish(2);
    expect(await resolved(stopped)).toBe(true);
    expect(limits).toEqual([2]);
    expect(started.every(({ signal }) => !signal.aborted)).toBe(true);
    expect(clock.timers()).toBe(0);
  });

  it('aborts what is left at the deadline, and waits a little for it', async () => {
    const { loop, clock, started, finish } = startLoop([1]);
    await flush();
    const stopped = loop.stop(5_000);
    await clock.advance(4_999);
    expect(started[0]?.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(started[0]?.signal.aborted).toBe(true);
    expect(await resolved(stopped)).toBe(false);
    await finish(1);
    expect(await resolved(stopped)).toBe(true);
  });

  it('ends even if a job never does', async () => {
    const { loop, clock, lines } = startLoop([1]);
    await flush();
    const stopped = loop.stop(5_000);
    await clock.advance(5_000);
    await clock.advance(2_000);
    expect(await resolved(stopped)).toBe(true);
    expect(lines.join('')).toContain('Jobs did not stop when told to');
    expect(clock.timers()).toBe(0);
  });

  it('runs what a claim under way still brings, aborted if that is too late', async () => {
    const answers: ((jobs: number[]) => void)[] = [];
    const { loop, clock, started } = startLoop([], { claim: () => new Promise((resolve) => answers.push(resolve)) });
    const stopped = loop.stop(1_000);
    await clock.advance(1_000);
    answers[0]?.([1]);
    await flush();
    expect(started[0]?.signal.aborted).toBe(true);
    started[0]?.finish();
    expect(await resolved(stopped)).toBe(true);
  });

  it('is safe to call twice, and while backing off', async () => {
    const { loop, clock } = startLoop([], { claim: () => Promise.reject(new Error('away')) });
    await flush();
    const [first, second] = [loop.stop(1_000), loop.stop(0)];
    expect(await resolved(Promise.all([first, second]))).toBe(true);
    expect(clock.timers()).toBe(0);
  });
});
