import { type ChannelHealth } from '@answerline/contracts';
import { type MessageBus } from '@answerline/messaging';
import { addMail, addToOutbox, newId, toOutboxEvent, type Database, type Transaction } from '@answerline/persistence';
import { type SecretBox } from '@answerline/secrets';
import { checkConnection, type ConnectionReport, type GraphManagement } from '@answerline/whatsapp';
import { waitUntil } from '../calls-under-way.ts';
import { notFound, RefusedRequest } from '../management-api/api-errors.ts';
import { readChannelRecords, type ChannelRecord } from './channel-facts.ts';
import { claimDueChecks, claimRequestedCheck, giveBackCheck } from './claim-checks.ts';
import { hasTokenVerdict, lastWords, refusedCredentials, toCheckResult, type CheckResult } from './check-result.ts';
import { decideAlarms, type Alarm } from './decide-alarms.ts';
import { decideChannelState } from './decide-channel-state.ts';
import { openCredentials, type Credentials } from './open-credentials.ts';
import { readHealth } from './read-health.ts';
import { sendSelfTest } from './send-self-test.ts';
import { isSettled, settleChannelStates, storeState } from './settle-channel-states.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
/** The next run comes up to this much before a day is over: what was late together parts, and no day is left out. */
const SPREAD_MS = 60 * 60 * 1_000;
/** Ingest reads a delivery within milliseconds; with statuses that wait for each other, within 100. */
const READ_WITHIN_MS = 3_000;

export interface CheckHealthOptions {
  readonly publicUrl: string;
  /** How long a delivery of our own may wait to be read; 3 s unless told. */
  readonly readWithinMs?: number;
}

/**
 * Runs all checks of a channel: what Meta says of its credentials, number and webhook, and a signed delivery of our own
 * through the public address. Stores the result, settles the channel's state by it and raises the alarms that are due. It
 * changes nothing at Meta, and a channel that is broken goes on receiving.
 */
export class CheckHealth {
  readonly #database: Database;
  readonly #bus: MessageBus;
  readonly #secretBox: SecretBox;
  readonly #graph: GraphManagement;
  readonly #options: CheckHealthOptions;
  readonly #now: () => number;

  /** @param now ms since 1970: what is due and what has expired goes by it */
  constructor(
    database: Database,
    bus: MessageBus,
    secretBox: SecretBox,
    graph: GraphManagement,
    options: CheckHealthOptions,
    now: () => number = Date.now,
  ) {
    this.#database = database;
    this.#bus = bus;
    this.#secretBox = secretBox;
    this.#graph = graph;
    this.#options = options;
    this.#now = now;
  }

