import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '@answerline/testing';
import { type Cluster, type PartName } from '../cluster.ts';
import { type Random } from './random.ts';
import { type Senders } from './senders.ts';
import { type Watch } from './watch.ts';

/** How long a part stays away before whoever watches it starts it again. With the start, 2 to 3 s on two cores. */
const AWAY_MS = [200, 1_200] as const;
/** Work comes all the time, so a moment with something in flight is soon found. */
const CAUGHT_WITHIN_MS = 15_000;
/** A part that had nothing in hand stays halted until work has piled up, and gets this long to take it. */
const PILE_UP_MS = 600;
const TAKE_MS = [2, 25] as const;

/** What was in the part's hands when it was killed. */
export interface Kill {
  readonly part: PartName;
  readonly inFlight: string;
}

/**
 * Ends a part with kill -9 in the midst of work, and starts it again. A process is halted first, then looked at: what is in
 * flight cannot get away any more. It is killed as it stands.
 */
export async function killAtWork(parts: {
  readonly part: PartName;
  readonly cluster: Cluster;
  readonly watch: Watch;
  readonly random: Random;
}): Promise<Kill> {
  const { part, cluster, watch, random } = parts;
  const inFlight = part === 'postgres' ? await catchPostgres(watch) : await catchHalted(part, cluster, watch, random);
  await cluster.kill(part);
  await delay(random.between(...AWAY_MS));
  await cluster.restart(part);
  return { part, inFlight };
}

async function catchPostgres(watch: Watch): Promise<string> {
  return eventually(
    async () => {
      const [transactions, { sends, turns }] = await Promise.all([watch.transactionsOpen(), watch.openWork()]);
      return (
        transactions > 0 &&
        sends + turns > 0 &&
        `${String(transactions)} open transactions, ${String(turns)} turns and ${String(sends)} sends on their way`
      );
    },
    { what: 'a transaction is open', timeoutMs: CAUGHT_WITHIN_MS },
  );
}

type Halting = Exclude<PartName, 'postgres' | 'sandbox'>;

async function catchHalted(part: PartName, cluster: Cluster, watch: Watch, random: Random): Promise<string> {
  const probes: Record<Halting, { readonly what: string; readonly count: () => Promise<number> }> = {
    gateway: { what: 'webhook requests without an answer', count: () => watch.requestsInFlight() },
    nats: { what: 'webhook requests that wait for the stream', count: () => watch.requestsInFlight() },
    ingest: { what: 'webhook bodies that are not acknowledged', count: () => watch.bodiesBeingStored() },
    rag: { what: 'turns being answered', count: () => watch.turnsBeingAnswered() },
    notifier: { what: 'Graph calls under way', count: () => watch.callsUnderWay() },
  };
  if (part === 'postgres' || part === 'sandbox') throw new Error(`${part} is not halted`);
  const { what, count } = probes[part];
  const deadline = performance.now() + CAUGHT_WITHIN_MS;
  for (;;) {
    cluster.halt(part);
    const found = await count();
    if (found > 0) return `${String(found)} ${what}`;
    await delay(PILE_UP_MS);
    cluster.resume(part);
    if (performance.now() > deadline)
      throw new Error(`${part} had nothing in flight for ${String(CAUGHT_WITHIN_MS)} ms`);
    await delay(random.between(...TAKE_MS));
  }
}

/**
 * Halts rag while it answers, lets one of the people it answers say one more thing, and lets it go on when that is stored: the
 * answer that was made without it must not be given.
 */
export async function writeWhileAnswered(parts: {
  readonly cluster: Cluster;
  readonly watch: Watch;
  readonly senders: Senders;
  readonly random: Random;
}): Promise<void> {
  const { cluster, watch, senders, random } = parts;
  const deadline = performance.now() + CAUGHT_WITHIN_MS;
  for (;;) {
    cluster.halt('rag');
    try {
      const phones = await watch.phonesBeingAnswered();
      const said = await senders.sayMeanwhile(phones, async ({ id }) => {
        await eventually(() => watch.isStored(id), { what: 'the message is stored' });
      });
      if (said) return;
      await delay(PILE_UP_MS);
    } finally {
      cluster.resume('rag');
    }
    if (performance.now() > deadline) throw new Error('Nobody could be found whose turn was being answered');
    await delay(random.between(...TAKE_MS));
  }
}
