import { newId } from './ids.ts';
import { addMail } from './mails.ts';
import { addToOutbox, toOutboxEvent } from './outbox.ts';
import { type Transaction } from './sql.ts';

/** A share of the month's replies that is used. */
export interface QuotaWarning {
  readonly workspaceId: string;
  /** As 2026-11. */
  readonly month: string;
  readonly percent: number;
  readonly limit: number;
}

/**
 * Tells the owner by mail and the other tools by event, and notes that this share was told. The caller holds the lock of the
 * month's row of usage and has seen that its `warned_percent` is lower.
 */
export function warnOfQuota(sql: Transaction, { workspaceId, month, percent, limit }: QuotaWarning): void {
  sql.write('UPDATE usage SET warned_percent = $3 WHERE workspace_id = $1 AND month = $2', [
    workspaceId,
    month,
    percent,
  ]);
  addToOutbox(sql, [
    toOutboxEvent('quota_reached', {
      rowId: newId(),
      workspaceId,
      channelId: null,
      conversationId: null,
      data: { month, percent, limit },
    }),
  ]);
  // With another limit, after a change of plan, the same share is news again.
  const dedupeKey = `quota:${month}:${String(percent)}:${String(limit)}`;
  addMail(sql, { workspaceId, kind: 'quota', about: { month, percent }, dedupeKey });
}
