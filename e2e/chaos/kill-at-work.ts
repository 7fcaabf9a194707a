import { setTimeout as delay } from 'node:timers/promises';
import { eventually, type Random } from '@answerline/testing';
import { type Cluster, type PartName } from '../cluster.ts';
import { type SentMessage } from './judge.ts';
import { type Senders } from './senders.ts';
import { type Watch } from './watch.ts';

/** How long a part stays away before whoever watches it starts it again. With the start, 2 to 3 s on two cores. */
const AWAY_MS = [200, 1_200] as const;
/** Work comes all the time, so a moment with something in flight is soon found. */
const CAUGHT_WITHIN_MS = 15_000;
/** A part that has nothing in hand stays halted until work has piled up, and then gets this long to take some of it. */
const PILE_UP_MS = 600;
const TAKE_MS = [2, 25] as const;
/** If that failed too it runs freely before the next try, so that nobody takes it for dead. */
const RUN_FREELY_MS = 500;
const LOOK_EVERY_MS = 20;

/** What was in the part's hands when it was killed. */
export interface Kill {
  readonly part: PartName;
  readonly inFlight: string;
}

interface Parts {
  readonly cluster: Cluster;
  readonly watch: Watch;
  readonly random: Random;
}

/** Ends a part with kill -9 in the midst of work, and starts it again. */
export async function killAtWork(part: Exclude<PartName, 'sandbox'>, parts: Parts): Promise<Kill> {
  const inFlight = await killing[part](parts);
  await delay(parts.random.between(...AWAY_MS));
  await parts.cluster.restart(part);
  return { part, inFlight };
}

/** Each catches a part at work, kills it, and says what it had in hand. */
const killing: Record<Exclude<PartName, 'sandbox'>, (parts: Parts) => Promise<string>> = {
  gateway: (parts) =>
    killHalted('gateway', parts, () => parts.watch.requestsInFlight(), 'webhook requests without an answer'),
  nats: (parts) =>
    killHalted('nats', parts, () => parts.watch.requestsInFlight(), 'webhook requests that wait for the stream'),
  ingest: (parts) =>
    killHalted('ingest', parts, () => parts.watch.bodiesBeingStored(), 'webhook bodies that are not acknowledged'),
  notifier: (parts) => killHalted('notifier', parts, () => parts.watch.callsUnderWay(), 'Graph calls under way'),
  rag: ({ cluster, watch }) =>
    watch.whileAnswersWait(async () => {
      const turns = await eventually(async () => (await watch.turnsBeingAnswered()) || false, {
        what: 'a turn is being answered',
        timeoutMs: CAUGHT_WITHIN_MS,
      });
      await cluster.kill('rag');
      return `${String(turns)} turns being answered`;
    }),
  postgres: async ({ cluster, watch }) => {
    const inFlight = await eventually(
      async () => {
        const [transactions, { sends, turns }] = await Promise.all([watch.transactionsOpen(), watch.openWork()]);
        if (transactions === 0 || sends + turns === 0) return false;
        return `${String(transactions)} open transactions, ${String(turns)} turns and ${String(sends)} sends on their way`;
      },
      { what: 'a transaction is open', timeoutMs: CAUGHT_WITHIN_MS },
    );
    await cluster.kill('postgres');
    return inFlight;
  },
};

/**
 * Halts a process, looks what it has in hand, and kills it as it stands: what is in flight then cannot get away any more.
 *
 * @param count how much it has in hand, which is `what`
 */
async function killHalted(
  part: 'gateway' | 'nats' | 'ingest' | 'notifier',
  { cluster, random }: Parts,
  count: () => Promise<number>,
  what: string,
): Promise<string> {
  const deadline = performance.now() + CAUGHT_WITHIN_MS;
  while (performance.now() < deadline) {
    for (const pause of [PILE_UP_MS, 0]) {
      cluster.halt(part);
      const until = performance.now() + pause;
      do {
        const found = await count();
        if (found > 0) {
          await cluster.kill(part);
          return `${String(found)} ${what}`;
        }
        await delay(LOOK_EVERY_MS);
      } while (performance.now() < until);
      cluster.resume(part);
      if (pause > 0) await delay(random.between(...TAKE_MS));
    }
    await delay(RUN_FREELY_MS);
  }
  throw new Error(`${part} had nothing in its hands for ${String(CAUGHT_WITHIN_MS)} ms`);
}

/** Lets one of those who are being answered say one more thing: the answer that was made without it must not be given. */
export async function writeWhileAnswered(watch: Watch, senders: Senders): Promise<SentMessage> {
  const deadline = performance.now() + CAUGHT_WITHIN_MS;
  while (performance.now() < deadline) {
    const said = await watch.whileAnswersWait(async () => {
      // Not for longer: rag answers eight at once, and these may all be people who cannot be taken.
      for (const until = performance.now() + PILE_UP_MS; performance.now() < until; await delay(LOOK_EVERY_MS)) {
        const found = await senders.sayMeanwhile(await watch.phonesBeingAnswered(), async ({ id, waId }) => {
          await eventually(() => watch.isStored(id), { what: 'the message is stored' });
          return (await watch.phonesBeingAnswered()).includes(waId);
        });
        if (found) return found;
      }
      return undefined;
    });
    if (said) return said;
    await delay(RUN_FREELY_MS);
  }
  throw new Error(`Nobody could be caught being answered for ${String(CAUGHT_WITHIN_MS)} ms`);
}
