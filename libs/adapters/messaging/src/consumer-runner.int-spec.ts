import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect as connectRaw } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { messagingTopology, webhookSubject } from '@answerline/contracts';
import { InvalidInput, Transient } from '@answerline/errors';
import { createLogger, currentCorrelationId } from '@answerline/logging';
import { captureLogs, eventually, startTestNats, type TestNats } from '@answerline/testing';
import { type ConsumerOptions } from './consumer-runner.ts';
import { type Delivery } from './delivery.ts';
import { MessageBus } from './message-bus.ts';
import { Discard, SnoozeFor } from './signals.ts';

const logger = createLogger({ app: 'test', level: 'silent' });
const ackWaitMs = 1_500;
const workspaceId = randomUUID();
const text = (delivery: Delivery) => new TextDecoder().decode(delivery.data);
const texts = (batch: readonly Delivery[]) => batch.map(text);

let nats: TestNats;
let bus: MessageBus;
let serial = 0;
/** Of this test alone: its messages, and its consumer of them. */
let subject: string;
let consumerName: string;

const connect = () =>
  MessageBus.connect({ url: nats.url, token: nats.token, name: 'test', logger, profile: 'standalone' });

async function reconcileConsumer(wait: number): Promise<void> {
  const [ingest] = messagingTopology({ profile: 'standalone' }).consumers;
  if (!ingest) throw new Error('no consumer');
  const consumer = { ...ingest, name: consumerName, filterSubject: subject, ackWaitMs: wait };
  await bus.reconcile({ streams: [], consumers: [consumer] });
}

/** The server seen from outside. */
async function rawManager() {
  const raw = await connectRaw({ servers: nats.url.replace('nats://', ''), token: nats.token });
  return { connection: raw, manager: await jetstreamManager(raw), close: () => raw.close() };
}

/** Publishes in order, many in flight. */
async function publish(bodies: readonly string[]): Promise<void> {
  await Promise.all(
    bodies.map((body) => bus.publish(subject, new TextEncoder().encode(body), { messageId: randomUUID() })),
  );
}

const start = (options: Partial<ConsumerOptions> & Pick<ConsumerOptions, 'handle'>, on = bus) =>
  on.startConsumer({
    stream: 'WEBHOOKS',
    consumer: consumerName,
    batchSize: 10,
    concurrency: 1,
    logger,
    retryDelayMs: () => 20,
    ...options,
  });

const caughtUp = () =>
  eventually(
    async () => {
      const lag = await bus.streamLag('WEBHOOKS', consumerName);
      return lag.pending === 0 && lag.ackPending === 0;
    },
    { what: 'the consumer to catch up', timeoutMs: 15_000 },
  );

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connect();
  await bus.reconcile();
});
afterAll(async () => {
  await bus.close();
  await nats.stop();
});

beforeEach(async () => {
  serial += 1;
  consumerName = `test-${serial}`;
  subject = webhookSubject(workspaceId, randomUUID());
  await reconcileConsumer(ackWaitMs);
});
afterEach(async () => {
  for (const { sequence } of await bus.listDeadLetters({ limit: 1_000 })) await bus.putBack(sequence);
});

