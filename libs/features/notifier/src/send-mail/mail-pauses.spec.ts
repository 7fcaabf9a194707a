import { expect, it } from '@jest/globals';
import { pauseAfter } from './mail-pauses.ts';

const HOUR = 3_600_000;

function pauses(kind?: 'unexpected'): number[] {
  const all: number[] = [];
  for (let tries = 1; ; tries += 1) {
    const pause = pauseAfter(tries, kind);
    if (pause === null) return all;
    all.push(pause);
  }
}

it('a mail is tried for 24 hours, with longer and longer pauses', () => {
  const all = pauses();
  const sum = all.reduce((total, pause) => total + pause, 0);
  expect(all).toEqual(all.toSorted((a, b) => a - b));
  expect(all[0]).toBeLessThanOrEqual(30_000);
  expect(sum).toBeLessThanOrEqual(24 * HOUR);
  expect(sum).toBeGreaterThan(23 * HOUR);
});

it('a fault of ours ends after a few tries', () => {
  expect(pauses('unexpected')).toHaveLength(3);
});