  /**
   * Runs the checks because somebody asks, at most once a minute and channel.
   *
   * @throws RefusedRequest 404; 409 `channel_not_connected`; 429 `checked_a_moment_ago`
   */
  async request(workspaceId: string, channelId: string): Promise<ChannelHealth> {
    const record = await this.#find(workspaceId, channelId);
    if (record.facts.lifecycle !== 'connected') {
      throw new RefusedRequest(
        'channel_not_connected',
        'Only a connected channel can be checked: connect the number again first.',
        409,
      );
    }
    await claimRequestedCheck(this.#database, record, this.#now());
    await this.run(channelId);
    return this.read(workspaceId, channelId);
  }

  /**
   * The last result, and the state by what is known now. A stored state that time has overtaken (an expiry, wrong signatures) is
   * brought in line, so that the channel shows the same elsewhere. Throws 404.
   */
  async read(workspaceId: string, channelId: string): Promise<ChannelHealth> {
    const record = await this.#find(workspaceId, channelId);
    const now = this.#now();
    if (!isSettled(record, decideChannelState(record.facts, now))) {
      await this.#database.transaction((sql) => settleChannelStates(sql, [channelId], { now }));
    }
    return readHealth(this.#database, record, now);
  }

  /** Channels to check now, at most `limit`; see `claimDueChecks`. */
  async claimDue(limit: number): Promise<string[]> {
    return claimDueChecks(this.#database, limit, this.#now());
  }

  /**
   * Runs the checks and stores what they came to; nothing when the channel was disconnected or connected anew meanwhile.
   *
   * @throws Transient while Postgres is away
   */
  async run(channelId: string): Promise<void> {
    const credentials = await openCredentials(this.#database, this.#secretBox, this.#options.publicUrl, channelId);
    if (credentials === null) return giveBackCheck(this.#database, channelId);
    const { callbackUrl, appSecret } = credentials;
    const [report, delivery] = await Promise.all([
      // A token about to expire is told by its days left.
      checkConnection(this.#graph, credentials, { callbackUrl, acceptExpiring: true, now: this.#now }),
      sendSelfTest(callbackUrl, appSecret),
    ]);
    const isRead = delivery.hop === null && (await this.#isRead(credentials.workspaceId, delivery.bodySha256));
    const alarms = await this.#database.transaction((sql) =>
      this.#store(sql, credentials, toCheckResult(report, delivery, isRead), report),
    );
    if (alarms.length > 0) {
      this.#bus.ring('outbox');
      this.#bus.ring('mail');
    }
  }

  async #find(workspaceId: string, channelId: string): Promise<ChannelRecord> {
    const [record] = await readChannelRecords(this.#database, [channelId], { now: this.#now() });
    if (record?.workspaceId !== workspaceId) throw notFound();
    return record;
  }

  /** Whether ingest has written down the delivery of our own: until then anybody may have answered 200. */
  async #isRead(workspaceId: string, bodySha256: string): Promise<boolean> {
    const isRead = async (): Promise<boolean> => {
      const rows = await this.#database.query(
        `SELECT 1 FROM webhook_log WHERE workspace_id = $1 AND body_sha256 = $2 LIMIT 1`,
        [workspaceId, bodySha256],
      );
      return rows.length > 0;
    };
    return waitUntil(isRead, this.#options.readWithinMs ?? READ_WITHIN_MS);
  }

  async #store(
    sql: Transaction,
    credentials: Credentials,
    result: CheckResult,
    report: ConnectionReport,
  ): Promise<Alarm[]> {
    const { channelId } = credentials;
    const now = this.#now();
    const [before] = await readChannelRecords(sql, [channelId], { now, lock: true });
    if (before?.facts.lifecycle !== 'connected' || before.credentialsHash !== credentials.hash) {
      await giveBackCheck(sql, channelId);
      return [];
    }
    const checks = lastWords(result.checks, before.check?.result.checks ?? []);
    const { alarms, alarmed } = decideAlarms(
      {
        alarmed: before.alarmed,
        refused: refusedCredentials(checks),
        isConclusive: hasTokenVerdict(result.checks),
        tokenExpiresAt: expiryOf(report, before),
      },
      now,
    );
    await sql.query(
      `INSERT INTO channel_health AS h (channel_id, workspace_id, due_at, checked_at, credentials_hash, hold_code, result,
                                        token_expires_at, alarmed)
       SELECT c.id, c.workspace_id, to_timestamp($2::float8 / 1000), to_timestamp($3::float8 / 1000), $4, c.send_hold_code, $5,
              to_timestamp($6::float8 / 1000), $7
       FROM channels c WHERE c.id = $1
       ON CONFLICT (channel_id) DO UPDATE
       SET due_at = excluded.due_at, checked_at = excluded.checked_at, credentials_hash = excluded.credentials_hash,
           hold_code = excluded.hold_code, result = excluded.result, token_expires_at = excluded.token_expires_at,
           alarmed = excluded.alarmed, lease_until = NULL`,
      [
        channelId,
        now + DAY_MS - Math.random() * SPREAD_MS,
        now,
        credentials.hash,
        JSON.stringify({ ...result, checks }),
        expiryOf(report, before),
        alarmed,
      ],
    );
    for (const alarm of alarms) raise(sql, credentials, alarm, now);
    for (const record of await readChannelRecords(sql, [channelId], { now })) {
      storeState(sql, record, decideChannelState(record.facts, now));
    }
    return alarms;
  }
}

/** What Meta says now; else what it said last of the same token. */
function expiryOf({ token }: ConnectionReport, before: ChannelRecord): number | null {
  return token === undefined ? before.facts.tokenExpiresAt : (token.expiresAt?.getTime() ?? null);
}

function raise(sql: Transaction, { workspaceId, channelId }: Credentials, alarm: Alarm, occurredAt: number): void {
  const rowId = newId();
  const data = { channelId, code: alarm.code, daysLeft: alarm.daysLeft };
  addToOutbox(sql, [
    toOutboxEvent('channel_alarm', { rowId, workspaceId, channelId, conversationId: null, occurredAt, data }),
  ]);
  addMail(sql, { workspaceId, kind: 'channel_alarm', about: data, dedupeKey: `channel_alarm:${rowId}` });
}
