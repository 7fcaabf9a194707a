import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { messagingTopology, webhookSubject, type MessagingTopology } from '@answerline/contracts';
import { findNatsServer } from '@answerline/embedded-services';
import { createLogger, withCorrelation } from '@answerline/logging';
import {
  captureLogs,
  eventually,
  freePort,
  haltProcess,
  startTestNats,
  tempDir,
  type TestNats,
} from '@answerline/testing';
import { MessageBus, type MessageBusOptions } from './message-bus.ts';

const logger = createLogger({ app: 'test', level: 'silent' });
const encode = (text: string) => new TextEncoder().encode(text);
const aSubject = () => webhookSubject(randomUUID(), randomUUID());
const anId = () => ({ messageId: randomUUID() });

let nats: TestNats;
let bus: MessageBus;
const connect = (options: Partial<MessageBusOptions> = {}) =>
  MessageBus.connect({ url: nats.url, token: nats.token, name: 'test', logger, profile: 'standalone', ...options });

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connect();
});
afterAll(async () => {
  await bus.close();
  await nats.stop();
});

describe('MessageBus.connect', () => {
  it('says within its time that nobody answers, without the credentials', async () => {
    const url = `nats://user:secret-word@127.0.0.1:${await freePort()}`;
    const error = await connect({ url, connectTimeoutMs: 400 }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ kind: 'transient', code: 'nats_unreachable' });
    expect(String(error)).not.toContain('secret-word');
  });

  it('says at once that the credentials are wrong', async () => {
    await expect(connect({ token: 'wrong' })).rejects.toMatchObject({ code: 'nats_unauthorized' });
  });

  it('takes the token from the URL too', async () => {
    const url = nats.url.replace('nats://', `nats://${encodeURIComponent(nats.token)}@`);
    const other = await MessageBus.connect({ url, name: 'test', logger, profile: 'standalone' });
    expect(other.isConnected()).toBe(true);
    await other.close();
    expect(other.isConnected()).toBe(false);
  });

  it.each(['', 'http://127.0.0.1:4222', 'localhost'])('refuses the address %p', async (url) => {
    await expect(connect({ url })).rejects.toMatchObject({ code: 'nats_url_invalid' });
  });
});

describe('reconcile', () => {
  const standalone = messagingTopology({ profile: 'standalone' });
  const names = ['WEBHOOKS', 'EVENTS', 'DEAD_LETTERS', 'WEBHOOKS/ingest', 'EVENTS/presence', 'EVENTS/fanout'];
  const withWebhooks = (change: Partial<MessagingTopology['streams'][number]>): MessagingTopology => ({
    ...standalone,
    streams: standalone.streams.map((stream) => (stream.name === 'WEBHOOKS' ? { ...stream, ...change } : stream)),
  });

  it('makes everything, then finds nothing to do', async () => {
    expect(await bus.reconcile()).toEqual({ created: names, updated: [] });
    expect(await bus.reconcile()).toEqual({ created: [], updated: [] });
  });

  it('is safe in two processes at once', async () => {
    const other = await connect();
    const results = await Promise.all([bus.reconcile(), other.reconcile()]);
    expect(results).toEqual([
      { created: [], updated: [] },
      { created: [], updated: [] },
    ]);
    await other.close();
  });

  it('changes only what differs and keeps the messages', async () => {
    const { sequence } = await bus.publish(aSubject(), encode('kept'), anId());
    const topology: MessagingTopology = {
      streams: withWebhooks({ maxBytes: 3 * 1024 ** 3 }).streams,
      consumers: standalone.consumers.map((one) => (one.name === 'ingest' ? { ...one, maxAckPending: 600 } : one)),
    };
    expect(await bus.reconcile(topology)).toEqual({ created: [], updated: ['WEBHOOKS', 'WEBHOOKS/ingest'] });
    expect(await bus.reconcile()).toEqual({ created: [], updated: ['WEBHOOKS', 'WEBHOOKS/ingest'] });
    expect((await bus.streamLag('WEBHOOKS', 'ingest')).pending).toBe(sequence);
  });

  it('refuses limits that would remove stored messages', async () => {
    await bus.publish(aSubject(), encode('kept'), anId());
    await expect(bus.reconcile(withWebhooks({ maxBytes: 10 }))).rejects.toMatchObject({
      code: 'nats_stream_would_lose_messages',
    });
    const tomorrow = await connect({ now: () => Date.now() + 86_400_000 });
    await expect(tomorrow.reconcile(withWebhooks({ maxAgeMs: 3_600_000 }))).rejects.toMatchObject({
      code: 'nats_stream_would_lose_messages',
    });
    await tomorrow.close();
    expect(await bus.reconcile()).toEqual({ created: [], updated: [] });
  });

  it('names the stream whose subjects another one takes', async () => {
    const [webhooks] = standalone.streams;
    if (!webhooks) throw new Error('no stream');
    const rival = { ...webhooks, name: 'RIVAL', subjects: ['webhooks.*.*'] };
    await expect(bus.reconcile({ streams: [rival], consumers: [] })).rejects.toMatchObject({
      kind: 'invalid_input',
      code: 'nats_subjects_overlap',
    });
  });

  it('says which setting the server refuses', async () => {
    const cluster = await connect({ replicas: 3 });
    await expect(cluster.reconcile()).rejects.toMatchObject({
      kind: 'invalid_input',
      message: expect.stringContaining('WEBHOOKS') as unknown,
    });
    await cluster.close();
  });
});

