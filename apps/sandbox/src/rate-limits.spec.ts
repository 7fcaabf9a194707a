import { describe, expect, it } from '@jest/globals';
import { PairRate, Throughput } from './rate-limits.ts';

const limits = { pairRate: true, pairIntervalMs: 6_000, pairBurst: 45, messagesPerSecond: 80 };

describe('the pair rate', () => {
  const takeMany = (rate: PairRate, times: number, atMs: number) =>
    Array.from({ length: times }, () => rate.take('pair', atMs, limits)).filter(Boolean).length;

  it('takes one message every six seconds for ever', () => {
    const rate = new PairRate();
    for (let atMs = 0; atMs < 600_000; atMs += 6_000) expect(rate.take('pair', atMs, limits)).toBe(true);
  });

  it('takes a burst of 45 and not one more', () => {
    expect(takeMany(new PairRate(), 100, 0)).toBe(45);
  });

  it('makes a burst of 20 wait for two minutes', () => {
    const rate = new PairRate();
    expect(takeMany(rate, 20, 0)).toBe(20);
    expect(rate.take('pair', 6_000, limits)).toBe(false);
    expect(rate.take('pair', 119_999, limits)).toBe(false);
    expect(rate.take('pair', 120_000, limits)).toBe(true);
  });

  it('keeps pairs apart and can be switched off', () => {
    const rate = new PairRate();
    takeMany(rate, 45, 0);
    expect(rate.take('other', 0, limits)).toBe(true);
    expect(rate.take('pair', 0, { ...limits, pairRate: false })).toBe(true);
  });
});

describe('the throughput of a number', () => {
  it('takes 80 at once and then 80 a second', () => {
    const throughput = new Throughput();
    const takeMany = (times: number, atMs: number) =>
      Array.from({ length: times }, () => throughput.take('number', atMs, limits)).filter(Boolean).length;
    expect(takeMany(100, 0)).toBe(80);
    expect(takeMany(100, 500)).toBe(40);
    expect(takeMany(100, 60_000)).toBe(80);
    expect(throughput.take('other', 60_000, limits)).toBe(true);
  });
});
