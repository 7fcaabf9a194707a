import { createLogger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import pg from 'pg';
import { type ClusterAddresses } from '../cluster.ts';
import { call } from './http.ts';
import { type Books } from './judge.ts';

/** What is on its way in the product, counted where it lies. */
export interface OpenWork {
  /** Webhook bodies that Meta's side has yet to deliver, or that got no 200. */
  readonly deliveries: number;
  /** Webhook bodies in the stream that are not in the tables. */
  readonly webhooks: number;
  readonly turns: number;
  readonly sends: number;
  readonly events: number;
}

/** Looks at the product from outside while its parts come and go. A question that cannot be answered now throws. */
export class Watch {
  readonly #pool: pg.Pool;
  readonly #bus: MessageBus;
  readonly #sandboxUrl: string;

  private constructor(at: ClusterAddresses, bus: MessageBus) {
    this.#sandboxUrl = at.sandboxUrl;
    this.#bus = bus;
    this.#pool = new pg.Pool({
      connectionString: at.databaseUrl,
      max: 4,
      connectionTimeoutMillis: 2_000,
      query_timeout: 5_000,
      application_name: 'chaos',
    });
    this.#pool.on('error', () => undefined);
  }

  static async open(at: ClusterAddresses): Promise<Watch> {
    const logger = createLogger({ app: 'chaos', level: 'silent' });
    return new Watch(at, await MessageBus.connect({ url: at.natsUrl, name: 'chaos', logger, profile: 'production' }));
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.end(), this.#bus.close()]);
  }

  /** Webhook requests that were sent and not answered yet. */
  async requestsInFlight(): Promise<number> {
    const { attempts, delivered, refused } = await this.#deliveries();
    return attempts - delivered - refused;
  }

  async refusedRequests(): Promise<number> {
    return (await this.#deliveries()).refused;
  }

  /** Bodies that were handed to an ingest and are not acknowledged. */
  async bodiesBeingStored(): Promise<number> {
    return (await this.#bus.streamLag('WEBHOOKS', 'ingest')).ackPending;
  }

  turnsBeingAnswered(): Promise<number> {
    return this.#count('SELECT count(*)::int AS n FROM conversations WHERE lease_until > now()');
  }

  callsUnderWay(): Promise<number> {
    return this.#count(`SELECT count(*)::int AS n FROM sends WHERE phase = 'sending'`);
  }

  transactionsOpen(): Promise<number> {
    return this.#count(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name LIKE 'answerline%' AND xact_start IS NOT NULL`,
    );
  }

  /** Lets answers wait while `work` runs: turns are claimed, and get no further than to reading passages. */
  async whileAnswersWait<Result>(work: () => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect();
    try {
      await client.query('BEGIN; LOCK TABLE passages IN ACCESS EXCLUSIVE MODE');
      return await work();
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  }

  /** Phones whose turn is being answered, and is young enough to be started over when something comes (20 s). */
  async phonesBeingAnswered(): Promise<string[]> {
    const { rows } = await this.#pool.query<{ value: string }>(
      `SELECT i.value FROM conversations c JOIN contact_identities i ON i.contact_id = c.contact_id AND i.kind = 'wa_id'
       WHERE c.lease_until > now() AND c.first_unanswered_at > now() - interval '17 seconds'`,
    );
    return rows.map(({ value }) => value);
  }

  async isStored(messageId: string): Promise<boolean> {
    const { rowCount } = await this.#pool.query('SELECT 1 FROM messages WHERE provider_message_id = $1', [messageId]);
    return rowCount === 1;
  }

  async openWork(): Promise<OpenWork> {
    const [{ pending }, lag, turns, sends, events] = await Promise.all([
      this.#deliveries(),
      this.#bus.streamLag('WEBHOOKS', 'ingest'),
      this.#count(
        'SELECT count(*)::int AS n FROM conversations WHERE inbound_seq > answered_seq OR due_at IS NOT NULL',
      ),
      this.#count(`SELECT count(*)::int AS n FROM sends WHERE phase IN ('pending', 'retry', 'sending', 'unknown')`),
      this.#count('SELECT count(*)::int AS n FROM outbox'),
    ]);
    return { deliveries: pending, webhooks: lag.pending + lag.ackPending, turns, sends, events };
  }

  async books(): Promise<Books> {
    const debits = await this.#count('SELECT coalesce(sum(used), 0)::int AS n FROM usage');
    const entries = await this.#count('SELECT coalesce(sum(sign), 0)::int AS n FROM usage_entries');
    if (debits !== entries) throw new Error(`usage says ${String(debits)}, its entries ${String(entries)}`);
    const deadLetters = await this.#bus.listDeadLetters({ limit: 100 });
    return { debits, deadLetters: deadLetters.length };
  }

  /** How many sends took how many attempts, and how they ended: "accepted after 2" → 3. */
  async attemptsBySend(): Promise<Record<string, number>> {
    const { rows } = await this.#pool.query<{ what: string; n: number }>(
      `SELECT phase || ' after ' || attempts AS what, count(*)::int AS n
       FROM (SELECT s.phase, (SELECT count(*) FROM attempts a WHERE a.send_id = s.id) AS attempts FROM sends s) AS t
       GROUP BY 1 ORDER BY 1`,
    );
    return Object.fromEntries(rows.map(({ what, n }) => [what, n]));
  }

  /** Sends with more than one attempt that Meta accepted, by the attempts' own outcomes. */
  async doubles(): Promise<string[]> {
    const { rows } = await this.#pool.query<{ attempts: string }>(
      `SELECT string_agg(a.phase || ' ' || coalesce(a.code, '-') || ' ' || a.started_at, ', ' ORDER BY a.number) AS attempts
       FROM attempts a GROUP BY a.send_id HAVING count(*) FILTER (WHERE a.phase = 'accepted') > 1`,
    );
    return rows.map(({ attempts }) => attempts);
  }

  #deliveries(): Promise<{ pending: number; attempts: number; delivered: number; refused: number }> {
    return call('GET', `${this.#sandboxUrl}/sandbox/deliveries`);
  }

  async #count(sql: string): Promise<number> {
    const { rows } = await this.#pool.query<{ n: number }>(sql);
    return rows[0]?.n ?? 0;
  }
}
