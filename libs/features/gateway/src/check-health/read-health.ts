import { type ChannelHealth } from '@answerline/contracts';
import { ms, type Sql } from '@answerline/persistence';
import { type ChannelRecord } from './channel-facts.ts';
import { type CheckResult } from './check-result.ts';
import { daysUntil, decideChannelState } from './decide-channel-state.ts';
import { healthCode, reasonText } from './reason-texts.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Failed sends are told for this long; the state goes by those of the last day. */
const SEND_ERRORS_DAYS = 7;
/** Meta has some sixty codes. */
const MOST_SEND_ERRORS = 20;

/** The health of a channel as it is shown: the last run with its age, and the state by what is known at `now`. */
export async function readHealth(sql: Sql, record: ChannelRecord, now: number): Promise<ChannelHealth> {
  const { facts, check } = record;
  const { state, reasons } = decideChannelState(facts, now);
  const lastInboundAt = await readLastInbound(sql, record);
  return {
    channelId: record.id,
    state,
    answers: record.answers,
    unsigned: !facts.hasAppSecret,
    reasons: reasons.map((reason) => ({ ...reason, ...wordsOf(reason.code, check?.result) })),
    checkedAt: iso(check?.at ?? null),
    ageSeconds: secondsSince(check?.at ?? null, now),
    checks:
      check?.result.checks.map(({ check: name, status, code = null, message, action }) => ({
        check: name,
        status,
        code,
        message,
        action,
      })) ?? [],
    delivery: check === null ? null : toDelivery(check.result),
    webhookVerifiedAt: iso(facts.webhookVerifiedAt),
    lastSignedDeliveryAt: iso(facts.lastSignedAt),
    lastInboundAt: iso(lastInboundAt),
    lastInboundAgeSeconds: secondsSince(lastInboundAt, now),
    number: check?.result.number ?? null,
    token: check === null ? null : toToken(check.result, facts.tokenExpiresAt, now),
    sendErrors: await readSendErrors(sql, record, now),
  };
}

/** A check of the connection brings its own words along. */
function wordsOf(code: string, result: CheckResult | undefined): { message: string; action: string | null } {
  const check = result?.checks.find((one) => one.code === code);
  return check ? { message: check.message, action: check.action } : reasonText(code);
}

function toDelivery({ delivery }: CheckResult): ChannelHealth['delivery'] {
  return { ...delivery, ...reasonText(delivery.code ?? 'delivery_ok') };
}

function toToken({ tokenIssuedAt }: CheckResult, expiresAt: number | null, now: number): ChannelHealth['token'] {
  return {
    issuedAt: iso(tokenIssuedAt),
    ageDays: tokenIssuedAt === null ? null : Math.max(0, Math.floor((now - tokenIssuedAt) / DAY_MS)),
    expiresAt: iso(expiresAt),
    daysLeft: expiresAt === null ? null : daysUntil(expiresAt, now),
  };
}

async function readLastInbound(sql: Sql, { id, workspaceId }: ChannelRecord): Promise<number | null> {
  const [row] = await sql.query<{ at: number | null }>(
    `SELECT ${ms('max(last_inbound_at)')} AS at FROM conversations WHERE workspace_id = $1 AND channel_id = $2`,
    [workspaceId, id],
  );
  return row?.at ?? null;
}

async function readSendErrors(sql: Sql, { id }: ChannelRecord, now: number): Promise<ChannelHealth['sendErrors']> {
  const rows = await sql.query<{ code: string; count: number; last_at: number }>(
    `SELECT code, count(*)::int AS count, ${ms('max(coalesce(ended_at, started_at))')} AS last_at FROM attempts
     WHERE channel_id = $1 AND code IS NOT NULL
       AND started_at > to_timestamp(($2::float8 - ${String(SEND_ERRORS_DAYS * DAY_MS)}) / 1000)
     GROUP BY code ORDER BY last_at DESC LIMIT ${String(MOST_SEND_ERRORS)}`,
    [id, now],
  );
  return rows.map(({ code, count, last_at: lastAt }) => ({
    code: healthCode(code),
    count,
    lastAt: new Date(lastAt).toISOString(),
    ...reasonText(healthCode(code)),
  }));
}

const iso = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());

const secondsSince = (at: number | null, now: number): number | null =>
  at === null ? null : Math.max(0, Math.floor((now - at) / 1_000));
