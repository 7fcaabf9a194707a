import { createHash } from 'node:crypto';
import { newId, type Sql } from '@answerline/persistence';
import { type Fingerprints } from '@answerline/secrets';
import { type WebhookItem } from '@answerline/whatsapp';
import { channelKey, findChannels } from './find-channels.ts';
import { findDeleted } from './find-deleted.ts';
import { keptJson } from './kept-json.ts';
import { type WebhookBody } from './read-delivery.ts';

/**
 * Keeps an item that could not be stored: its JSON (see {@link keptJson}), type `unparsed`, in no conversation. Its key is
 * the sha256 of that JSON, because its own id may be what went wrong. Without a channel there is no tenant to keep it for.
 *
 * @returns what the item counts as
 */
export async function storeUnparsed(
  sql: Sql,
  fingerprints: Fingerprints,
  body: WebhookBody,
  item: WebhookItem,
): Promise<'unparsed' | 'repeated' | 'unknownNumber' | 'droppedDisconnected' | 'droppedDeleted'> {
  const channels = await findChannels(sql, [{ body, item }]);
  const channel = channels.get(channelKey(body.keyId, item.phoneNumberId ?? ''));
  if (!channel) return 'unknownNumber';
  if (channel.isDisconnected) return 'droppedDisconnected';
  if ((await findDeleted(sql, fingerprints, [{ body, item }])).size > 0) return 'droppedDeleted';
  const raw = keptJson(item.raw);
  const inserted = await sql.query(
    `INSERT INTO messages (id, workspace_id, channel_id, direction, author, type, provider_message_id, sent_at, place, received_at, raw)
     VALUES ($1, $2, $3, 'inbound', 'contact', 'unparsed', $4, now(), $5, now(), $6::json)
     ON CONFLICT (channel_id, provider_message_id) DO NOTHING RETURNING id`,
    [newId(), channel.workspaceId, channel.id, createHash('sha256').update(raw).digest('hex'), item.place, raw],
  );
  return inserted.length > 0 ? 'unparsed' : 'repeated';
}
