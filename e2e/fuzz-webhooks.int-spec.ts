import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Database, migrateDatabase } from '@answerline/persistence';
import { generateToken, SecretBox } from '@answerline/secrets';
import {
  createTestDatabase,
  eventually,
  freePort,
  mutatedWebhook,
  mutations,
  place,
  seedChannel,
  startTestNats,
  tempDir,
  type Mutation,
  type Place,
  type SeededChannel,
} from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import fc from 'fast-check';
import { root } from './running-standalone.ts';

/** Sent before memory is measured, so that what a process loads, compiles and pools once is not taken for a leak. */
const WARM_UP = 1_500;
const BODIES = 5_000;
/** Signed too, but cut off: what is no JSON is the only thing that may become a dead letter. */
const CUT_OFF = 50;
/** Another one finds other bodies. */
const SEED = 20_261_124;
const AT_ONCE = 32;
const MAY_GROW_BY_BYTES = 50 * 1024 * 1024;
/** About 40 s on two cores that do nothing else. */
const WITHIN_MS = 400_000;

const appSecret = randomBytes(16).toString('hex');
const fixtures = join(root, 'libs/adapters/whatsapp/fixtures');
const templates = readdirSync(fixtures).map((file) => readFileSync(join(fixtures, file), 'utf8'));

/**
 * Answers `memory` with the RSS after the collection that V8 makes before it gives up. Without it the RSS says how busy a
 * process was, not what it keeps: V8 holds on to pages that are empty.
 */
const memoryProbe = `data:text/javascript,${encodeURIComponent(
  `process.on('message', (what) => {
    if (what !== 'memory') return;
    globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    process.send({ rss: process.memoryUsage.rss() });
  });
  process.channel.unref();`,
)}`;

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

interface App {
  readonly url: string;
  readonly child: ChildProcess;
  log(): string;
  rss(): Promise<number>;
}