describe('handing out', () => {
  it('hands out a single message at once', async () => {
    const times: number[] = [];
    const consumer = await start({
      batchSize: 100,
      handle: async (batch) => {
        times.push(...batch.map((one) => performance.now() - Number(text(one))));
      },
    });
    for (let n = 1; n <= 20; n += 1) {
      await publish([String(performance.now())]);
      await eventually(() => times.length === n, { what: 'the message' });
    }
    await consumer.stop(1_000);
    expect(times.sort((a, b) => a - b)[10]).toBeLessThan(500);
  });

  it('hands out a large backlog in stream order and in full batches', async () => {
    const bodies = Array.from({ length: 5_000 }, (_, n) => String(n));
    await publish(bodies);
    const seen: string[] = [];
    const sizes: number[] = [];
    const consumer = await start({
      batchSize: 100,
      handle: async (batch) => {
        seen.push(...texts(batch));
        sizes.push(batch.length);
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    expect(seen).toEqual(bodies);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(100);
    expect(sizes.length).toBeLessThan(250);
  });

  it('puts patient messages aside, until there is a batch of them or the first has waited', async () => {
    const batches: string[][] = [];
    const handle = async (batch: readonly Delivery[]) => void batches.push(texts(batch));
    const has = (delivery: Delivery) => text(delivery).startsWith('patient');
    const long = await start({ batchSize: 3, handle, patience: { has, forMs: 60_000 } });
    await publish(['patient 1', 'patient 2', 'prompt']);
    await eventually(() => batches.length === 1, { what: 'the prompt one' });
    await publish(['patient 3']);
    await eventually(() => batches.length === 2, { what: 'as many as a batch holds' });
    expect(batches).toEqual([['prompt'], ['patient 1', 'patient 2', 'patient 3']]);
    await publish(['patient 4']);
    await eventually(async () => (await bus.streamLag('WEBHOOKS', consumerName)).ackPending === 1, {
      what: 'the next',
    });
    await long.stop(1_000);
    expect(batches).toHaveLength(2);

    const short = await start({ handle, patience: { has, forMs: 20 } });
    await caughtUp();
    await short.stop(1_000);
    expect(batches.at(-1)).toEqual(['patient 4']);
  });

  it('says how old the oldest message is that is not settled', async () => {
    expect(await bus.lagMs('WEBHOOKS', consumerName)).toBe(0);
    await publish(['one', 'two']);
    const publishedAt = performance.now();
    const gate = Promise.withResolvers<void>();
    const consumer = await start({ handle: () => gate.promise });
    await eventually(async () => (await bus.streamLag('WEBHOOKS', consumerName)).ackPending > 0, {
      what: 'one at work',
    });
    const soon = (await bus.lagMs('WEBHOOKS', consumerName)) ?? NaN;
    expect(soon).toBeGreaterThanOrEqual(0);
    await eventually(() => performance.now() - publishedAt > 50, { what: 'time to go by' });
    expect(await bus.lagMs('WEBHOOKS', consumerName)).toBeGreaterThan(soon);
    gate.resolve();
    await caughtUp();
    expect(await bus.lagMs('WEBHOOKS', consumerName)).toBe(0);
    await consumer.stop(1_000);
  });

  it('works on as many batches at once as it was told', async () => {
    await publish(Array.from({ length: 40 }, (_, n) => String(n)));
    let running = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    const consumer = await start({
      batchSize: 5,
      concurrency: 3,
      handle: async () => {
        running += 1;
        most = Math.max(most, running);
        await gate.promise;
        running -= 1;
      },
    });
    await eventually(() => running === 3, { what: 'three at once' });
    gate.resolve();
    await caughtUp();
    await consumer.stop(1_000);
    expect(most).toBe(3);
  });

  it('passes a backlog of 3 MB bodies without holding it all', async () => {
    const body = new Uint8Array(3_000_000).fill(120);
    for (let n = 0; n < 30; n += 1) await bus.publish(subject, body, { messageId: randomUUID(), timeoutMs: 10_000 });
    const raw = await rawManager();
    let requests = 0;
    raw.connection.subscribe(`$JS.API.CONSUMER.MSG.NEXT.WEBHOOKS.${consumerName}`, {
      callback: () => void (requests += 1),
    });
    await raw.connection.flush();

    // A message may come twice when the machine is so slow that an acknowledgement is late.
    const handled = new Set<number>();
    const gate = Promise.withResolvers<void>();
    const consumer = await start({
      batchSize: 100,
      handle: async (batch) => {
        await gate.promise;
        for (const { streamSequence } of batch) handled.add(streamSequence);
      },
    });
    const held = async () => (await bus.streamLag('WEBHOOKS', consumerName)).ackPending;
    await eventually(async () => (await held()) >= 11, { what: 'as much as there is room for' });
    await pause(200); // more would come in this time
    expect(await held()).toBeLessThanOrEqual(13);
    expect(requests).toBeLessThan(10);
    gate.resolve();
    await caughtUp();
    await consumer.stop(1_000);
    await raw.close();
    expect(handled.size).toBe(30);
  });

  it('tells when it is idle, and what a message is', async () => {
    await bus.publish(subject, new TextEncoder().encode('x'), { messageId: 'id-of-mine', headers: { 'X-Kind': 'a' } });
    let idle = 0;
    const seen: Delivery[] = [];
    const correlations: (string | undefined)[] = [];
    const consumer = await start({
      handle: async (batch) => {
        seen.push(...batch);
        correlations.push(currentCorrelationId());
      },
      onIdle: () => (idle += 1),
    });
    await eventually(() => idle === 1, { what: 'idle' });
    await consumer.stop(1_000);
    expect(seen).toMatchObject([{ subject, messageId: 'id-of-mine', headers: { 'X-Kind': 'a' }, deliveryCount: 1 }]);
    expect(Math.abs((seen[0]?.publishedAt.getTime() ?? 0) - Date.now())).toBeLessThan(10_000);
    expect(correlations).toEqual(['id-of-mine']);
  });

  it('says that a consumer does not exist', async () => {
    await expect(start({ consumer: 'nobody', handle: async () => undefined })).rejects.toMatchObject({
      code: 'consumer_missing',
    });
  });

  it('keeps a message for longer than ack_wait without a second delivery', async () => {
    await publish(['slow']);
    let calls = 0;
    const gate = Promise.withResolvers<void>();
    const consumer = await start({
      handle: async () => {
        calls += 1;
        await gate.promise;
      },
    });
    await eventually(() => calls > 0, { what: 'the first call' });
    await pause(ackWaitMs * 2); // a second delivery would come in this time
    const raw = await rawManager();
    expect((await raw.manager.consumers.info('WEBHOOKS', consumerName)).num_redelivered).toBe(0);
    await raw.close();
    gate.resolve();
    await caughtUp();
    await consumer.stop(1_000);
    expect(calls).toBe(1);
  });
});

describe('a process that was halted for longer than ack_wait', () => {
  it('does not do twice at once what is redelivered to it', async () => {
    await publish(['a']);
    const calls: string[] = [];
    const awake = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const consumer = await start({
      concurrency: 2,
      batchSize: 1,
      handle: async (batch) => {
        calls.push(...texts(batch));
        // Nothing of this process runs meanwhile, so the server takes the message for abandoned and sends it again.
        if (calls.length === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ackWaitMs + 700);
        awake.resolve();
        await gate.promise;
      },
    });
    await awake.promise;
    await publish(['b']);
    // The redelivered a was sent before b.
    await eventually(() => calls.length >= 2, { what: 'b' });
    gate.resolve();
    await caughtUp();
    await consumer.stop(1_000);
    expect(calls).toEqual(['a', 'b']);
  });
});

describe('failures', () => {
  it('does a failed batch one by one; the poison message becomes a dead letter after 5 tries, the others are done', async () => {
    const logs = captureLogs();
    const bodies = ['a', 'b', 'poison', 'c', 'd'];
    await publish(bodies);
    const calls: string[][] = [];
    const done: string[] = [];
    const consumer = await start({
      logger: createLogger({ app: 'test', level: 'info', destination: logs.stream }),
      handle: async (batch) => {
        calls.push(texts(batch));
        if (texts(batch).includes('poison')) throw new TypeError('planted');
        done.push(...texts(batch));
      },
    });
    await caughtUp();
    await publish(['later']);
    await caughtUp();
    await consumer.stop(1_000);

    expect(done.sort()).toEqual(['a', 'b', 'c', 'd', 'later']);
    expect(calls.filter((call) => call.length === 1 && call[0] === 'poison')).toHaveLength(5);
    const [dead, ...more] = await bus.listDeadLetters({ limit: 10 });
    expect(more).toEqual([]);
    expect(dead?.deadLetter).toMatchObject({
      stream: 'WEBHOOKS',
      consumer: consumerName,
      subject,
      workspaceId,
      attempts: 5,
      errorCode: 'internal_error',
    });
    const outcomes = logs.lines().flatMap((line) => (line.outcome === undefined ? [] : [line.outcome]));
    expect(outcomes).toEqual(expect.arrayContaining(['one_by_one', 'retry', 'dead_letter', 'done']));
    expect(logs.lines().find((line) => line.outcome === 'dead_letter')).toMatchObject({
      consumer: consumerName,
      subject,
      attempt: 5,
    });
  });

  it('makes a dead letter of invalid input at once', async () => {
    await publish(['bad']);
    let calls = 0;
    const consumer = await start({
      handle: async () => {
        calls += 1;
        throw new InvalidInput('body_unreadable', 'The body cannot be read.');
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    expect(calls).toBe(1);
    expect(await bus.listDeadLetters({ limit: 10 })).toMatchObject([
      { deadLetter: { errorCode: 'body_unreadable', attempts: 1 } },
    ]);
  });

  it('holds a message as long as the trouble passes, without redelivery and without a dead letter', async () => {
    await publish(['wait']);
    const counts: number[] = [];
    const until = performance.now() + ackWaitMs * 2;
    const consumer = await start({
      retryDelayMs: () => 100,
      handle: async ([one]) => {
        counts.push(one?.deliveryCount ?? 0);
        if (performance.now() < until) throw new Transient('database_away', 'Not now.');
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    expect(counts.length).toBeGreaterThan(5);
    expect(new Set(counts)).toEqual(new Set([1]));
    expect(await bus.listDeadLetters({ limit: 10 })).toEqual([]);
  });

  it('lets others pass one that cannot be done yet', async () => {
    await publish(['stuck', 'a']);
    const done: string[] = [];
    let free = false;
    const consumer = await start({
      batchSize: 1,
      handle: async ([one]) => {
        if (one && text(one) === 'stuck' && !free) throw new Transient('locked', 'Not now.');
        done.push(...(one ? [text(one)] : []));
      },
    });
    await publish(['b']);
    await eventually(() => done.length === 2, { what: 'the others' });
    free = true;
    await caughtUp();
    await consumer.stop(1_000);
    expect(done).toEqual(['a', 'b', 'stuck']);
  });

  it('waits as long as a Transient says', async () => {
    await publish(['later']);
    const times: number[] = [];
    const consumer = await start({
      handle: async () => {
        times.push(performance.now());
        if (times.length === 1) throw new Transient('busy', 'Later.', { retryAfterMs: 500 });
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(450);
  });

  it('snoozes without counting and discards without a dead letter', async () => {
    await publish(['snooze', 'discard']);
    const calls: string[] = [];
    const consumer = await start({
      batchSize: 1,
      handle: async ([one]) => {
        const body = one ? text(one) : '';
        calls.push(body);
        if (body === 'discard') throw new Discard('not_ours');
        if (calls.filter((call) => call === 'snooze').length < 8) throw new SnoozeFor(10);
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    expect(calls.filter((call) => call === 'snooze')).toHaveLength(8);
    expect(calls.filter((call) => call === 'discard')).toHaveLength(1);
    expect(await bus.listDeadLetters({ limit: 10 })).toEqual([]);
  });

  it('takes nothing before its dependencies are up', async () => {
    let up = false;
    let asked = 0;
    let done = 0;
    await publish(Array.from({ length: 50 }, (_, n) => `${n}`));
    const consumer = await start({
      dependenciesUp: async () => {
        asked += 1;
        if (asked === 1) throw new Error('planted');
        return up;
      },
      handle: async (batch) => void (done += batch.length),
    });
    await eventually(() => asked >= 2, { what: 'the dependency to be asked for' });
    expect(await bus.streamLag('WEBHOOKS', consumerName)).toEqual({ pending: 50, ackPending: 0 });
    up = true;
    await caughtUp();
    await consumer.stop(1_000);
    expect(done).toBe(50);
  });

  it('stops at once while it is asking for its dependencies', async () => {
    const answer = Promise.withResolvers<boolean>();
    let asked = 0;
    const consumer = await start({
      dependenciesUp: () => {
        asked += 1;
        return answer.promise;
      },
      handle: async () => undefined,
    });
    expect(asked).toBe(1);
    const startedAt = performance.now();
    const stopped = consumer.stop(5_000);
    answer.resolve(true);
    await stopped;
    expect(performance.now() - startedAt).toBeLessThan(2_500);
  });

  it('pulls no more while a dependency is down, and goes on by itself', async () => {
    let up = true;
    let asked = 0;
    const done: string[] = [];
    const consumer = await start({
      batchSize: 2,
      dependenciesUp: async () => {
        asked += 1;
        return up;
      },
      handle: async (batch) => {
        if (!up) throw new Transient('database_away', 'Not now.');
        done.push(...texts(batch));
      },
    });
    await publish(['a']);
    await eventually(() => done.length === 1, { what: 'the first' });
    up = false;
    const askedBefore = asked;
    await publish(Array.from({ length: 50 }, (_, n) => `m${n}`));
    await eventually(() => asked >= askedBefore + 3, { what: 'the dependency to be asked for' });
    const lag = await bus.streamLag('WEBHOOKS', consumerName);
    // Two batches of two at most were taken; the rest lies on the server.
    expect(lag.pending).toBeGreaterThanOrEqual(46);
    up = true;
    await caughtUp();
    await consumer.stop(1_000);
    expect(done).toHaveLength(51);
  });

  it('keeps a message whose dead letter cannot be stored', async () => {
    const topology = messagingTopology({ profile: 'standalone' });
    const tiny = (maxMessageBytes: number) => ({
      streams: topology.streams.map((one) => (one.name === 'DEAD_LETTERS' ? { ...one, maxMessageBytes } : one)),
      consumers: [],
    });
    await bus.reconcile(tiny(10));
    await publish(['bad']);
    let calls = 0;
    const consumer = await start({
      handle: async () => {
        calls += 1;
        throw new InvalidInput('body_unreadable', 'The body cannot be read.');
      },
    });
    await eventually(() => calls > 3, { what: 'several tries' });
    expect(await bus.streamLag('WEBHOOKS', consumerName)).toEqual({ pending: 0, ackPending: 1 });
    await bus.reconcile(tiny(65_536));
    await caughtUp();
    await consumer.stop(1_000);
    expect(await bus.listDeadLetters({ limit: 10 })).toHaveLength(1);
  });
});

describe('dead letters', () => {
  it('are put back once, past the duplicate window, and then gone', async () => {
    const messageId = `key:${randomUUID()}`;
    const { sequence: original } = await bus.publish(subject, new TextEncoder().encode('x'), {
      messageId,
      headers: { 'X-Kind': 'kept' },
    });
    const seen: Delivery[] = [];
    let broken = true;
    const consumer = await start({
      handle: async (batch) => {
        if (broken) throw new InvalidInput('body_unreadable', 'The body cannot be read.');
        seen.push(...batch);
      },
    });
    await caughtUp();
    broken = false;
    const [dead] = await bus.listDeadLetters({ limit: 10 });
    expect(dead?.deadLetter).toMatchObject({ messageId, streamSequence: original });
    const sequence = dead?.sequence ?? 0;
    expect(await bus.putBack(sequence)).toMatchObject({ duplicate: false });
    await eventually(() => seen.length === 1, { what: 'the message again' });
    expect(seen[0]).toMatchObject({ messageId: `${messageId}:r1`, subject, headers: { 'X-Kind': 'kept' } });
    await expect(bus.putBack(sequence)).rejects.toMatchObject({ code: 'dead_letter_not_found', httpStatus: 404 });
    expect(await bus.listDeadLetters({ limit: 10 })).toEqual([]);
    await consumer.stop(1_000);
  });

  it('can be put back again when the message fails again', async () => {
    await bus.publish(subject, new TextEncoder().encode('x'), { messageId: 'again' });
    const seen: (string | null)[] = [];
    const consumer = await start({
      handle: async ([one]) => {
        seen.push(one?.messageId ?? null);
        if (seen.length < 3) throw new InvalidInput('body_unreadable', 'The body cannot be read.');
      },
    });
    for (let times = 0; times < 2; times += 1) {
      await caughtUp();
      const [dead] = await bus.listDeadLetters({ limit: 10 });
      await bus.putBack(dead?.sequence ?? 0);
    }
    await caughtUp();
    await consumer.stop(1_000);
    expect(seen).toEqual(['again', 'again:r1', 'again:r2']);
  });

  it('say that the message is no longer in its stream', async () => {
    await publish(['gone']);
    const consumer = await start({
      handle: async () => {
        throw new InvalidInput('body_unreadable', 'The body cannot be read.');
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    const [dead] = await bus.listDeadLetters({ limit: 10 });
    const { manager, close } = await rawManager();
    await manager.streams.deleteMessage('WEBHOOKS', dead?.deadLetter.streamSequence ?? 0);
    await expect(bus.putBack(dead?.sequence ?? 0)).rejects.toMatchObject({
      code: 'dead_letter_original_gone',
      httpStatus: 410,
    });
    await manager.streams.deleteMessage('DEAD_LETTERS', dead?.sequence ?? 0);
    await close();
  });

  it('are listed in pages', async () => {
    await publish(['1', '2', '3', '4', '5']);
    const consumer = await start({
      handle: async () => {
        throw new InvalidInput('body_unreadable', 'The body cannot be read.');
      },
    });
    await caughtUp();
    await consumer.stop(1_000);
    const first = await bus.listDeadLetters({ limit: 3 });
    const rest = await bus.listDeadLetters({ limit: 3, afterSequence: first.at(-1)?.sequence ?? 0 });
    expect([first.length, rest.length]).toEqual([3, 2]);
    expect(new Set([...first, ...rest].map((one) => one.deadLetter.streamSequence)).size).toBe(5);
  });
});

describe('an ordered consumer', () => {
  /** Takes messages as a process that dies without a word: no working, no nak. */
  async function takeAndDie(count: number): Promise<string[]> {
    const raw = await rawManager();
    const consumer = await raw.manager.jetstream().consumers.get('WEBHOOKS', consumerName);
    const taken: string[] = [];
    for (let n = 0; n < count; n += 1) taken.push((await consumer.next())?.string() ?? '');
    await raw.close();
    return taken;
  }

  it('gets at once, and before what is newer, what a killed process took along', async () => {
    await reconcileConsumer(60_000);
    await publish(['1', '2', '3', '4']);
    expect(await takeAndDie(3)).toEqual(['1', '2', '3']);
    await publish(['5']);
    const seen: string[] = [];
    const consumer = await start({ ordered: true, handle: async (batch) => void seen.push(...texts(batch)) });
    await eventually(() => seen.length === 5, { what: 'all of them' });
    await caughtUp();
    await consumer.stop(1_000);
    expect(seen).toEqual(['1', '2', '3', '4', '5']);
  });

  it('asks again after a reconnect, but not for what it holds itself', async () => {
    await reconcileConsumer(60_000);
    const gate = Promise.withResolvers<void>();
    const seen: string[] = [];
    const consumer = await start({
      batchSize: 1,
      ordered: true,
      handle: async (batch) => {
        seen.push(...texts(batch));
        if (seen.length === 1) await gate.promise;
      },
    });
    await publish(['1']);
    await eventually(() => seen.length === 1, { what: 'the first' });
    process.kill(nats.pid, 'SIGKILL');
    await eventually(() => !bus.isConnected(), { what: 'the loss to be noticed' });
    await nats.restart();
    await eventually(() => bus.isConnected(), { what: 'the reconnect' });
    await publish(['2', '3']);
    await eventually(async () => (await bus.streamLag('WEBHOOKS', consumerName)).ackPending >= 2, { what: 'more' });
    gate.resolve();
    await eventually(() => seen.length === 3, { what: 'all of them' });
    await caughtUp();
    await consumer.stop(1_000);
    expect(seen).toEqual(['1', '2', '3']);
  });
});

describe('stopping', () => {
  it('finishes what runs and gives back the rest at once', async () => {
    await publish(['1', '2', '3', '4']);
    const gate = Promise.withResolvers<void>();
    const first: string[] = [];
    const consumer = await start({
      batchSize: 2,
      handle: async (batch) => {
        first.push(...texts(batch));
        await gate.promise;
      },
    });
    await eventually(() => first.length > 0, { what: 'the first batch' });
    const stopped = consumer.stop(5_000);
    const other = await connect();
    const second: Delivery[] = [];
    const startedAt = performance.now();
    const rest = await start({ handle: async (batch) => void second.push(...batch) }, other);
    await eventually(() => second.length === 4 - first.length, { what: 'the rest elsewhere' });
    expect(performance.now() - startedAt).toBeLessThan(ackWaitMs);
    gate.resolve();
    await stopped;
    await caughtUp();
    await rest.stop(1_000);
    await other.close();
    expect([...first, ...texts(second)].sort()).toEqual(['1', '2', '3', '4']);
  });

  it('gives back what still runs at the deadline', async () => {
    await publish(['slow']);
    let calls = 0;
    const consumer = await start({
      handle: async () => {
        calls += 1;
        await new Promise(() => undefined);
      },
    });
    await eventually(() => calls === 1, { what: 'the call' });
    await consumer.stop(50);
    const startedAt = performance.now();
    const again = await start({ handle: async () => void (calls += 1) });
    await eventually(() => calls === 2, { what: 'the second call' });
    expect(performance.now() - startedAt).toBeLessThan(ackWaitMs);
    await again.stop(1_000);
  });

  it('gives back what it held for later', async () => {
    await publish(['held']);
    let calls = 0;
    const consumer = await start({
      retryDelayMs: () => 60_000,
      handle: async () => {
        calls += 1;
        throw new Transient('busy', 'Later.');
      },
    });
    await eventually(() => calls === 1, { what: 'the call' });
    await consumer.stop(1_000);
    const again = await start({ handle: async () => void (calls += 1) });
    await eventually(() => calls === 2, { what: 'the second call', timeoutMs: ackWaitMs });
    await again.stop(1_000);
  });

  it('loses nothing when consumers stop and start under load', async () => {
    // Whatever is dropped comes back only after the test has failed.
    await reconcileConsumer(60_000);
    const bodies = Array.from({ length: 3_000 }, (_, n) => String(n));
    const seen = new Map<string, number>();
    const publishing = publish(bodies);
    while (seen.size < bodies.length) {
      const before = seen.size;
      const consumer = await start({
        batchSize: 20,
        handle: async (batch) => {
          for (const body of texts(batch)) seen.set(body, (seen.get(body) ?? 0) + 1);
        },
      });
      await eventually(() => seen.size >= Math.min(bodies.length, before + 300), { what: 'progress' });
      await consumer.stop(1_000);
    }
    await publishing;
    await caughtUp();
    expect(seen.size).toBe(bodies.length);
    // Given back before it was begun, never after it was done.
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
  });
});

describe('a server that is killed', () => {
  it('redelivers what was not acknowledged; the consumer goes on by itself and nothing is lost', async () => {
    const seen = new Map<string, number>();
    const consumer = await start({
      batchSize: 20,
      concurrency: 2,
      handle: async (batch) => {
        for (const body of texts(batch)) seen.set(body, (seen.get(body) ?? 0) + 1);
      },
    });
    const acknowledged: string[] = [];
    let publishing = true;
    const publisher = (async () => {
      for (let n = 0; publishing; n += 1) {
        try {
          await publish([String(n)]);
          acknowledged.push(String(n));
        } catch (error) {
          if (!(error instanceof Transient)) throw error;
          await pause(5);
        }
      }
    })();
    for (let kills = 0; kills < 3; kills += 1) {
      const before = seen.size;
      await eventually(() => seen.size > before + 200, { what: 'progress', timeoutMs: 10_000 });
      process.kill(nats.pid, 'SIGKILL');
      await eventually(() => !bus.isConnected(), { what: 'the loss to be noticed' });
      await nats.restart();
      await eventually(() => bus.isConnected(), { what: 'the reconnect' });
    }
    publishing = false;
    await publisher;
    await caughtUp();
    await consumer.stop(1_000);
    expect(acknowledged.filter((body) => !seen.has(body))).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(500);
  });

  it('gets a message again that was taken and never acknowledged', async () => {
    await publish(['taken']);
    // As a process that dies without a word: no working, no nak.
    const raw = await rawManager();
    const taken = await raw.manager
      .jetstream()
      .consumers.get('WEBHOOKS', consumerName)
      .then((one) => one.next());
    expect(taken?.string()).toBe('taken');
    await raw.close();
    const counts: number[] = [];
    const consumer = await start({ handle: async ([one]) => void counts.push(one?.deliveryCount ?? 0) });
    await eventually(() => counts.length === 1, { what: 'the redelivery', timeoutMs: ackWaitMs * 3 });
    await consumer.stop(1_000);
    expect(counts[0]).toBeGreaterThan(1);
  });
});
