import { describe, expect, it } from '@jest/globals';
import { retryDelayMs } from './retry-delay.ts';

describe('retryDelayMs', () => {
  it('doubles from 0.2 s', () => {
    expect([1, 2, 3, 4].map(retryDelayMs)).toEqual([200, 400, 800, 1_600]);
  });

  it('stays at 30 s, also after thousands of failures', () => {
    expect([9, 100, 5_000].map(retryDelayMs)).toEqual([30_000, 30_000, 30_000]);
  });
});