describe('a server that does not fit', () => {
  it('is refused when it takes only 1 MiB, as it does unless told otherwise', async () => {
    const program = process.env.TEST_NATS_SERVER ?? (await findNatsServer());
    const port = await freePort();
    const args = ['-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', await tempDir()];
    const server = spawn(program, args, { stdio: 'ignore' });
    try {
      const other = await connect({ url: `nats://127.0.0.1:${port}` });
      expect(other.problem()).toBe('nats_max_payload_too_small');
      await expect(other.reconcile()).rejects.toMatchObject({ code: 'nats_max_payload_too_small' });
      await other.close();
    } finally {
      server.kill('SIGKILL');
    }
  });
});

describe('publish', () => {
  it('drops the second of two with the same message id', async () => {
    const subject = aSubject();
    const { messageId } = anId();
    const first = await bus.publish(subject, encode('one'), { messageId });
    expect(first.duplicate).toBe(false);
    expect(await bus.publish(subject, encode('one'), { messageId })).toEqual({ ...first, duplicate: true });
  });

  it('takes a body of 3 MB and refuses one over 4 MiB', async () => {
    const subject = aSubject();
    await expect(bus.publish(subject, new Uint8Array(3_000_000), anId())).resolves.toMatchObject({ duplicate: false });
    await expect(bus.publish(subject, new Uint8Array(5_000_000), anId())).rejects.toMatchObject({
      code: 'message_too_large',
      httpStatus: 413,
    });
  });

  it('refuses what is larger than the stream takes', async () => {
    await expect(bus.publish(`dead.WEBHOOKS.ingest.none`, new Uint8Array(70_000), anId())).rejects.toMatchObject({
      code: 'message_too_large',
    });
  });

  it('says that no stream takes the subject', async () => {
    await expect(bus.publish('elsewhere.x', encode('x'), anId())).rejects.toMatchObject({
      kind: 'transient',
      code: 'nats_no_jetstream',
    });
  });

  it('says that a stream which forgets nothing is full', async () => {
    const [webhooks] = messagingTopology({ profile: 'standalone' }).streams;
    if (!webhooks) throw new Error('no stream');
    const small = { ...webhooks, name: 'SMALL', subjects: ['small.>'], maxBytes: 10_000 };
    await bus.reconcile({ streams: [small], consumers: [] });
    await bus.publish('small.x', new Uint8Array(8_000), anId());
    await expect(bus.publish('small.x', new Uint8Array(8_000), anId())).rejects.toMatchObject({
      kind: 'transient',
      code: 'stream_full',
    });
  });
});

