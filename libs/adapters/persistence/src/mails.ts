import { newId } from './ids.ts';
import { type Transaction } from './sql.ts';

/**
 * What a mail to an owner is about, by kind. Ids and codes only: the words are made when it is sent.
 *
 * - `handoff`: a contact asked for a human
 * - `quota`: `percent` of the month's replies are used (80 or 100)
 * - `channel_alarm`: `code` of the check that failed, or of an expiry with the `daysLeft` until it
 * - `channel_suspended`: a plan without WhatsApp
 */
export interface MailSubjects {
  readonly handoff: { readonly conversationId: string };
  readonly quota: { readonly month: string; readonly percent: number };
  readonly channel_alarm: { readonly channelId: string; readonly code: string; readonly daysLeft: number | null };
  readonly channel_suspended: { readonly channelId: string };
}

export type MailKind = keyof MailSubjects;

/** A mail to be sent after the transaction that made it true. */
export interface MailRequest<Kind extends MailKind = MailKind> {
  readonly workspaceId: string;
  readonly kind: Kind;
  readonly about: MailSubjects[Kind];
  /** In a workspace there is one mail with this key, whatever is repeated: `handoff:<turn>`, `quota:2026-11:80`. */
  readonly dedupeKey: string;
}

/** Stores a mail with the transaction of `sql`; ring the doorbell `mail` after the commit. */
export function addMail<Kind extends MailKind>(sql: Transaction, mail: MailRequest<Kind>): void {
  sql.write(
    {
      name: 'add-mail',
      text: `INSERT INTO mails (id, workspace_id, kind, about, dedupe_key) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (workspace_id, dedupe_key) DO NOTHING`,
    },
    [newId(), mail.workspaceId, mail.kind, JSON.stringify(mail.about), mail.dedupeKey],
  );
}
