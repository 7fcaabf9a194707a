import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { limitOf, takeFromBudget } from './pace.ts';

const perSecond = (messages: number) => limitOf({ messagesPerSecond: messages, isUnsigned: false });

describe('limitOf', () => {
  it('is thirty a minute without an App Secret, whatever Meta allows', () => {
    const limit = limitOf({ messagesPerSecond: 80, isUnsigned: true });
    let freeAt: number | null = null;
    let sent = 0;
    for (let now = 0; now < 60_000; now += 100) {
      const taken = takeFromBudget({ limit, freeAt }, 100, now);
      freeAt = taken.freeAt;
      sent += taken.granted;
    }
    expect(sent).toBeLessThanOrEqual(30);
    expect(sent).toBeGreaterThan(25);
  });
});

describe('takeFromBudget', () => {
  it('lets a quiet number send at once', () => {
    expect(takeFromBudget({ limit: perSecond(80), freeAt: null }, 3, 1_000).granted).toBe(3);
  });

  it('never lets more out in a second than the limit, and uses most of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 200 }),
        (limit, gaps) => {
          const sentAt: number[] = [];
          let freeAt: number | null = null;
          let now = 0;
          for (const gap of gaps) {
            now += gap;
            const taken = takeFromBudget({ limit: perSecond(limit), freeAt }, 100, now);
            freeAt = taken.freeAt;
            sentAt.push(...Array.from({ length: taken.granted }, () => now));
          }
          for (const at of sentAt) {
            expect(sentAt.filter((other) => other >= at && other < at + 1000).length).toBeLessThanOrEqual(limit);
          }
        },
      ),
      { numRuns: 60 },
    );
    let freeAt: number | null = null;
    let sent = 0;
    for (let now = 0; now < 10_000; now += 5) {
      const taken = takeFromBudget({ limit: perSecond(80), freeAt }, 100, now);
      freeAt = taken.freeAt;
      sent += taken.granted;
    }
    expect(sent).toBeGreaterThan(0.85 * 800);
  });
});
