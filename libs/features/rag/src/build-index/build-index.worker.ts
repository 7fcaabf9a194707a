import { type Logger } from '@answerline/logging';
import { startSweep, startWorkLoop } from '@answerline/work-queue';
import { sweepEmbeddings } from '../embedding-cache.ts';
import { type IndexParts } from '../index-versions.ts';
import { dropRetired, type BuildIndex } from './build-index.ts';
import { noticeChanges } from './notice-changes.ts';

/** One at a time, apart from turns and from single sources: a build may take hours, and whoever waits for an answer must not. */
const CONCURRENCY = 1;
/** A retired version waits for a minute anyway. */
const DROP_EVERY_MS = 10_000;
/** Vectors that nobody needs are looked for once a week each; how promptly does not matter. */
const FORGET_EVERY_MS = 60 * 60_000;

/** The door of {@link BuildIndex}: notices at the start what is to be built, builds it, and clears away what it replaced. */
export function workOnIndex(
  parts: IndexParts & { readonly logger: Logger },
  buildIndex: BuildIndex,
): { stop(withinMs: number): Promise<void> } {
  const { database, index, logger } = parts;
  const stopping = new AbortController();
  const builds = startWorkLoop({
    name: 'index builds',
    claim: (limit) => buildIndex.claim(limit),
    // A build is long and safe to repeat: it ends when the process stops, not the other way round.
    run: (build, signal) => buildIndex.execute(build, AbortSignal.any([signal, stopping.signal])),
    concurrency: CONCURRENCY,
    logger,
  });
  const sweeps = [
    startSweep({
      name: 'retired index versions',
      everyMs: DROP_EVERY_MS,
      sweep: () => dropRetired(database, index),
      logger,
    }),
    startSweep({
      name: 'unused embeddings',
      everyMs: FORGET_EVERY_MS,
      sweep: () => sweepEmbeddings(database),
      logger,
    }),
  ];
  const noticed = noticeChanges(parts, stopping.signal).then(() => builds.ring());
  return {
    stop: async (withinMs) => {
      stopping.abort();
      await Promise.all([...[builds, ...sweeps].map((loop) => loop.stop(withinMs)), noticed]);
    },
  };
}
