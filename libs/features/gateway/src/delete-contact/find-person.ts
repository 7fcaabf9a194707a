import { type Sql } from '@answerline/persistence';

/** A contact, with all that belongs to the same person. */
export interface Person {
  /** The contact first; more where an address of another contact turned out to be theirs. */
  readonly contactIds: readonly string[];
  readonly identities: readonly { readonly kind: string; readonly value: string; readonly match_key: string }[];
  readonly conversationIds: readonly string[];
}

/**
 * The contact, and the contacts whose last address has moved to it: they are the same person, and their conversations stayed
 * with them. With `lock` they cannot go or get conversations and addresses meanwhile. Null: there is no such contact.
 */
export async function findPerson(
  sql: Sql,
  workspaceId: string,
  contactId: string,
  { lock }: { readonly lock: boolean },
): Promise<Person | null> {
  const rows = await sql.query<{ id: string }>(
    `SELECT p.id FROM contacts p
     WHERE p.workspace_id = $1 AND (p.id = $2 OR p.id IN (
       SELECT c.contact_id FROM conversations c
       JOIN contact_identities i ON i.workspace_id = c.workspace_id AND i.id = c.reply_to_identity_id
       WHERE i.workspace_id = $1 AND i.contact_id = $2
         AND NOT EXISTS (SELECT 1 FROM contact_identities o WHERE o.contact_id = c.contact_id)))
     ORDER BY p.id ${lock ? 'FOR UPDATE' : ''}`,
    [workspaceId, contactId],
  );
  if (!rows.some(({ id }) => id === contactId)) return null;
  const contactIds = [contactId, ...rows.map(({ id }) => id).filter((id) => id !== contactId)];
  const [identities, conversations] = await Promise.all([
    sql.query<Person['identities'][number]>(
      `SELECT kind, value, match_key FROM contact_identities WHERE contact_id = ANY($1::uuid[]) ORDER BY id`,
      [contactIds],
    ),
    sql.query<{ id: string }>(
      'SELECT id FROM conversations WHERE workspace_id = $1 AND contact_id = ANY($2::uuid[]) ORDER BY id',
      [workspaceId, contactIds],
    ),
  ]);
  return { contactIds, identities, conversationIds: conversations.map(({ id }) => id) };
}
