import { type Sql, type Transaction } from '@answerline/persistence';
import { type WebhookItem } from '@answerline/whatsapp';
import { type ItemChannel } from './plan-items.ts';
import { type WebhookBody } from './read-delivery.ts';

/** Channels by key and phone number id; see {@link channelKey}. */
export type Channels = ReadonlyMap<string, ItemChannel>;

/** A channel is found by Meta's phone number id among those of the webhook key, never by the displayed number (META 2). */
export function channelKey(keyId: string, phoneNumberId: string): string {
  return `${keyId} ${phoneNumberId}`;
}

/** The channels that the bodies name. Numbers that this key does not have are left out. */
export async function findChannels(
  sql: Sql,
  entries: readonly { readonly body: WebhookBody; readonly item: WebhookItem }[],
): Promise<Channels> {
  const keyIds = new Set(entries.map(({ body }) => body.keyId));
  const phoneNumberIds = new Set(entries.map(({ item }) => item.phoneNumberId).filter((id) => id !== undefined));
  const rows = await sql.query<{
    id: string;
    workspace_id: string;
    webhook_key_id: string;
    phone_number_id: string;
    is_heard: boolean;
    is_disconnected: boolean;
  }>(
    {
      name: 'find-channels',
      text: `SELECT c.id, c.workspace_id, c.webhook_key_id, c.phone_number_id,
                    c.heard_key_id IS NOT DISTINCT FROM c.webhook_key_id AS is_heard,
                    c.state = 'disconnected' AS is_disconnected
             FROM channels c
             WHERE c.webhook_key_id = ANY($1::uuid[]) AND c.phone_number_id = ANY($2::text[])`,
    },
    [[...keyIds], [...phoneNumberIds]],
  );
  return new Map(
    rows.map((row) => [
      channelKey(row.webhook_key_id, row.phone_number_id),
      { id: row.id, workspaceId: row.workspace_id, isHeard: row.is_heard, isDisconnected: row.is_disconnected },
    ]),
  );
}

/** Notes that an event of these channels has come, through the key that they have now: what was missing for them to be live. */
export function noteHeard(sql: Transaction, channels: Iterable<ItemChannel>): void {
  const ids = new Set([...channels].filter(({ isHeard }) => !isHeard).map(({ id }) => id));
  if (ids.size === 0) return;
  sql.write(
    `WITH heard AS (SELECT id FROM channels WHERE id = ANY($1::uuid[]) AND state <> 'disconnected' ORDER BY id FOR NO KEY UPDATE)
     UPDATE channels c SET heard_key_id = c.webhook_key_id, heard_at = now() FROM heard WHERE c.id = heard.id`,
    [[...ids]],
  );
}
