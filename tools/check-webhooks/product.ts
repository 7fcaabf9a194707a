import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { runningNats, runningPostgresUrl } from '@answerline/embedded-services';
import { createLogger } from '@answerline/logging';
import { MessageBus, type StoredDeadLetter } from '@answerline/messaging';
import pg from 'pg';
import type { FoundMessage } from './walk-body.ts';

/** Something that whoever runs the tool can mend; its message is one line. */
export class CannotCheck extends Error {}

/** Of DATA_DIR/demo.json. */
export interface Demo {
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly channelId: string;
  readonly webhookPath: string;
  readonly appSecret: string;
  readonly phoneNumberId: string;
}

/** A row of `GET /api/v1/webhook-log`. */
export interface LogEntry {
  readonly id: string;
  readonly verdict: string;
  readonly found: number;
  readonly stored: number;
  readonly repeated: number;
}

/** How the stored rows compare with the messages that were found. */
export interface Comparison {
  readonly stored: ReadonlySet<FoundMessage>;
  /** Stored once, with their type and this very JSON. */
  readonly exact: ReadonlySet<FoundMessage>;
  /** A line for each message that is not exact. */
  readonly problems: readonly string[];
}

/** A message that has to be stored, and the file it stands in. */
export interface ExpectedMessage {
  readonly name: string;
  readonly message: FoundMessage;
}

/** The running product, seen from outside: its doors, its tables and its dead letters. */
export class Product {
  readonly demo: Demo;
  readonly #database: pg.Client;
  readonly #bus: MessageBus;

  private constructor(demo: Demo, database: pg.Client, bus: MessageBus) {
    this.demo = demo;
    this.#database = database;
    this.#bus = bus;
  }

  /** Connects to what belongs to `demoFile`: DATABASE_URL and NATS_URL, else the embedded ones in the folder of that file. */
  static async open(demoFile: string): Promise<Product> {
    const demo = readDemo(demoFile);
    const dataDir = dirname(demoFile);
    const databaseUrl = process.env.DATABASE_URL || runningPostgresUrl(join(dataDir, 'postgres'));
    const nats = process.env.NATS_URL ? { url: process.env.NATS_URL } : runningNats(join(dataDir, 'nats'));
    if (databaseUrl === undefined || nats === undefined) {
      throw new CannotCheck(
        `The product of ${demoFile} does not run. Start it with npm start; with services of your own set DATABASE_URL and NATS_URL.`,
      );
    }
    const database = new pg.Client({ connectionString: databaseUrl });
    await database.connect();
    try {
      const logger = createLogger({ app: 'check-webhooks', level: 'silent' });
      const bus = await MessageBus.connect({
        ...nats,
        name: 'answerline-check-webhooks',
        profile: 'standalone',
        logger,
      });
      return new Product(demo, database, bus);
    } catch (error) {
      await database.end();
      throw error;
    }
  }

  /** Posts a body as Meta does and gives the status of the answer. */
  async post(bytes: Buffer): Promise<number> {
    const signature = createHmac('sha256', this.demo.appSecret).update(bytes).digest('hex');
    const response = await fetch(`${this.demo.baseUrl}${this.demo.webhookPath}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}` },
      body: new Uint8Array(bytes),
    });
    await response.arrayBuffer();
    return response.status;
  }

  /** What became of the deliveries of a body, newest first. */
  async verdicts(sha256: string): Promise<readonly LogEntry[]> {
    const url = `${this.demo.baseUrl}/api/v1/webhook-log?limit=100&sha256=${sha256}`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${this.demo.apiKey}` } });
    if (!response.ok) throw new CannotCheck(`The webhook log answered ${response.status}: is the product up to date?`);
    return ((await response.json()) as { items: LogEntry[] }).items;
  }

  async deadLetters(): Promise<readonly StoredDeadLetter[]> {
    const all: StoredDeadLetter[] = [];
    for (;;) {
      const page = await this.#bus.listDeadLetters({ limit: 100, afterSequence: all.at(-1)?.sequence ?? 0 });
      all.push(...page);
      if (page.length < 100) return all;
    }
  }

  /** Holds the rows of the demo's channel against the messages: there, once, of this type, with this very JSON. */
  async compare(expected: readonly ExpectedMessage[]): Promise<Comparison> {
    const messages = expected.map(({ message }) => message);
    const ids = messages.map(({ id }) => id).filter((id) => typeof id === 'string');
    const texts = messages.filter(({ id }) => typeof id !== 'string').map(({ raw }) => JSON.stringify(raw));
    const { rows } = await this.#database.query<{ id: string; type: string; raw: unknown }>(
      `SELECT provider_message_id AS id, type, raw FROM messages
       WHERE channel_id = $1 AND (provider_message_id = ANY($2::text[]) OR raw::text = ANY($3::text[]))`,
      [this.demo.channelId, ids, texts],
    );
    const byId = Map.groupBy(rows, ({ id }) => id);
    const byText = Map.groupBy(rows, ({ raw }) => JSON.stringify(raw));
    const stored = new Set<FoundMessage>();
    const exact = new Set<FoundMessage>();
    const problems: string[] = [];
    for (const { name, message } of expected) {
      const found = typeof message.id === 'string' ? byId.get(message.id) : byText.get(JSON.stringify(message.raw));
      const [row, ...others] = found ?? [];
      if (row) stored.add(message);
      if (!row) problems.push(`${name}: a message of type ${message.type} is not stored`);
      else if (others.length > 0) problems.push(`${name}: a message is stored ${others.length + 1} times`);
      else if (row.type !== message.type) problems.push(`${name}: type ${message.type} is stored as ${row.type}`);
      else if (!isDeepStrictEqual(row.raw, message.raw)) problems.push(`${name}: the stored JSON is another`);
      else exact.add(message);
    }
    return { stored, exact, problems };
  }

  async close(): Promise<void> {
    await Promise.all([this.#database.end(), this.#bus.close()]);
  }
}

function readDemo(file: string): Demo {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Demo;
  } catch {
    throw new CannotCheck(
      `There is no demo at ${file}. Run npm start first, set DATA_DIR, or name the file: --demo <file>.`,
    );
  }
}