describe('doorbells', () => {
  it('rings every queue once and every other listener', async () => {
    const other = await connect();
    const heard: string[] = [];
    const ends = [
      bus.onRing('turn', (payload) => void heard.push(`queue ${payload}`), { queue: 'rag' }),
      other.onRing('turn', (payload) => void heard.push(`queue ${payload}`), { queue: 'rag' }),
      other.onRing('turn', (payload) => void heard.push(`alone ${payload}`)),
      other.onRing('send', (payload) => void heard.push(`send ${payload}`)),
    ];
    await other.streamLag('WEBHOOKS', 'ingest'); // an answer on this connection: its subscriptions are known
    bus.ring('turn', '1');
    await eventually(() => heard.length >= 2, { what: 'both listeners to hear it' });
    expect(heard.sort()).toEqual(['alone 1', 'queue 1']);
    for (const end of ends) end();
    await other.close();
  });

  it('logs what a handler throws and goes on', async () => {
    const logs = captureLogs();
    const other = await connect({ logger: createLogger({ app: 'test', level: 'warn', destination: logs.stream }) });
    let rings = 0;
    other.onRing('outbox', async () => {
      rings += 1;
      throw new Error('planted');
    });
    await other.streamLag('WEBHOOKS', 'ingest');
    bus.ring('outbox');
    bus.ring('outbox');
    await eventually(() => rings === 2, { what: 'both rings' });
    await eventually(() => logs.lines().length === 2, { what: 'two log lines' });
    expect(logs.lines()[0]).toMatchObject({ message: 'Doorbell handler failed', doorbell: 'outbox' });
    await other.close();
  });
});

describe('while the server is away', () => {
  it('refuses at once, keeps silent about rings, and works again afterwards', async () => {
    const subject = aSubject();
    await bus.publish(subject, encode('before'), { messageId: 'before' });
    process.kill(nats.pid, 'SIGKILL');
    await eventually(() => !bus.isConnected(), { what: 'the loss to be noticed' });
    expect(bus.problem()).toBe('nats_unavailable');

    const startedAt = performance.now();
    await expect(bus.publish(subject, encode('x'), anId())).rejects.toMatchObject({
      kind: 'transient',
      code: 'nats_unavailable',
    });
    await expect(bus.streamLag('WEBHOOKS', 'ingest')).rejects.toMatchObject({ code: 'nats_unavailable' });
    await expect(bus.reconcile()).rejects.toMatchObject({ code: 'nats_unavailable' });
    bus.ring('turn', 'lost');
    expect(performance.now() - startedAt).toBeLessThan(2_000);

    await nats.restart();
    await eventually(() => bus.isConnected(), { what: 'the reconnect' });
    expect(bus.problem()).toBeNull();
    // What was acknowledged survived the kill, and so did the duplicate window.
    expect(await bus.publish(subject, encode('before'), { messageId: 'before' })).toMatchObject({ duplicate: true });
    expect(await bus.publish(subject, encode('after'), { messageId: 'after' })).toMatchObject({ duplicate: false });
  });

  it('refuses a publish in flight when the connection breaks, not at its timeout', async () => {
    await haltProcess(nats.pid);
    const startedAt = performance.now();
    const publish = bus.publish(aSubject(), encode('x'), { ...anId(), timeoutMs: 8_000 });
    const outcome = expect(publish).rejects.toMatchObject({ code: 'nats_unavailable' });
    await delay(50);
    process.kill(nats.pid, 'SIGKILL');
    await outcome;
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await nats.restart();
    await eventually(() => bus.isConnected(), { what: 'the reconnect' });
  });

  it('says that a server which hangs did not answer in time', async () => {
    await haltProcess(nats.pid);
    await expect(bus.publish(aSubject(), encode('x'), { ...anId(), timeoutMs: 200 })).rejects.toMatchObject({
      kind: 'transient',
      code: 'nats_timeout',
    });
    process.kill(nats.pid, 'SIGCONT');
    await expect(bus.publish(aSubject(), encode('x'), anId())).resolves.toMatchObject({ duplicate: false });
  });

  it('closes while disconnected', async () => {
    const other = await connect();
    process.kill(nats.pid, 'SIGKILL');
    await eventually(() => !other.isConnected(), { what: 'the loss to be noticed' });
    await other.close();
    await nats.restart();
    await eventually(() => bus.isConnected(), { what: 'the reconnect' });
  });
});

describe('correlation', () => {
  it('travels with the message', async () => {
    await bus.reconcile();
    const { messageId } = anId();
    const { sequence } = await withCorrelation('corr-1', () => bus.publish(aSubject(), encode('x'), { messageId }));
    const found: (string | undefined)[] = [];
    const consumer = await bus.startConsumer({
      stream: 'WEBHOOKS',
      consumer: 'ingest',
      batchSize: 10,
      concurrency: 1,
      logger,
      handle: async (batch) => {
        for (const one of batch) {
          if (one.streamSequence === sequence) found.push(one.headers['Answerline-Correlation-Id']);
        }
      },
    });
    await eventually(() => found.length > 0, { what: 'the message' });
    await consumer.stop(1_000);
    expect(found).toEqual(['corr-1']);
  });
});
