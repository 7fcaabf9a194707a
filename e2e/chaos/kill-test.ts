import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRandom, eventually, tempDir } from '@answerline/testing';
import { afterAll, expect, it } from '@jest/globals';
import { call } from './http.ts';
import { judge, type AcceptedCall } from './judge.ts';
import { killAtWork, writeWhileAnswered, type Kill } from './kill-at-work.ts';
import { Senders } from './senders.ts';
import { openShops } from './shops.ts';
import { Watch } from './watch.ts';
import { startCluster, type Cluster } from '../cluster.ts';

/** Who writes rarely writes more at once, so that there are pauses longer than the quiet window, which end a turn. */
const profiles = {
  standard: { perSecond: 10, senders: 60, together: 5, shops: 3, rounds: 1 },
  long: { perSecond: 50, senders: 200, together: 11, shops: 5, rounds: 10 },
};
const profile = profiles[process.env.CHAOS_PROFILE === 'long' ? 'long' : 'standard'];
const seed = Number(process.env.CHAOS_SEED || randomInt(2 ** 31));

/** One round of everything that goes wrong. */
const ROUND_MS = 60_000;
/**
 * Deliveries are in disorder by less than half of the quiet window. The rest of it, 7 s, is for parts that are away, about 3 s
 * each: a message that is stored just before leaves an earlier one behind that comes just after, and both must be one turn. The
 * longest wait is beyond the run, because what comes after it is a turn of its own by right.
 */
const quiet = { quietMs: 12_000, quietMaxMs: 60_000 };
const shuffleWithinMs = 5_000;
/** An attempt of which nothing is heard is tried again after 90 s of proof; the sweeps around it take a few more. */
const QUIET_WITHIN_MS = 150_000;
/** What people are told when the knowledge base has no answer: libs/features/rag/src/answer-turn/texts.ts. */
const abstainText =
  'Sorry, I could not find that in the information I have. If you like, I can pass you on to a person.';

const say = (line: string): void => void process.stderr.write(`chaos: ${line}\n`);

/** What of the product is other than in a plain start, and what else goes wrong. */
export interface KillTestOptions {
  /** Laid over the settings of the four processes; asked for when the test begins. */
  readonly settings?: (seed: number) => Promise<Readonly<Record<string, string>>>;
  /** Once a round, after everything else. Returns what it did, for the log. */
  readonly misfortune?: (watch: Watch) => Promise<string>;
}

/**
 * The kill test: senders write while every part of the product is killed at work, and what the sandbox's journal and the sender's list
 * say afterwards is judged. `CHAOS_PROFILE=long` is the big one, `CHAOS_SEED` makes the same choices again.
 */
