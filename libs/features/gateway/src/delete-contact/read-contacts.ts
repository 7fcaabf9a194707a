import { type contactSchema, type exportedContactSchema } from '@answerline/contracts';
import { Database } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';
import { findPerson } from './find-person.ts';

/** A contact, and all that is stored about them. */
@Injectable()
export class ReadContacts {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async read(workspaceId: string, id: string): Promise<z.infer<typeof contactSchema>> {
    const [row] = await this.#database.query<{ name: string | null; username: string | null; created_at: Date }>(
      'SELECT name, username, created_at FROM contacts WHERE workspace_id = $1 AND id = $2',
      [workspaceId, id],
    );
    const person = row && (await findPerson(this.#database, workspaceId, id, { lock: false }));
    if (!row || !person) throw notFound();
    return {
      id,
      name: row.name,
      username: row.username,
      identities: person.identities.map(({ kind, value }) => ({ kind, value })),
      conversationIds: [...person.conversationIds],
      createdAt: row.created_at.toISOString(),
    };
  }

  /** Everything, as it was at one moment. Throws 404. */
  async export(workspaceId: string, id: string): Promise<z.infer<typeof exportedContactSchema>> {
    const person = await findPerson(this.#database, workspaceId, id, { lock: false });
    if (!person) throw notFound();
    const [row] = await this.#database.query<Record<Section, Row[]>>(exportSql, [
      workspaceId,
      person.contactIds,
      person.conversationIds,
    ]);
    const sections = Object.entries(row ?? {}).map(([section, rows]) => [section, rows.map(inCamelCase)]);
    return { exportedAt: new Date().toISOString(), ...Object.fromEntries(sections) } as z.infer<
      typeof exportedContactSchema
    >;
  }
}

type Section = Exclude<keyof z.infer<typeof exportedContactSchema>, 'exportedAt'>;
type Row = Record<string, unknown>;

/** Which rows of each table are about them: $2 are the contacts, $3 their conversations. Of one statement, so of one moment. */
const sections: Readonly<Record<Section, string>> = {
  contacts: 'contacts t WHERE t.workspace_id = $1 AND t.id = ANY($2::uuid[])',
  identities: 'contact_identities t WHERE t.workspace_id = $1 AND t.contact_id = ANY($2::uuid[])',
  conversations: 'conversations t WHERE t.id IN (SELECT id FROM c)',
  messages: `messages t WHERE t.id IN (SELECT id FROM messages WHERE conversation_id IN (SELECT id FROM c)
             UNION ALL SELECT m.id FROM messages m JOIN contact_identities i ON strpos(m.raw::text, to_json(i.value)::text) > 0
             WHERE m.workspace_id = $1 AND m.conversation_id IS NULL AND i.contact_id = ANY($2::uuid[]))`,
  turns: 'turns t WHERE t.conversation_id IN (SELECT id FROM c)',
  replies: 'replies t WHERE t.conversation_id IN (SELECT id FROM c)',
  receipts: 'receipts t WHERE t.turn_id IN (SELECT id FROM turns WHERE conversation_id IN (SELECT id FROM c))',
  sends: 'sends t WHERE t.conversation_id IN (SELECT id FROM c)',
  attempts: 'attempts t WHERE t.send_id IN (SELECT id FROM sends WHERE conversation_id IN (SELECT id FROM c))',
  statuses: 'statuses t WHERE t.send_id IN (SELECT id FROM sends WHERE conversation_id IN (SELECT id FROM c))',
  notices: 'contact_notices t WHERE t.conversation_id IN (SELECT id FROM c)',
  tokens: 'conversation_tokens t WHERE t.conversation_id IN (SELECT id FROM c)',
  mails: `mails t WHERE t.workspace_id = $1 AND t.about->>'conversationId' IN (SELECT id::text FROM c)`,
  usageEntries: 'usage_entries t WHERE t.turn_id IN (SELECT id FROM turns WHERE conversation_id IN (SELECT id FROM c))',
};

const exportSql = `
  WITH c AS (SELECT unnest($3::uuid[]) AS id)
  SELECT ${Object.entries(sections)
    .map(([name, from]) => `(SELECT coalesce(json_agg(row_to_json(t)), '[]') FROM ${from}) AS "${name}"`)
    .join(',\n         ')}`;

function inCamelCase(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}
