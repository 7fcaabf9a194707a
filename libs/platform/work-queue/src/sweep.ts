import type { Logger } from '@answerline/logging';
import { startWorkLoop, type WorkLoop } from './work-loop.ts';

/**
 * Does one thing again and again: at once, every `everyMs`, and whenever it is rung. `sweep` returns true when there is more to
 * do, and is then called again at once. It never runs twice at the same time; what it throws is logged and tried again later.
 */
export function startSweep(options: {
  readonly name: string;
  readonly everyMs: number;
  readonly sweep: () => Promise<boolean>;
  readonly logger: Logger;
}): WorkLoop {
  const { name, everyMs, sweep, logger } = options;
  return startWorkLoop<null>({
    name,
    claim: async () => ((await sweep()) ? [null] : []),
    run: () => Promise.resolve(),
    concurrency: 1,
    sweepEveryMs: everyMs,
    logger,
  });
}
