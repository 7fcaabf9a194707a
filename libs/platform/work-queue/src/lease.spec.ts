import { describe, expect, it } from '@jest/globals';
import { fakeClock } from './fake-clock.ts';
import { startLease } from './lease.ts';

function start(renew: () => Promise<boolean>) {
  const clock = fakeClock();
  const seen = { renewals: 0, lost: [] as number[] };
  const lease = startLease({
    everyMs: 5_000,
    renew: () => {
      seen.renewals += 1;
      return renew();
    },
    onLost: () => seen.lost.push(clock.now()),
    setTimer: clock.setTimer,
  });
  return { clock, seen, lease };
}

describe('startLease', () => {
  it('renews as often as told, for as long as it lasts', async () => {
    const { clock, seen, lease } = start(async () => true);
    await clock.advance(60_000);
    expect(seen).toEqual({ renewals: 12, lost: [] });
    lease.stop();
    await clock.advance(60_000);
    expect(seen).toEqual({ renewals: 12, lost: [] });
    expect(clock.timers()).toBe(0);
  });

  it('is lost at once, and once, when the renewal says so', async () => {
    const { clock, seen } = start(async () => false);
    await clock.advance(60_000);
    expect(seen).toEqual({ renewals: 1, lost: [5_000] });
    expect(clock.timers()).toBe(0);
  });

  it('outlives a renewal that throws, but not three in a row', async () => {
    let left = 1;
    const recovering = start(async () => {
      left -= 1;
      if (left >= 0) throw new Error('away');
      return true;
    });
    await recovering.clock.advance(60_000);
    expect(recovering.seen.lost).toEqual([]);

    const failing = start(() => Promise.reject(new Error('away')));
    await failing.clock.advance(60_000);
    expect(failing.seen.lost).toEqual([15_000]);
    expect(failing.clock.timers()).toBe(0);
  });

  it('is lost when a renewal hangs', async () => {
    const { clock, seen } = start(() => new Promise(() => {}));
    await clock.advance(60_000);
    expect(seen).toEqual({ renewals: 1, lost: [15_000] });
  });

  it('counts from when the renewal was asked for, not from its answer', async () => {
    const answers: ((renewed: boolean) => void)[] = [];
    const { clock, seen } = start(() => new Promise((resolve) => answers.push(resolve)));
    await clock.advance(5_000);
    await clock.advance(4_000);
    answers[0]?.(true);
    await clock.advance(60_000);
    expect(seen.lost).toEqual([20_000]);
  });

  it('is never lost after it was stopped', async () => {
    const answers: ((renewed: boolean) => void)[] = [];
    const { clock, seen, lease } = start(() => new Promise((resolve) => answers.push(resolve)));
    await clock.advance(5_000);
    lease.stop();
    answers[0]?.(false);
    await clock.advance(60_000);
    expect(seen.lost).toEqual([]);
    expect(clock.timers()).toBe(0);
  });
});