export function testKills(name: string, { settings, misfortune }: KillTestOptions = {}): void {
  let cluster: Cluster | undefined;
  let watch: Watch | undefined;
  let passed = false;

  afterAll(async () => {
    await watch?.close();
    await cluster?.stop();
    if (passed || !cluster || !existsSync(cluster.dir)) return;
    const kept = join(tmpdir(), `answerline-chaos-${String(seed)}-${String(Date.now())}`);
    renameSync(cluster.dir, kept);
    say(`logs, journal and data are kept in ${kept}`);
  }, 60_000);

  it(
    name,
    async () => {
      say(`seed ${String(seed)}; the same choices again with CHAOS_SEED=${String(seed)}`);
      const random = createRandom(seed);
      cluster = await startCluster({ dir: join(await tempDir(), 'cluster'), settings: await settings?.(seed) });
      const parts = { cluster, random, watch: (watch = await Watch.open(cluster)) };
      const { sandboxUrl } = cluster;
      const shops = await openShops(cluster, profile.shops, quiet);
      const senders = new Senders({ sandboxUrl, shops, count: profile.senders, together: profile.together, seed });
      await call('PUT', `${sandboxUrl}/sandbox/limits`, { body: { pairRate: false } });
      const delivery = (body: object): Promise<unknown> => call('PUT', `${sandboxUrl}/sandbox/delivery`, { body });
      await delivery({
        seed,
        statuses: true,
        autoRead: true,
        repeatShare: 0.1,
        repeatDelayMs: 1_000,
        shuffleWithinMs,
        retryDelaysMs: [200],
        timeoutMs: 1_000,
      });

      const startedAt = performance.now();
      const at = (ms: number): Promise<void> => delay(Math.max(0, startedAt + ms - performance.now()));
      const faults = (body: object): Promise<unknown> =>
        call('PUT', `${sandboxUrl}/sandbox/faults`, { body: { kinds: ['text'], ...body } });
      const kills: Kill[] = [];
      const kill = async (part: Parameters<typeof killAtWork>[0]): Promise<void> => {
        const killed = await killAtWork(part, parts);
        kills.push(killed);
        say(`${seconds(startedAt)} killed ${part} with ${killed.inFlight}`);
      };
      const misfortunes = async (): Promise<void> => {
        for (let round = 0; round < profile.rounds; round += 1) {
          const begin = round * ROUND_MS;
          await at(begin);
          await faults({ latencyMs: 150, statusBeforeAnswer: true });
          await at(begin + 7_000);
          await kill('gateway');
          await at(begin + 14_000);
          await faults({ latencyMs: 150, latencyJitterMs: 150, cutAfterAccept: 0.15, cutBeforeAccept: 0.1 });
          await kill('nats');
          await at(begin + 22_000);
          await faults({ share: 0.1, graphErrorStatus: 502, graphErrorBody: false });
          await kill('postgres');
          await at(begin + 30_000);
          await faults({ share: 0.2, latencyMs: 150, graphErrorStatus: 500 });
          await kill('ingest');
          await at(begin + 37_000);
          await delivery({ shuffleWithinMs: 0 });
          const { waId } = await writeWhileAnswered(parts.watch, senders);
          say(`${seconds(startedAt)} …${waId.slice(-4)} wrote while being answered`);
          await delivery({ shuffleWithinMs });
          await kill('rag');
          await at(begin + 46_000);
          await faults({ latencyMs: 400 });
          await kill('notifier');
          if (misfortune) say(`${seconds(startedAt)} ${await misfortune(parts.watch)}`);
        }
        await at(profile.rounds * ROUND_MS);
        await faults({});
      };
      await Promise.all([senders.write(profile.perSecond, profile.rounds * ROUND_MS), misfortunes()]);
      say(`${seconds(startedAt)} ${String(senders.sent.length)} messages sent; waiting until all is quiet`);

      const quietFrom = performance.now();
      await eventually(
        async () => {
          const open = await parts.watch.openWork();
          const isQuiet = Object.values(open).every((count) => count === 0);
          if (!isQuiet) {
            await delay(500);
            throw new Error(JSON.stringify(open));
          }
        },
        { what: 'nothing is on its way', timeoutMs: QUIET_WITHIN_MS },
      );
      say(`${seconds(startedAt)} quiet, ${seconds(quietFrom)} after the last message`);

      const verdict = judge({
        sent: senders.sent,
        journal: readJournal(cluster.journalFile),
        books: await parts.watch.books(),
        abstainText,
      });
      say(`${JSON.stringify(verdict.figures)}; repeated ${JSON.stringify(await repeats(sandboxUrl, senders))}`);
      say(`sends: ${JSON.stringify(await parts.watch.attemptsBySend())}`);
      const doubles = await parts.watch.doubles();
      for (const double of doubles) say(`double: ${double}`);
      for (const { rule, sender, what } of verdict.violations.slice(0, 25)) say(`${rule} …${sender}: ${what}`);
      expect(verdict.violations).toEqual([]);
      expect(doubles).toHaveLength(verdict.figures.doubles);
      expect(new Set(kills.map(({ part }) => part)).size).toBe(6);
      expect(verdict.figures.messages).toBeGreaterThan(0.9 * profile.perSecond * profile.rounds * (ROUND_MS / 1000));
      expect(verdict.figures.answers).toBeGreaterThan(0);
      expect(verdict.figures.abstains).toBeGreaterThan(0);
      passed = true;
    },
    profile.rounds * ROUND_MS + QUIET_WITHIN_MS + 120_000,
  );
}

function readJournal(file: string): AcceptedCall[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AcceptedCall);
}

async function repeats(sandboxUrl: string, senders: Senders): Promise<object> {
  const { repeats: same, retries } = await call<{ repeats: number; retries: number }>(
    'GET',
    `${sandboxUrl}/sandbox/deliveries`,
  );
  return { asTheyWere: same, inOtherBytes: senders.rewrapped, retries };
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;
