import { type Sql } from '@answerline/persistence';
import { type SecretBox } from '@answerline/secrets';
import { type Connection } from '@answerline/whatsapp';
import { CREDENTIALS_HASH } from './channel-facts.ts';
import { CALLABLE } from './claim-checks.ts';

/** What the checks of a channel are made with. */
export interface Credentials extends Connection {
  readonly channelId: string;
  readonly workspaceId: string;
  /** As in the record of the channel: whether they are still those, when the checks are over. */
  readonly hash: string;
  readonly callbackUrl: string;
}

interface Row {
  workspace_id: string;
  hash: string;
  app_id: string;
  waba_id: string;
  phone_number_id: string;
  access_token_ciphertext: string;
  key_id: string;
  key_ciphertext: string;
  app_secret_ciphertext: string | null;
}

/** The credentials of a channel; null when it has none, or is being switched off. Throws SecretUnreadable. */
export async function openCredentials(
  sql: Sql,
  secretBox: SecretBox,
  publicUrl: string,
  channelId: string,
): Promise<Credentials | null> {
  const [row] = await sql.query<Row>(
    `SELECT c.workspace_id, ${CREDENTIALS_HASH} AS hash, k.app_id, c.waba_id, c.phone_number_id, c.access_token_ciphertext,
            k.id AS key_id, k.key_ciphertext, k.app_secret_ciphertext
     FROM channels c JOIN webhook_keys k ON k.workspace_id = c.workspace_id AND k.id = c.webhook_key_id
     WHERE c.id = $1 AND c.access_token_ciphertext IS NOT NULL AND ${CALLABLE}`,
    [channelId],
  );
  if (!row) return null;
  const { workspace_id: workspaceId, key_id: keyId, app_secret_ciphertext: appSecret } = row;
  const open = (ciphertext: string, table: string, rowId: string, column: string): string =>
    secretBox.open(ciphertext, { workspaceId, table, rowId, column });
  return {
    channelId,
    workspaceId,
    hash: row.hash,
    appId: row.app_id,
    wabaId: row.waba_id,
    phoneNumberId: row.phone_number_id,
    accessToken: open(row.access_token_ciphertext, 'channels', channelId, 'access_token_ciphertext'),
    appSecret: appSecret === null ? undefined : open(appSecret, 'webhook_keys', keyId, 'app_secret_ciphertext'),
    callbackUrl: `${publicUrl}/webhooks/whatsapp/${open(row.key_ciphertext, 'webhook_keys', keyId, 'key_ciphertext')}`,
  };
}
