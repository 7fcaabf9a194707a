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

function startNotifiers() {
  return notifiers.map(({ database, bus }) => {
    const graph = new GraphClient({ baseUrl: sandbox.url, version: 'v26.0' });
    return workOnSends(bus, new SendReply({ database, graph, secrets: sandbox.secrets, logger }), logger);
  });
}

describe('the pace of a number over two notifiers', () => {
  /** When its calls were let go, by the database's clock, first one first; when Graph takes one depends on how busy everybody is. */
  const letGo = async (database: Database, { channelId }: SeededChannel): Promise<number[]> => {
    const rows = await database.query<{ at: Date }>(
      'SELECT started_at AS at FROM attempts WHERE channel_id = $1 ORDER BY started_at',
      [channelId],
    );
    return rows.map(({ at }) => at.getTime());
  };

  it('is thirty a minute for a number whose deliveries nobody can verify', async () => {
    const database = notifiers[0]?.database as Database;
    const channel = await seedSends(database, 4, 80);
    await database.query('UPDATE webhook_keys SET app_secret_ciphertext = NULL WHERE workspace_id = $1', [
      channel.workspaceId,
    ]);
    const loops = startNotifiers();
    notifiers[0]?.bus.ring('send');
    const times = await eventually(
      async () => {
        const all = await letGo(database, channel);
        return all.length === 4 && all;
      },
      { what: 'four calls', timeoutMs: 20_000 },
    );
    await Promise.all(loops.map((loop) => loop.stop(1_000)));
    // Three may go at once, then one each 60 s / 27.
    expect((times[3] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(2_000);
  });

  it.each([
    [80, 160],
    [20, 40],
  ])('at %d a second: never above it, and others do not wait for it', async (perSecond, count) => {
    const database = notifiers[0]?.database as Database;
    const channel = await seedSends(database, count, perSecond);
    const bystander = await seedSends(database, 1, 80);
    const loops = startNotifiers();
    notifiers[0]?.bus.ring('send');
    await eventually(async () => (await sandbox.calls(channel)).length === count, {
      what: 'everything was sent',
      timeoutMs: 20_000,
    });
    await Promise.all(loops.map((loop) => loop.stop(1_000)));

    const calls = await sandbox.calls(channel);
    const times = await letGo(database, channel);
    const mostInASecond = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 1000).length));
    expect(mostInASecond).toBeLessThanOrEqual(perSecond);
    // Each once, by whichever of the two.
    expect(new Set(calls.map(({ to }) => to)).size).toBe(count);
    // Another number does not wait behind it.
    const [first = Infinity] = await letGo(database, bystander);
    expect(first).toBeLessThan(Math.max(...times));
  });
});
