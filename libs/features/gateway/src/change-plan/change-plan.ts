import { type changedPlanSchema, type Plan, planLimits, reachedPercent } from '@answerline/contracts';
import { addMail, Database, localCalendar, newId, type Transaction, warnOfQuota } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { settleChannelStates } from '../check-health/settle-channel-states.ts';
import { toWorkspace, WORKSPACE_COLUMNS, type WorkspaceRow } from '../create-workspace/create-workspace.ts';
import { notFound } from '../management-api/api-errors.ts';

/** Which channels the change of a plan has silenced or given back. */
type ChangedChannels = Pick<z.infer<typeof changedPlanSchema>, 'suspendedChannels' | 'resumedChannels'>;

/** Changes what a workspace has paid for. */
@Injectable()
export class ChangePlan {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * The new limits hold for the next turn. Without WhatsApp in the plan its channels are suspended: what comes is stored and not
   * answered, secrets are kept, and the owner is told; with it they answer again. Of a limit that is used up already the owner is
   * told too. Ring `mail`, `outbox` and `send` afterwards. Throws 404 when there is no such workspace.
   */
  async execute(workspaceId: string, plan: Plan): Promise<z.infer<typeof changedPlanSchema>> {
    return this.#database.transaction(async (sql) => {
      const [workspace] = await sql.query<WorkspaceRow>(
        `UPDATE workspaces SET plan = $2 WHERE id = $1 RETURNING ${WORKSPACE_COLUMNS}`,
        [workspaceId, plan],
      );
      if (!workspace) throw notFound();
      const channels = await settleChannels(sql, workspaceId);
      await settleQuota(sql, workspaceId, planLimits(plan).repliesPerMonth);
      return { workspace: toWorkspace(workspace), ...channels };
    });
  }
}

async function settleChannels(sql: Transaction, workspaceId: string): Promise<ChangedChannels> {
  const before = await sql.query<{ id: string; is_suspended: boolean }>(
    `SELECT id, state = 'suspended_by_plan' AS is_suspended FROM channels
     WHERE workspace_id = $1 AND type = 'whatsapp' AND state <> 'disconnected' ORDER BY id FOR NO KEY UPDATE`,
    [workspaceId],
  );
  const ids = before.map(({ id }) => id);
  await settleChannelStates(sql, ids, { now: Date.now() });
  const after = await sql.query<{ id: string; is_suspended: boolean }>(
    `UPDATE channels SET answers = state <> 'suspended_by_plan'
     WHERE id = ANY($1::uuid[]) AND (state = 'suspended_by_plan') <> (id = ANY($2::uuid[]))
     RETURNING id, NOT answers AS is_suspended`,
    [ids, before.filter((channel) => channel.is_suspended).map(({ id }) => id)],
  );
  const suspendedChannels = after.filter((channel) => channel.is_suspended).map(({ id }) => id);
  for (const channelId of suspendedChannels) {
    const dedupeKey = `channel_suspended:${channelId}:${newId()}`;
    addMail(sql, { workspaceId, kind: 'channel_suspended', about: { channelId }, dedupeKey });
  }
  return { suspendedChannels, resumedChannels: after.filter((channel) => !channel.is_suspended).map(({ id }) => id) };
}

/** The month's row takes the new limit, so that what was told about the old one is told anew. */
async function settleQuota(sql: Transaction, workspaceId: string, limit: number | null): Promise<void> {
  const [usage] = await sql.query<{ month: string; used: number }>(
    `UPDATE usage u SET "limit" = $2::int, warned_percent = 0
     FROM workspaces w CROSS JOIN LATERAL ${localCalendar('now()', 'w.time_zone')} AS local
     WHERE w.id = $1 AND u.workspace_id = w.id AND u.month = local.month AND u."limit" IS DISTINCT FROM $2
     RETURNING u.month, u.used`,
    [workspaceId, limit],
  );
  if (!usage || limit === null) return;
  const percent = reachedPercent(usage.used, limit);
  if (percent > 0) warnOfQuota(sql, { workspaceId, month: usage.month, percent, limit });
}
