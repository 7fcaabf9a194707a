import { SEND_TIMEOUT_MS } from '@answerline/mail';
import { type Database, type MailKind } from '@answerline/persistence';

/** Twice what a mail may take: its outcome is to be stored too. Whoever is silent for longer is gone. */
const LEASE_MS = 2 * SEND_TIMEOUT_MS;

/** A mail that is to be sent now. */
export interface ClaimedMail {
  readonly id: string;
  readonly workspaceId: string;
  readonly kind: MailKind;
  /** As {@link addMail} stored it; read with care, another version may have. */
  readonly about: unknown;
  readonly createdAt: Date;
  readonly fence: number;
  /** 1 at the first try. */
  readonly tries: number;
}

/** How a try ended. */
export type MailEnd =
  | { readonly state: 'sent'; readonly code: string | null }
  | { readonly state: 'failed'; readonly code: string }
  | { readonly state: 'again'; readonly code: string; readonly inMs: number }
  /** Nobody tried: it is due as before. */
  | { readonly state: 'given_back' };

/**
 * Takes up to `limit` due mails, so that nobody else does. Of a workspace only the oldest that is due, and none while another of it is
 * under way: an owner gets them in order, and one workspace cannot hold up the others.
 */
export async function claimMails(database: Database, limit: number): Promise<ClaimedMail[]> {
  const rows = await database.query<{
    id: string;
    workspace_id: string;
    kind: MailKind;
    about: unknown;
    created_at: Date;
    fence: number;
    tries: number;
  }>(
    {
      name: 'claim-mails',
      text: `UPDATE mails AS m
             SET fence = m.fence + 1, tries = m.tries + 1, lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
             FROM (SELECT id FROM mails AS d
                   WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
                     AND NOT EXISTS (SELECT 1 FROM mails AS o
                                     WHERE o.workspace_id = d.workspace_id AND o.due_at IS NOT NULL AND o.id <> d.id
                                       AND (o.lease_until > now() OR (o.due_at <= now() AND (o.due_at, o.id) < (d.due_at, d.id))))
                   ORDER BY due_at, id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED) AS due
             WHERE m.id = due.id
             RETURNING m.id, m.workspace_id, m.kind, m.about, m.created_at, m.fence, m.tries`,
    },
    [limit, LEASE_MS],
  );
  return rows.map(({ workspace_id: workspaceId, created_at: createdAt, ...row }) => ({
    ...row,
    workspaceId,
    createdAt,
  }));
}

/** Stores how a try ended. False when somebody else has the mail by now, whose word counts. */
export async function endMail(database: Database, mail: ClaimedMail, end: MailEnd): Promise<boolean> {
  const rows = await database.query(
    {
      name: 'end-mail',
      text: `UPDATE mails
             SET lease_until = NULL,
                 state = CASE WHEN $3 IN ('sent', 'failed') THEN $3 ELSE state END,
                 error_code = CASE WHEN $3 = 'given_back' THEN error_code ELSE $4 END,
                 sent_at = CASE WHEN $3 = 'sent' THEN clock_timestamp() END,
                 tries = CASE WHEN $3 = 'given_back' THEN tries - 1 ELSE tries END,
                 due_at = CASE $3 WHEN 'again' THEN clock_timestamp() + $5::float8 * interval '1 millisecond'
                                  WHEN 'given_back' THEN due_at END
             WHERE id = $1 AND fence = $2 AND state = 'pending' RETURNING id`,
    },
    [mail.id, mail.fence, end.state, 'code' in end ? end.code : null, 'inMs' in end ? end.inMs : null],
  );
  return rows.length > 0;
}

/** Nobody wants to read last week's alarms on the day on which a server for mails is set. */
const WAIT_DAYS = 7;

/**
 * Where no server for mails is set: marks the mails that wait with `mail_not_configured`, and gives up those that are a week old. They
 * stay due, so that they go out when there is a server.
 */
export async function markWaitingMails(database: Database): Promise<number> {
  const rows = await database.query(
    `UPDATE mails SET error_code = 'mail_not_configured',
            state = CASE WHEN old THEN 'failed' ELSE state END, due_at = CASE WHEN NOT old THEN due_at END
     FROM (SELECT id AS waiting, created_at < now() - $1::int * interval '1 day' AS old FROM mails
           WHERE due_at IS NOT NULL AND (lease_until IS NULL OR lease_until <= now())) AS w
     WHERE id = waiting AND (old OR error_code IS DISTINCT FROM 'mail_not_configured') RETURNING id`,
    [WAIT_DAYS],
  );
  return rows.length;
}
