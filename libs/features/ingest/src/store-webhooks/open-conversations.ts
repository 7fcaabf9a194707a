import { newId, type Sql, type Transaction } from '@answerline/persistence';
import { type PlannedAddressChange, type PlannedMessage } from './plan-items.ts';
import { resolveContacts, type ResolvedParty } from './resolve-contacts.ts';
import { type PlacedMessage } from './placed-message.ts';

/** Finds the conversation of each message, or begins it: one contact on one channel. */
export async function openConversations(
  sql: Transaction,
  messages: readonly PlannedMessage[],
  parties: readonly ResolvedParty[],
): Promise<PlacedMessage[]> {
  if (messages.length === 0) return [];
  const missing = new Map<string, { channelId: string; workspaceId: string; contactId: string }>();
  const ids = new Map<string, string>();
  const keys = messages.map(({ channel }, place) => {
    const { contactId = '', conversationIds } = parties[place] ?? {};
    const key = `${channel.id} ${contactId}`;
    const known = conversationIds?.get(channel.id);
    if (known === undefined) missing.set(key, { channelId: channel.id, workspaceId: channel.workspaceId, contactId });
    else ids.set(key, known);
    return key;
  });
  if (missing.size > 0) {
    const begun = [...missing.values()];
    sql.write(
      `INSERT INTO conversations (id, workspace_id, channel_id, contact_id)
       SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[])
       ON CONFLICT (channel_id, contact_id) DO NOTHING`,
      [
        begun.map(() => newId()),
        begun.map(({ workspaceId }) => workspaceId),
        begun.map(({ channelId }) => channelId),
        begun.map(({ contactId }) => contactId),
      ],
    );
    for (const [key, id] of await findConversations(sql, begun)) ids.set(key, id);
  }
  return messages.flatMap((message, place) => {
    const conversationId = ids.get(keys[place] ?? '');
    const party = parties[place];
    return conversationId && party ? [{ message, party, conversationId }] : [];
  });
}

async function findConversations(
  sql: Sql,
  wanted: readonly { channelId: string; contactId: string }[],
): Promise<Map<string, string>> {
  const rows = await sql.query<{ id: string; channel_id: string; contact_id: string }>(
    {
      name: 'find-conversations',
      text: `SELECT c.id, c.channel_id, c.contact_id
             FROM unnest($1::uuid[], $2::uuid[]) AS w(channel_id, contact_id) JOIN conversations c USING (channel_id, contact_id)`,
    },
    [wanted.map(({ channelId }) => channelId), wanted.map(({ contactId }) => contactId)],
  );
  return new Map(rows.map((row) => [`${row.channel_id} ${row.contact_id}`, row.id]));
}

/** New numbers and user ids: they become the contact's, and conversations that replied to the old one reply to the new one. */
export async function changeAddresses(sql: Transaction, changes: readonly PlannedAddressChange[]): Promise<void> {
  if (changes.length === 0) return;
  const known = await sql.query<{ workspace_id: string; kind: string; value: string; id: string }>(
    `SELECT i.workspace_id, i.kind, i.value, i.id
     FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w(workspace_id, kind, value)
     JOIN contact_identities i USING (workspace_id, kind, value)`,
    [
      changes.map(({ party }) => party.workspaceId),
      changes.map(({ previous }) => previous.kind),
      changes.map(({ previous }) => previous.value),
    ],
  );
  // Of somebody who never wrote there is nothing to change.
  for (const { party, previous } of changes) {
    const old = known.find(
      (row) => row.workspace_id === party.workspaceId && row.kind === previous.kind && row.value === previous.value,
    );
    if (!old) continue;
    const [resolved] = await resolveContacts(sql, [party]);
    sql.write(
      `UPDATE conversations SET reply_to_identity_id = $1 WHERE workspace_id = $2 AND reply_to_identity_id = $3`,
      [resolved?.replyToIdentityId, party.workspaceId, old.id],
    );
  }
}
