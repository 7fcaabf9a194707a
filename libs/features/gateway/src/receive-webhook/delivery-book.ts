import { toAppError, type AppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { newId, type Database, type Sql } from '@answerline/persistence';

/** Why a delivery was not answered with 200. `not_stored`: anything on our side, so that Meta sends it again. */
export type RefusalVerdict = 'bad_signature' | 'too_large' | 'not_stored' | 'bad_verify_token';

interface Refusals {
  readonly keyHash: string;
  readonly verdict: RefusalVerdict;
  count: number;
  lastAt: number;
}

/** What is written in one go: the last time by key, and the refusals. */
interface Notes {
  readonly accepted: Map<string, number>;
  readonly signed: Map<string, number>;
  readonly verified: Map<string, number>;
  readonly refused: Map<string, Refusals>;
}

/** Keys and verdicts of a minute that are remembered while Postgres is away. What comes beyond has lost its count, not its log. */
const maxRemembered = 50_000;
const minuteMs = 60_000;

/**
 * Notes what became of deliveries and writes it in one go, so that no request waits for Postgres: `last_accepted_at`,
 * `last_signed_at`, `last_refused_at` and `verified_at` of the keys, and one row of webhook_log a key, verdict and minute,
 * with a count. Notes go by the hash of the key, because a delivery can be refused before its key could be read; hashes that
 * are no key's leave nothing.
 */
export class DeliveryBook {
  #accepted = new Map<string, number>();
  #signed = new Map<string, number>();
  #verified = new Map<string, number>();
  #refused = new Map<string, Refusals>();
  #failures = new Map<string, { count: number; error: AppError }>();
  #notStored = false;
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #now: () => number;

  /** @param now milliseconds; only differences count, times in Postgres are Postgres's */
  constructor(database: Database, logger: Logger, now: () => number = Date.now) {
    this.#database = database;
    this.#logger = logger;
    this.#now = now;
  }

  /** `signed`: its signature was checked, and right. */
  accepted(keyHash: string, signed: boolean): void {
    const now = this.#now();
    this.#accepted.set(keyHash, now);
    if (signed) this.#signed.set(keyHash, now);
  }

  /** Meta's verification GET was answered. */
  verified(keyHash: string): void {
    this.#verified.set(keyHash, this.#now());
  }

  refused(keyHash: string, verdict: RefusalVerdict): void {
    const now = this.#now();
    const id = `${keyHash} ${verdict} ${Math.floor(now / minuteMs)}`;
    const known = this.#refused.get(id);
    if (known) {
      known.count += 1;
      known.lastAt = now;
    } else if (this.#refused.size < maxRemembered) {
      this.#refused.set(id, { keyHash, verdict, count: 1, lastAt: now });
    }
  }

  /** A delivery that was refused because of us. The log gets one line for all of a kind. */
  notStored(keyHash: string, cause: unknown): void {
    const error = toAppError(cause);
    this.#failures.set(error.code, { count: (this.#failures.get(error.code)?.count ?? 0) + 1, error });
    this.#notStored = true;
    this.refused(keyHash, 'not_stored');
  }

  /** Whether a delivery was refused because of us since this was asked last. */
  takeNotStored(): boolean {
    const taken = this.#notStored;
    this.#notStored = false;
    return taken;
  }

  /** Writes what was noted. When it throws, nothing is lost: the next call writes it. */
  async flush(): Promise<void> {
    this.#logFailures();
    if (this.#accepted.size + this.#verified.size + this.#refused.size === 0) return;
    const notes = { accepted: this.#accepted, signed: this.#signed, verified: this.#verified, refused: this.#refused };
    this.#accepted = new Map();
    this.#signed = new Map();
    this.#verified = new Map();
    this.#refused = new Map();
    try {
      const now = this.#now();
      await this.#database.transaction(async (sql) => {
        await storeTimes(sql, notes, now);
        await storeRefusals(sql, [...notes.refused.values()], now);
      });
    } catch (error) {
      this.#putBack(notes);
      throw error;
    }
  }

  #putBack(notes: Notes): void {
    this.#accepted = new Map([...notes.accepted, ...this.#accepted]);
    this.#signed = new Map([...notes.signed, ...this.#signed]);
    this.#verified = new Map([...notes.verified, ...this.#verified]);
    for (const [id, later] of this.#refused) {
      const earlier = notes.refused.get(id);
      notes.refused.set(id, earlier ? { ...later, count: earlier.count + later.count } : later);
    }
    this.#refused = notes.refused;
  }

  #logFailures(): void {
    for (const [code, { count, error }] of this.#failures) {
      const level = error.kind === 'unexpected' ? 'error' : 'warn';
      this.#logger[level]({ code, count, err: error }, 'Webhook deliveries were not stored');
    }
    this.#failures.clear();
  }
}

