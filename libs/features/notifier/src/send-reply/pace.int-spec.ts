import { createLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  seedChannel,
  seedConversation,
  seedReply,
  startTestNats,
  startTestSandbox,
  type SeededChannel,
  type TestDatabase,
  type TestNats,
  type TestSandbox,
} from '@answerline/testing';
import { GraphClient } from '@answerline/whatsapp';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { workOnSends } from './send-reply.worker.ts';
import { SendReply } from './send-reply.ts';

let testDatabase: TestDatabase;
let nats: TestNats;
let sandbox: TestSandbox;
const logger = createLogger({ app: 'spec', level: 'silent' });
/** What one notifier process has of its own. */
let notifiers: { database: Database; bus: MessageBus }[] = [];

beforeAll(async () => {
  [testDatabase, nats, sandbox] = await Promise.all([
    createTestDatabase(migrateDatabase),
    startTestNats(),
    startTestSandbox(),
  ]);
  const { url, token } = nats;
  notifiers = await Promise.all(
    ['one', 'two'].map(async (name) => ({
      database: await Database.connect({ url: testDatabase.url, applicationName: name, poolSize: 5 }),
      bus: await MessageBus.connect({ url, token, name, logger, profile: 'standalone' }),
    })),
  );
});
afterAll(async () => {
  await closeOperatorConnections();
  await Promise.all(notifiers.flatMap(({ bus, database }) => [bus.close(), database.close()]));
  await Promise.all([nats.stop(), sandbox.close(), testDatabase.drop()]);
});

async function seedSends(database: Database, count: number, messagesPerSecond: number): Promise<SeededChannel> {
  const channel = await seedChannel(database, { messagesPerSecond });
  await sandbox.connect(database, channel);
  for (let n = 0; n < count; n += 1) await seedReply(database, await seedConversation(database, channel));
  return channel;
}

describe('the pace of a number over two notifiers', () => {
  it.each([
    [80, 160],
    [20, 40],
  ])('at %d a second: never above it, and others do not wait for it', async (perSecond, count) => {
    const database = notifiers[0]?.database as Database;
    const channel = await seedSends(database, count, perSecond);
    const bystander = await seedSends(database, 1, 80);
    const loops = notifiers.map(({ database: own, bus }) => {
      const graph = new GraphClient({ baseUrl: sandbox.url, version: 'v26.0' });
      return workOnSends(bus, new SendReply({ database: own, graph, secrets: sandbox.secrets, logger }), logger);
    });
    notifiers[0]?.bus.ring('send');
    await eventually(async () => (await sandbox.calls(channel)).length === count, {
      what: 'everything was sent',
      timeoutMs: 20_000,
    });
    await Promise.all(loops.map((loop) => loop.stop(1_000)));

    const calls = await sandbox.calls(channel);
    // When a call was let go, by the database's clock; when Graph takes it depends on how busy everybody is.
    const letGo = async ({ channelId }: SeededChannel): Promise<number[]> => {
      const rows = await database.query<{ at: Date }>('SELECT started_at AS at FROM attempts WHERE channel_id = $1', [
        channelId,
      ]);
      return rows.map(({ at }) => at.getTime());
    };
    const times = await letGo(channel);
    const mostInASecond = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 1000).length));
    expect(mostInASecond).toBeLessThanOrEqual(perSecond);
    // Each once, by whichever of the two.
    expect(new Set(calls.map(({ to }) => to)).size).toBe(count);
    // Another number does not wait behind it.
    const [first = Infinity] = await letGo(bystander);
    expect(first).toBeLessThan(Math.max(...times));
  });
});
