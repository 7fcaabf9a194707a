import { createLogger } from '@answerline/logging';
import { expect, it } from '@jest/globals';
import { startSweep } from './sweep.ts';

const logger = createLogger({ app: 'spec', level: 'silent' });

it('goes on at once while there is more to do, and never beside itself', async () => {
  let left = 3;
  let running = 0;
  let most = 0;
  const sweep = startSweep({
    name: 'spec',
    everyMs: 60_000,
    sweep: async () => {
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
      left -= 1;
      return left > 0;
    },
    logger,
  });
  await sweep.idle();
  expect([left, most]).toEqual([0, 1]);
  sweep.ring();
  await sweep.idle();
  expect(left).toBe(-1);
  await sweep.stop(1_000);
});