/** Locks the keys in the order of their hash, as every gateway does. */
async function storeTimes(sql: Sql, { accepted, signed, verified, refused }: Notes, now: number): Promise<void> {
  const lastRefused = new Map<string, number>();
  for (const { keyHash, lastAt } of refused.values()) {
    lastRefused.set(keyHash, Math.max(lastRefused.get(keyHash) ?? -Infinity, lastAt));
  }
  const hashes = [...new Set([...accepted.keys(), ...verified.keys(), ...lastRefused.keys()])];
  const ages = (times: ReadonlyMap<string, number>): (number | null)[] =>
    hashes.map((hash) => {
      const at = times.get(hash);
      return at === undefined ? null : now - at;
    });
  await sql.query(
    {
      name: 'delivery-times',
      text: `WITH v AS (
               SELECT k.id, v.accepted, v.signed, v.verified, v.refused
               FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[], $5::float8[])
                 AS v(hash, accepted, signed, verified, refused)
               JOIN webhook_keys k ON k.key_hash = decode(v.hash, 'hex')
               ORDER BY k.key_hash FOR NO KEY UPDATE OF k
             )
             UPDATE webhook_keys k
             SET last_accepted_at = greatest(k.last_accepted_at, now() - v.accepted * interval '1 ms'),
                 last_signed_at = greatest(k.last_signed_at, now() - v.signed * interval '1 ms'),
                 verified_at = greatest(k.verified_at, now() - v.verified * interval '1 ms'),
                 last_refused_at = greatest(k.last_refused_at, now() - v.refused * interval '1 ms')
             FROM v WHERE k.id = v.id`,
    },
    [hashes, ages(accepted), ages(signed), ages(verified), ages(lastRefused)],
  );
}

async function storeRefusals(sql: Sql, refusals: readonly Refusals[], now: number): Promise<void> {
  if (refusals.length === 0) return;
  await sql.query(
    {
      name: 'delivery-refusals',
      text: `INSERT INTO webhook_log AS log (id, workspace_id, webhook_key_id, verdict, minute, count, received_at)
             SELECT (array_agg(v.id ORDER BY v.id))[1], k.workspace_id, k.id, v.verdict, date_trunc('minute', at.received),
                    sum(v.count), max(at.received)
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::float8[]) AS v(id, hash, verdict, count, age)
             JOIN webhook_keys k ON k.key_hash = decode(v.hash, 'hex')
             CROSS JOIN LATERAL (SELECT now() - v.age * interval '1 ms' AS received) at
             GROUP BY k.workspace_id, k.id, v.verdict, date_trunc('minute', at.received)
             ORDER BY k.id, v.verdict, date_trunc('minute', at.received)
             ON CONFLICT (webhook_key_id, verdict, minute)
             DO UPDATE SET count = log.count + excluded.count, received_at = greatest(log.received_at, excluded.received_at)`,
    },
    [
      refusals.map(() => newId()),
      refusals.map(({ keyHash }) => keyHash),
      refusals.map(({ verdict }) => verdict),
      refusals.map(({ count }) => count),
      refusals.map(({ lastAt }) => now - lastAt),
    ],
  );
}
