import { type deletedContactSchema, messagingTopology } from '@answerline/contracts';
import {
  addDeletionMarks,
  addressMark,
  attemptMark,
  callOffSends,
  Database,
  databaseNow,
  DELETION_MARKS_KEPT_DAYS,
  DELETION_MARKS_PURPOSE,
  type DeletionMark,
  messageMark,
  type Sql,
  type Transaction,
} from '@answerline/persistence';
import { type Fingerprints, SecretBox } from '@answerline/secrets';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { askUntil, CALLS_END_WITHIN_MS } from '../calls-under-way.ts';
import { notFound } from '../management-api/api-errors.ts';
import { findPerson, type Person } from './find-person.ts';

type DeletedContact = z.infer<typeof deletedContactSchema>;
type Counts = DeletedContact['deleted'];

/** Failure of what does not leave any more. It is gone a moment later, with its send. */
const CONTACT_DELETED = 'contact_deleted';
const DAY_MS = 24 * 60 * 60 * 1_000;

/** Deletes a contact and all that was said with them. */
@Injectable()
export class DeleteContact {
  readonly #database: Database;
  readonly #fingerprints: Fingerprints;

  constructor(database: Database, secretBox: SecretBox) {
    this.#database = database;
    this.#fingerprints = secretBox.fingerprints(DELETION_MARKS_PURPOSE);
  }

  /**
   * Calls off what has not left, waits up to 15 s for calls under way, and deletes everything in one transaction. A turn that
   * is being answered finds no row and stops. Throws 404.
   */
  async execute(workspaceId: string, contactId: string): Promise<DeletedContact> {
    const done = await askUntil(
      (isLast) => this.#database.transaction((sql) => this.#tryToDelete(sql, workspaceId, contactId, isLast)),
      CALLS_END_WITHIN_MS,
    );
    if (done === null) throw notFound();
    const { deletedAt, deleted } = done;
    return { contactId, deletedAt: new Date(deletedAt).toISOString(), deleted, remains: remainsAfter(deletedAt) };
  }

  /** Null while a call is under way: what had not left is called off by then, and nothing else is changed. */
  async #tryToDelete(
    sql: Transaction,
    workspaceId: string,
    contactId: string,
    isLate: boolean,
  ): Promise<{ deletedAt: number; deleted: Counts } | null> {
    const person = await findPerson(sql, workspaceId, contactId, { lock: true });
    if (person === null) throw notFound();
    // Nobody adds to them from here on: ingest, rag and notifier lock the conversation, or point at it.
    await sql.query('SELECT id FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE', [
      person.conversationIds,
    ]);
    const { underWay } = await callOffSends(sql, person.conversationIds, CONTACT_DELETED);
    if (underWay > 0 && !isLate) return null;
    const deletedAt = await databaseNow(sql);
    const strays = await findStrays(sql, workspaceId, person);
    const marks = await marksOf(sql, person, strays);
    addDeletionMarks(sql, this.#fingerprints, { workspaceId, deletedAt, marks });
    const deleted = await deleteAll(sql, workspaceId, person, strays);
    return { deletedAt, deleted };
  }
}

/** Messages that could not be understood, and name the person: they stand in no conversation. */
async function findStrays(
  sql: Sql,
  workspaceId: string,
  { identities }: Person,
): Promise<{ id: string; provider_message_id: string }[]> {
  return sql.query(
    `SELECT m.id, m.provider_message_id FROM messages m
     WHERE m.workspace_id = $1 AND m.conversation_id IS NULL
       AND EXISTS (SELECT 1 FROM unnest($2::text[]) AS v(quoted) WHERE strpos(m.raw::text, v.quoted) > 0)`,
    [workspaceId, identities.map(({ value }) => JSON.stringify(value))],
  );
}

