import { META_BILLS_NOTE, planLimits, type usageSchema } from '@answerline/contracts';
import { Database, localCalendar } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';

type Usage = z.infer<typeof usageSchema>;
type MetaUsage = Usage['meta'][number];

interface MonthRow {
  plan: string;
  time_zone: string;
  month: string;
  month_started_at: Date;
  month_ends_at: Date;
  used: number;
  by_channel: Usage['messages']['byChannel'] | null;
  input_tokens: number;
  output_tokens: number;
  cost_micros: number | null;
  tokens_today: number;
}

interface DeliveredRow {
  phone_number_id: string;
  /** Null where Meta has not said it. */
  type: string | null;
  category: string | null;
  messages: number;
}

/** Meta tries to deliver a message for so long: what is read now and was not sent since then was delivered in another month. */
const DELIVERED_WITHIN_DAYS = 30;

/** What a workspace has used this month. */
@Injectable()
export class ReadUsage {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Throws 404 when the workspace is gone. */
  async execute(workspaceId: string): Promise<Usage> {
    const [row] = await this.#database.query<MonthRow>(monthSql, [workspaceId]);
    if (!row) throw notFound();
    const limits = planLimits(row.plan);
    return {
      month: row.month,
      timeZone: row.time_zone,
      messages: { used: row.used, limit: limits.repliesPerMonth, byChannel: row.by_channel ?? [] },
      tokens: {
        input: row.input_tokens,
        output: row.output_tokens,
        costMicros: row.cost_micros,
        today: {
          used: row.tokens_today,
          limit: limits.tokensPerDay.workspace,
          limitPerContact: limits.tokensPerDay.contact,
        },
      },
      meta: await this.#metaUsage(workspaceId, row),
      note: META_BILLS_NOTE,
    };
  }

  async #metaUsage(
    workspaceId: string,
    { month_started_at: from, month_ends_at: until }: MonthRow,
  ): Promise<MetaUsage[]> {
    const rows = await this.#database.query<DeliveredRow>(deliveredSql, [
      workspaceId,
      from,
      until,
      DELIVERED_WITHIN_DAYS,
    ]);
    const byNumber = Map.groupBy(rows, ({ phone_number_id: phoneNumberId }) => phoneNumberId);
    return [...byNumber].map(([phoneNumberId, priced]) => toMetaUsage(phoneNumberId, priced));
  }
}

/** Meta's types are `regular`, which it charges for, and several that begin with `free` (Cloud API, status messages webhook). */
function toMetaUsage(phoneNumberId: string, rows: readonly DeliveredRow[]): MetaUsage {
  const count = (which: (row: DeliveredRow) => boolean): number =>
    rows.filter(which).reduce((sum, { messages }) => sum + messages, 0);
  const delivered = count(() => true);
  const free = count(({ type }) => type?.startsWith('free') === true);
  const billable = count(({ type }) => type === 'regular');
  const categories = [...new Set(rows.map(({ category }) => category))].filter((category) => category !== null);
  const byCategory = Object.fromEntries(categories.map((one) => [one, count(({ category }) => category === one)]));
  return { phoneNumberId, delivered, free, billable, byCategory, unknown: delivered - free - billable };
}

const monthSql = `
  SELECT w.plan, w.time_zone, local.month, local.month_started_at, local.month_ends_at, coalesce(u.used, 0) AS used,
         (SELECT json_agg(json_build_object('channelId', channel_id, 'used', used) ORDER BY used DESC, channel_id)
          FROM (SELECT channel_id, sum(sign)::int AS used FROM usage_entries
                WHERE workspace_id = w.id AND month = local.month GROUP BY channel_id) AS channel) AS by_channel,
         coalesce(spent.input_tokens, 0)::float8 AS input_tokens, coalesce(spent.output_tokens, 0)::float8 AS output_tokens,
         spent.cost_micros::float8 AS cost_micros, coalesce(spent.today, 0)::float8 AS tokens_today
  FROM workspaces w
  CROSS JOIN LATERAL ${localCalendar('now()', 'w.time_zone')} AS local
  LEFT JOIN usage u ON u.workspace_id = w.id AND u.month = local.month
  CROSS JOIN LATERAL (
    SELECT sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost_micros) AS cost_micros,
           sum(input_tokens + output_tokens) FILTER (WHERE day = local.day) AS today
    FROM token_usage WHERE workspace_id = w.id AND day BETWEEN local.month || '-01' AND local.month || '-31'
  ) AS spent
  WHERE w.id = $1`;

/**
 * Messages that arrived in the month: the first status that says so is of the month. Read implies delivered, which may never come; the
 * price stands at any of a message's statuses, and sometimes at two (Cloud API, status messages webhook).
 */
const deliveredSql = `
  WITH message AS (
    SELECT channel_id, provider_message_id,
           min(at) FILTER (WHERE status IN ('delivered', 'read', 'played')) AS arrived_at,
           bool_or(status IN ('sent', 'delivered')) AS is_recent,
           (array_agg(pricing ORDER BY at DESC, id DESC) FILTER (WHERE pricing IS NOT NULL))[1] AS pricing
    FROM statuses
    WHERE workspace_id = $1 AND at >= $2::timestamptz - $4::int * interval '1 day' AND at < $3::timestamptz
    GROUP BY channel_id, provider_message_id
  )
  SELECT ch.phone_number_id, m.pricing ->> 'type' AS type, m.pricing ->> 'category' AS category, count(*)::int AS messages
  FROM message m JOIN channels ch ON ch.id = m.channel_id
  WHERE m.arrived_at >= $2 AND m.is_recent AND ch.phone_number_id IS NOT NULL
  GROUP BY 1, 2, 3 ORDER BY 1`;
