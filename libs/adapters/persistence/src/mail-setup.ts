import { type Sql } from './sql.ts';

/** Notes what this installation can do with mails. The notifier does it at its start; of several the last one counts. */
export async function noteMailSetup(
  sql: Sql,
  setup: { readonly canSend: boolean; readonly hasOperator: boolean },
): Promise<void> {
  await sql.query(
    `INSERT INTO mail_setup (can_send, has_operator) VALUES ($1, $2)
     ON CONFLICT (id) DO UPDATE SET can_send = excluded.can_send, has_operator = excluded.has_operator, noted_at = now()`,
    [setup.canSend, setup.hasOperator],
  );
}

/**
 * Why the owner of a chatbot would get no mail: `mail_not_configured` when there is no server for mails or nobody to send them to
 * (no address of the chatbot, of the workspace's owner or of the operator); null when mails go out.
 */
export async function mailProblem(
  sql: Sql,
  { workspaceId, chatbotId }: { readonly workspaceId: string; readonly chatbotId: string },
): Promise<'mail_not_configured' | null> {
  const [row] = await sql.query<{ reaches: boolean }>(
    `SELECT setup.can_send AND (setup.has_operator OR w.owner_email IS NOT NULL OR b.notify_emails <> '{}') AS reaches
     FROM workspaces w JOIN chatbots b ON b.workspace_id = w.id CROSS JOIN mail_setup setup
     WHERE w.id = $1 AND b.id = $2`,
    [workspaceId, chatbotId],
  );
  return row?.reaches ? null : 'mail_not_configured';
}