/** Of all by which a repeat of Meta's could be known: ids of messages and of our attempts, and the addresses. */
async function marksOf(
  sql: Sql,
  { identities, conversationIds }: Person,
  strays: readonly { provider_message_id: string }[],
): Promise<DeletionMark[]> {
  const [messages, attempts] = await Promise.all([
    sql.query<{ id: string }>(
      'SELECT provider_message_id AS id FROM messages WHERE conversation_id = ANY($1::uuid[])',
      [conversationIds],
    ),
    sql.query<{ id: string; provider_message_id: string | null }>(
      `SELECT a.id, a.provider_message_id FROM attempts a JOIN sends s ON s.id = a.send_id
       WHERE s.conversation_id = ANY($1::uuid[])`,
      [conversationIds],
    ),
  ]);
  return [
    ...messages.map(({ id }) => messageMark(id)),
    ...strays.map(({ provider_message_id: id }) => messageMark(id)),
    ...attempts.map(({ id }) => attemptMark(id)),
    ...attempts.flatMap(({ provider_message_id: id }) => (id === null ? [] : [messageMark(id)])),
    ...identities.map(({ kind, match_key: matchKey }) => addressMark(kind, matchKey)),
  ];
}

/** Counts and deletes. What hangs on a contact or a conversation goes with it. */
async function deleteAll(
  sql: Transaction,
  workspaceId: string,
  { contactIds, identities, conversationIds }: Person,
  strays: readonly { id: string }[],
): Promise<Counts> {
  const unmatched = await sql.query(
    `DELETE FROM statuses u USING attempts a JOIN sends s ON s.id = a.send_id
     WHERE s.conversation_id = ANY($1::uuid[]) AND u.send_id IS NULL AND u.channel_id = a.channel_id
       AND u.provider_message_id = a.provider_message_id
     RETURNING u.id`,
    [conversationIds],
  );
  const [counts] = await sql.query<Counts>(
    `WITH c AS (SELECT unnest($1::uuid[]) AS id),
          s AS (SELECT s.id FROM sends s JOIN c ON c.id = s.conversation_id)
     SELECT (SELECT count(*) FROM messages m JOIN c ON c.id = m.conversation_id)::int AS messages,
            (SELECT count(*) FROM turns t JOIN c ON c.id = t.conversation_id)::int AS turns,
            (SELECT count(*) FROM replies r JOIN c ON c.id = r.conversation_id)::int AS replies,
            (SELECT count(*) FROM receipts r JOIN turns t ON t.id = r.turn_id JOIN c ON c.id = t.conversation_id)::int AS receipts,
            (SELECT count(*) FROM s)::int AS sends,
            (SELECT count(*) FROM attempts a JOIN s ON s.id = a.send_id)::int AS attempts,
            (SELECT count(*) FROM statuses u JOIN s ON s.id = u.send_id)::int AS statuses`,
    [conversationIds],
  );
  const mails = await sql.query(
    `DELETE FROM mails WHERE workspace_id = $1 AND about->>'conversationId' = ANY($2::text[]) RETURNING id`,
    [workspaceId, conversationIds],
  );
  await sql.query('DELETE FROM messages WHERE id = ANY($1::uuid[])', [strays.map(({ id }) => id)]);
  await sql.query('DELETE FROM contacts WHERE workspace_id = $1 AND id = ANY($2::uuid[])', [workspaceId, contactIds]);
  const { messages = 0, turns = 0, replies = 0, receipts = 0, sends = 0, attempts = 0, statuses = 0 } = counts ?? {};
  return {
    contacts: contactIds.length,
    identities: identities.length,
    conversations: conversationIds.length,
    messages: messages + strays.length,
    turns,
    replies,
    receipts,
    sends,
    attempts,
    statuses: statuses + unmatched.length,
    mails: mails.length,
  };
}

function remainsAfter(deletedAt: number): DeletedContact['remains'] {
  const { streams } = messagingTopology({ profile: 'production' });
  const after = (ms: number): string => new Date(deletedAt + ms).toISOString();
  const agedOut = (name: string): string => after(streams.find((stream) => stream.name === name)?.maxAgeMs ?? 0);
  return {
    rawBodiesUntil: agedOut('WEBHOOKS'),
    eventsUntil: agedOut('EVENTS'),
    deadLettersUntil: agedOut('DEAD_LETTERS'),
    marksUntil: after(DELETION_MARKS_KEPT_DAYS * DAY_MS),
    backups: 'Backups of the database that were made before still hold it, until you delete them.',
  };
}