describe('webhooks that were broken on purpose', () => {
  let testDatabase: Awaited<ReturnType<typeof createTestDatabase>>;
  let nats: Awaited<ReturnType<typeof startTestNats>>;
  let database: Database;
  let channel: SeededChannel;
  let gateway: App;
  let ingest: App;
  const key = generateToken(32);
  const apps: App[] = [];

  beforeAll(async () => {
    [testDatabase, nats] = await Promise.all([createTestDatabase(migrateDatabase), startTestNats()]);
    database = await Database.connect({ url: testDatabase.url, applicationName: 'fuzz-spec' });
    const encryptionKey = randomBytes(32);
    channel = await seedChannel(database);
    const place = { workspaceId: channel.workspaceId, table: 'webhook_keys', rowId: channel.keyId };
    const secretBox = new SecretBox([{ id: 'k1', key: encryptionKey }]);
    await database.query(
      `UPDATE webhook_keys SET key_hash = $2, verify_token_ciphertext = $3, app_secret_ciphertext = $4 WHERE id = $1`,
      [
        channel.keyId,
        createHash('sha256').update(key).digest(),
        secretBox.seal(generateToken(32), { ...place, column: 'verify_token_ciphertext' }),
        secretBox.seal(appSecret, { ...place, column: 'app_secret_ciphertext' }),
      ],
    );
    const settings = {
      DATABASE_URL: testDatabase.url,
      NATS_URL: nats.url.replace('nats://', `nats://${nats.token}@`),
      ENCRYPTION_KEYS: `k1:${encryptionKey.toString('base64')}`,
      OPERATOR_KEY: randomBytes(24).toString('hex'),
      INTERNAL_TOKEN: randomBytes(24).toString('hex'),
      RAG_URL: 'grpc://127.0.0.1:1',
    };
    [gateway, ingest] = await Promise.all([startApp('gateway', settings), startApp('ingest', settings)]);
  }, WITHIN_MS);
  afterAll(async () => {
    await Promise.all(
      apps.map(async ({ child }) => {
        if (hasEnded(child)) return;
        child.kill('SIGTERM');
        await once(child, 'exit');
      }),
    );
    await database.close();
    await Promise.all([nats.stop(), testDatabase.drop()]);
  });

  async function startApp(name: string, settings: Record<string, string>): Promise<App> {
    const cwd = await tempDir();
    const port = await freePort();
    const flags = ['--expose-gc', '--import', memoryProbe];
    const child = spawn(process.execPath, [...flags, join(root, `apps/${name}/dist/main.js`)], {
      cwd,
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'test',
        HOST: '127.0.0.1',
        PORT: String(port),
        PUBLIC_URL: `http://127.0.0.1:${String(port)}`,
        DATA_DIR: join(cwd, 'data'),
        SANDBOX: 'on',
        LOG_LEVEL: 'warn',
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (log += chunk.toString()));
    const app: App = {
      url: `http://127.0.0.1:${String(port)}`,
      child,
      log: () => log,
      rss: async () => {
        const answer = once(child, 'message') as Promise<[{ rss: number }]>;
        child.send('memory');
        return (await answer)[0].rss;
      },
    };
    apps.push(app);
    const isReady = async () => hasEnded(child) || (await fetch(`${app.url}/health/ready`)).status === 200;
    await eventually(isReady, { what: `${name} is ready`, timeoutMs: 60_000 });
    if (hasEnded(child)) throw new Error(`${name} ended at its start:\n${log}`);
    return app;
  }

  /** Body number `index`: of this channel, with ids that no other body has. */
  function bodyOf(index: number, template: string, changes: readonly Mutation[], at: Place) {
    const own = template
      .replaceAll('200000000000001', channel.phoneNumberId)
      .replaceAll(/"(wamid|wacid)\./g, `"$1.${String(index)}.`);
    const message = {
      from: String(49_170_000_000 + index),
      id: `wamid.VALID.${String(index)}`,
      timestamp: String(Math.floor(Date.now() / 1000)),
      type: 'text',
      text: { body: `Do you open on Sundays? ☕ ${String(index)}` },
    };
    return mutatedWebhook(JSON.parse(own), changes, at, { phoneNumberId: channel.phoneNumberId, message });
  }

  const post = async (body: Buffer): Promise<number> => {
    const signature = createHmac('sha256', appSecret).update(body).digest('hex');
    const response = await fetch(`${gateway.url}/webhooks/whatsapp/${key}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}` },
      body: new Uint8Array(body),
    });
    await response.arrayBuffer();
    return response.status;
  };

  /** Posts what `bodies` yields, many at once; how often each status came. */
  async function postAll(bodies: Iterator<Buffer>): Promise<Record<number, number>> {
    const answers: Record<number, number> = {};
    const worker = async (): Promise<void> => {
      for (let next = bodies.next(); !next.done; next = bodies.next()) {
        const status = await post(next.value);
        answers[status] = (answers[status] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return answers;
  }

  /** Until ingest has settled every body that the stream holds. */
  const untilStored = async (): Promise<void> => {
    const connection = await connect({ servers: nats.url, token: nats.token });
    const manager = await jetstreamManager(connection);
    await eventually(
      async () => {
        const { num_pending, num_ack_pending } = await manager.consumers.info('WEBHOOKS', 'ingest');
        return num_pending + num_ack_pending === 0;
      },
      { what: 'ingest has settled every body', timeoutMs: WITHIN_MS },
    );
    await connection.close();
  };

  const deadLetters = async (): Promise<string[]> => {
    const connection = await connect({ servers: nats.url, token: nats.token });
    const manager = await jetstreamManager(connection);
    const { state } = await manager.streams.info('DEAD_LETTERS');
    const found: string[] = [];
    for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq += 1) {
      const message = await manager.streams.getMessage('DEAD_LETTERS', { seq });
      if (message) found.push(message.string());
    }
    await connection.close();
    return found;
  };

  it(
    `are accepted, and the valid message in each is stored once (${BODIES.toLocaleString('en')} bodies, seed ${SEED})`,
    async () => {
      const drawn = fc.sample(fc.tuple(fc.constantFrom(...templates), mutations, place), {
        seed: SEED,
        numRuns: WARM_UP + BODIES,
      });
      function* bodies(from: number, to: number): Iterator<Buffer> {
        for (let index = from; index < to; index += 1) {
          const [template, changes, at] = drawn[index] ?? [];
          if (template !== undefined && changes && at) yield bodyOf(index, template, changes, at);
        }
      }
      function* cutOff(): Iterator<Buffer> {
        for (let index = 0; index < CUT_OFF; index += 1) {
          yield Buffer.from(`{"entry": [{"id": "${String(index)}", "changes": [`);
        }
      }
      const rss = async () => ({ gateway: await gateway.rss(), ingest: await ingest.rss() });

      expect(await postAll(bodies(0, WARM_UP))).toEqual({ 200: WARM_UP });
      await untilStored();
      const before = await rss();
      expect(await postAll(bodies(WARM_UP, WARM_UP + BODIES))).toEqual({ 200: BODIES });
      expect(await postAll(cutOff())).toEqual({ 200: CUT_OFF });
      await untilStored();
      const after = await rss();

      const stored = await database.query<{ id: string; text: string; count: number; numbered: boolean }>(
        `SELECT provider_message_id AS id, min(text) AS text, count(*)::int AS count, bool_and(number IS NOT NULL) AS numbered
         FROM messages WHERE channel_id = $1 AND provider_message_id LIKE 'wamid.VALID.%' GROUP BY 1`,
        [channel.channelId],
      );
      const byId = new Map(stored.map((row) => [row.id, row]));
      const wrong = Array.from({ length: WARM_UP + BODIES }, (_, index) => {
        const row = byId.get(`wamid.VALID.${String(index)}`);
        const isRight = row?.count === 1 && row.numbered && row.text === `Do you open on Sundays? ☕ ${String(index)}`;
        return isRight ? undefined : { index, row, drawn: JSON.stringify(drawn[index]?.slice(1)).slice(0, 2_000) };
      }).filter((one) => one !== undefined);
      expect(wrong.slice(0, 3)).toEqual([]);
      expect(wrong).toHaveLength(0);

      // What was broken went all the way too, and did not only fall at the door.
      const others = `SELECT FROM messages WHERE channel_id = $1 AND provider_message_id NOT LIKE 'wamid.VALID.%'`;
      expect((await database.query(others, [channel.channelId])).length).toBeGreaterThan(BODIES / 4);

      const letters = await deadLetters();
      expect(letters.filter((letter) => !letter.includes('webhook_not_json'))).toEqual([]);
      expect(letters).toHaveLength(CUT_OFF);
      expect([gateway, ingest].map(({ child }) => hasEnded(child))).toEqual([false, false]);

      const grown = { gateway: after.gateway - before.gateway, ingest: after.ingest - before.ingest };
      expect(Math.max(grown.gateway, grown.ingest)).toBeLessThanOrEqual(MAY_GROW_BY_BYTES);
    },
    WITHIN_MS,
  );
});
