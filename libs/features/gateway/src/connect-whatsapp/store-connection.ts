import { Transient } from '@answerline/errors';
import { newId, type Transaction } from '@answerline/persistence';
import { type SecretBox } from '@answerline/secrets';
import { type Connection, type PhoneNumberFacts } from '@answerline/whatsapp';
import { settleChannelStates } from '../check-health/settle-channel-states.ts';
import { type ClaimedKey } from './webhook-key-claim.ts';

/** A connection that Meta has confirmed. */
export interface ConfirmedConnection {
  readonly chatbotId: string;
  readonly connection: Connection;
  /** Undefined when the token may not read it: then what is known stays. */
  readonly phoneNumber: PhoneNumberFacts | undefined;
  readonly displayPhoneNumber: string | undefined;
  /** Undefined: not known. */
  readonly hasNumberOverride: boolean | undefined;
  /** Meta has verified the callback, or says that it is in force. */
  readonly isWebhookVerified: boolean;
  readonly now: number;
}

/** Whether a channel of another workspace has this number. */
export async function isNumberTaken(
  sql: Pick<Transaction, 'query'>,
  workspaceId: string,
  phoneNumberId: string,
): Promise<boolean> {
  const rows = await sql.query(
    `SELECT 1 FROM channels WHERE phone_number_id = $2 AND workspace_id <> $1 AND state <> 'disconnected'`,
    [workspaceId, phoneNumberId],
  );
  return rows.length > 0;
}

/**
 * Stores the connection and gives its key back, no draft any more. Returns the channel's id, or null when another workspace
 * has taken the number meanwhile. Throws Transient `connect_overtaken`.
 */
export async function storeConnection(
  sql: Transaction,
  secretBox: SecretBox,
  claim: ClaimedKey,
  confirmed: ConfirmedConnection,
): Promise<string | null> {
  // Held against a change of plan, which may have come while Meta was asked: then the channel is one that does not answer.
  await sql.query('SELECT FROM workspaces WHERE id = $1 FOR SHARE', [claim.workspaceId]);
  await storeKey(sql, secretBox, claim, confirmed);
  const channelId = await takeChannel(sql, claim.workspaceId, confirmed);
  if (channelId === null) return null;
  await storeChannel(sql, secretBox, claim, channelId, confirmed);
  await settleChannelStates(sql, [channelId], { now: confirmed.now });
  await sql.query(`UPDATE channels SET answers = false WHERE id = $1 AND state = 'suspended_by_plan'`, [channelId]);
  await releaseSends(sql, channelId);
  return channelId;
}

async function storeKey(
  sql: Transaction,
  secretBox: SecretBox,
  { id, workspaceId, until }: ClaimedKey,
  { connection: { appSecret }, isWebhookVerified }: ConfirmedConnection,
): Promise<void> {
  const place = { workspaceId, table: 'webhook_keys', rowId: id, column: 'app_secret_ciphertext' };
  const rows = await sql.query(
    `UPDATE webhook_keys
     SET is_draft = false, connecting_until = NULL, app_secret_ciphertext = coalesce($3, app_secret_ciphertext),
         verified_at = CASE WHEN $4 THEN now() ELSE verified_at END
     WHERE id = $1 AND connecting_until = $2::timestamptz RETURNING id`,
    [id, until, appSecret === undefined ? null : secretBox.seal(appSecret, place), isWebhookVerified],
  );
  if (rows.length === 0) throw new Transient('connect_overtaken', 'Another connect of this app has taken over.');
}

/** The id of the workspace's channel with this number, made if need be; null when it is another workspace's. */
async function takeChannel(
  sql: Transaction,
  workspaceId: string,
  { chatbotId, connection: { phoneNumberId } }: ConfirmedConnection,
): Promise<string | null> {
  // A number that is disconnected, here or elsewhere, is free; the row of our own is taken up again.
  await sql.query(
    `INSERT INTO channels (id, workspace_id, chatbot_id, type, state, phone_number_id)
     SELECT $1::uuid, $2::uuid, $3::uuid, 'whatsapp', 'draft', $4::text
     WHERE NOT EXISTS (SELECT 1 FROM channels WHERE workspace_id = $2 AND phone_number_id = $4)
     ON CONFLICT DO NOTHING`,
    [newId(), workspaceId, chatbotId, phoneNumberId],
  );
  // What another transaction took is there to be read: the insert waited for it.
  const rows = await sql.query<{ id: string; workspace_id: string; state: string }>(
    `SELECT id, workspace_id, state FROM channels WHERE phone_number_id = $1 ORDER BY id FOR NO KEY UPDATE`,
    [phoneNumberId],
  );
  if (rows.some(({ workspace_id: owner, state }) => owner !== workspaceId && state !== 'disconnected')) return null;
  const own = rows.find(({ workspace_id: owner }) => owner === workspaceId);
  if (!own) throw new Transient('database_conflict', 'The channel has just gone.');
  return own.id;
}

/** Meta, "Throughput": 80 messages a second, 1,000 after an upgrade, 20 beside the WhatsApp Business app. */
function messagesPerSecond(number: PhoneNumberFacts | undefined): number | null {
  if (number === undefined) return null;
  if (number.isOnBizApp === true) return 20;
  return number.throughputLevel === 'HIGH' ? 1_000 : 80;
}

async function storeChannel(
  sql: Transaction,
  secretBox: SecretBox,
  { id: keyId, workspaceId }: ClaimedKey,
  channelId: string,
  { chatbotId, connection, phoneNumber, displayPhoneNumber, hasNumberOverride }: ConfirmedConnection,
): Promise<void> {
  const place = { workspaceId, table: 'channels', rowId: channelId, column: 'access_token_ciphertext' };
  await sql.query(
    `UPDATE channels
     SET chatbot_id = $2, webhook_key_id = $3, state = 'validated', answers = true, waba_id = $4,
         display_phone_number = coalesce($5, display_phone_number), verified_name = coalesce($6, verified_name),
         quality_rating = coalesce($7, quality_rating), throughput_level = coalesce($8, throughput_level),
         is_on_biz_app = coalesce($9, is_on_biz_app), messages_per_second = coalesce($10, messages_per_second),
         has_number_override = coalesce($11, has_number_override), access_token_ciphertext = $12, send_hold_code = NULL
     WHERE id = $1`,
    [
      channelId,
      chatbotId,
      keyId,
      connection.wabaId,
      phoneNumber?.displayPhoneNumber ?? displayPhoneNumber ?? null,
      phoneNumber?.verifiedName ?? null,
      phoneNumber?.qualityRating ?? null,
      phoneNumber?.throughputLevel ?? null,
      phoneNumber?.isOnBizApp ?? null,
      messagesPerSecond(phoneNumber),
      hasNumberOverride ?? null,
      secretBox.seal(connection.accessToken, place),
    ],
  );
}

/** What waited for working credentials is due now; the fact `reconnected` of the send rules. In id order, as all lock sends. */
async function releaseSends(sql: Transaction, channelId: string): Promise<void> {
  await sql.query(
    `WITH waiting AS (
       SELECT id FROM sends WHERE channel_id = $1 AND phase = 'retry' AND due_at IS NULL ORDER BY id FOR NO KEY UPDATE
     )
     UPDATE sends s SET due_at = now(), retrying_since = NULL FROM waiting WHERE s.id = waiting.id`,
    [channelId],
  );
}
