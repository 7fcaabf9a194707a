import { eventSubject } from '@answerline/contracts';
import { createLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { addToOutbox, Database, migrateDatabase, newId, OutboxRelay } from '@answerline/persistence';
import { createTestDatabase, eventually, startTestNats, type TestDatabase, type TestNats } from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { relayEvents } from './relay-events.worker.ts';

let testDatabase: TestDatabase;
let database: Database;
let nats: TestNats;
let bus: MessageBus;
/** Message ids on the stream, in its order. */
let published: (string | null)[] = [];
const logger = createLogger({ app: 'spec', level: 'silent' });
const [workspaceId, channelId, conversationId] = [newId(), newId(), newId()];

beforeAll(async () => {
  [testDatabase, nats] = await Promise.all([createTestDatabase(migrateDatabase), startTestNats()]);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'relay-spec' });
  const { url, token } = nats;
  bus = await MessageBus.connect({ url, token, name: 'relay-spec', logger, profile: 'standalone' });
  await bus.reconcile();
  await bus.startConsumer({
    stream: 'EVENTS',
    consumer: 'fanout',
    batchSize: 500,
    concurrency: 1,
    handle: async (deliveries) => void published.push(...deliveries.map(({ messageId }) => messageId)),
    logger,
  });
});
afterAll(async () => {
  await Promise.all([bus.close(), database.close()]);
  await Promise.all([nats.stop(), testDatabase.drop()]);
});
beforeEach(() => {
  published = [];
});

async function leave(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => `message_received:${newId()}`);
  await database.transaction(async (sql) =>
    addToOutbox(
      sql,
      ids.map((id) => ({
        id,
        workspaceId,
        subject: eventSubject('message_received', workspaceId, channelId, conversationId),
        payload: { id },
      })),
    ),
  );
  return ids;
}
const left = async () => (await database.query('SELECT 1 FROM outbox')).length;
const publish: ConstructorParameters<typeof OutboxRelay>[1] = async ({ id, subject, payload }) => {
  await bus.publish(subject, Buffer.from(payload), { messageId: id });
};

describe('the relay of events', () => {
  it('publishes in order, more than one batch, and deletes what the stream has acknowledged', async () => {
    const relay = relayEvents(bus, database, logger);
    const ids = await leave(450);
    bus.ring('outbox');
    await eventually(() => published.length === 450, { what: 'all events are on the stream' });
    expect(published).toEqual(ids);
    await eventually(async () => (await left()) === 0, { what: 'the outbox is empty' });
    await relay.stop(1_000);
  });

  it('a transaction that is rolled back leaves none, the same event twice is one', async () => {
    const id = `message_received:${newId()}`;
    const event = { id, workspaceId, subject: `events.message_received.${workspaceId}.a.b`, payload: {} };
    const failing = database.transaction(async (sql) => {
      addToOutbox(sql, [event]);
      await sql.query('SELECT FROM outbox');
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    expect(await left()).toBe(0);
    for (let time = 0; time < 2; time += 1) await database.transaction(async (sql) => addToOutbox(sql, [event]));
    expect(await left()).toBe(1);
    await new OutboxRelay(database, publish).relayBatch();
  });

  it('loses nothing while NATS is down, and keeps the order', async () => {
    await nats.stop();
    await eventually(() => !bus.isConnected(), { what: 'the loss is noticed' });
    const ids = await leave(20);
    const once = new OutboxRelay(database, publish);
    await expect(once.relayBatch()).rejects.toMatchObject({ kind: 'transient' });
    expect(await left()).toBe(20);
    const relay = relayEvents(bus, database, logger);
    ids.push(...(await leave(5)));
    await nats.restart();
    await eventually(() => published.length === 25, { what: 'all events are on the stream', timeoutMs: 20_000 });
    expect(published).toEqual(ids);
    await relay.stop(1_000);
  });

  it('killed between the ack and the delete, it publishes again under the same id, and the stream takes it once', async () => {
    const ids = await leave(3);
    const doomed = await Database.connect({ url: testDatabase.url, applicationName: 'relay-doomed', poolSize: 1 });
    const duplicates: boolean[] = [];
    const relay = new OutboxRelay(doomed, async (event) => {
      await publish(event);
      await database.query(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1`, [
        'relay-doomed',
      ]);
    });
    await expect(relay.relayBatch()).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(await left()).toBe(3);
    const second = new OutboxRelay(database, async ({ id, subject, payload }) => {
      duplicates.push((await bus.publish(subject, Buffer.from(payload), { messageId: id })).duplicate);
    });
    expect(await second.relayBatch()).toBe(3);
    expect(duplicates).toEqual([true, true, true]);
    expect(await left()).toBe(0);
    await leave(1);
    await second.relayBatch();
    await eventually(() => published.length === 4, { what: 'the stream has gone on' });
    expect(published.slice(0, 3)).toEqual(ids);
    await doomed.close();
  });

  it('what cannot be published does not hold up the rest of its batch', async () => {
    const [bad, ...good] = await leave(4);
    const relay = new OutboxRelay(database, async (event) => {
      if (event.id === bad) throw new Error('too large');
      await publish(event);
    });
    expect(await relay.relayBatch()).toBe(3);
    await eventually(() => published.length === 3, { what: 'the others are on the stream' });
    expect(published).toEqual(good);
    expect(await left()).toBe(1);
    await new OutboxRelay(database, publish).relayBatch();
  });

  it('two relays at once publish each event once', async () => {
    const ids = await leave(300);
    const relays = [new OutboxRelay(database, publish), new OutboxRelay(database, publish)];
    while ((await left()) > 0) await Promise.all(relays.map((relay) => relay.relayBatch(50)));
    await eventually(() => published.length >= 300, { what: 'all events are on the stream' });
    expect([...published].sort()).toEqual([...ids].sort());
  });
});
