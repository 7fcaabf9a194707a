import { type Fingerprints } from '@answerline/secrets';
import { type Sql, type Transaction } from './sql.ts';
import { ms, timestamp } from './sql-time.ts';

/**
 * What stays of something that was deleted, so that no repeat of Meta's brings it back: fingerprints, never the ids and
 * addresses themselves. Meta repeats a delivery for up to 7 days, and a body may lie in the stream WEBHOOKS as long.
 */
export const DELETION_MARKS_KEPT_DAYS = 8;
/** The purpose of their fingerprints. */
export const DELETION_MARKS_PURPOSE = 'deletion marks';
/** Rows of one statement of the trim, so that none holds locks for long. */
const TRIM_SIZE = 5_000;

/** A value whose deletion is noted. */
export type DeletionMark = readonly [kind: 'message' | 'attempt' | 'address', ...value: string[]];

/** Meta's id of a message, of theirs or of ours. */
export const messageMark = (providerMessageId: string): DeletionMark => ['message', providerMessageId];
/** Our id of an attempt, which statuses bring back. */
export const attemptMark = (attemptId: string): DeletionMark => ['attempt', attemptId];
/** An address of a person; every spelling of one phone number has the same match key. */
export const addressMark = (kind: string, matchKey: string): DeletionMark => ['address', kind, matchKey];

/** Notes that all these were deleted at `deletedAt` (ms of the database's clock). What is noted already gets the later time. */
export function addDeletionMarks(
  sql: Transaction,
  fingerprints: Fingerprints,
  { workspaceId, deletedAt, marks }: { workspaceId: string; deletedAt: number; marks: readonly DeletionMark[] },
): void {
  const unique = new Map(marks.map((mark) => [JSON.stringify(mark), fingerprints.of([workspaceId, ...mark])]));
  const prints = [...unique.values()];
  sql.write(
    `INSERT INTO deletion_marks AS d (workspace_id, mac, key_id, deleted_at)
     SELECT $1::uuid, v.mac, v.key_id, ${timestamp('$2::float8')} FROM unnest($3::bytea[], $4::text[]) AS v(mac, key_id)
     ORDER BY v.mac
     ON CONFLICT (workspace_id, mac) DO UPDATE SET deleted_at = greatest(d.deleted_at, excluded.deleted_at)`,
    [workspaceId, deletedAt, prints.map(({ mac }) => mac), prints.map(({ keyId }) => keyId)],
  );
}

/** Which of the values were deleted, and when (ms of the database's clock), by {@link deletionKey}. */
export async function findDeletionMarks(
  sql: Sql,
  fingerprints: Fingerprints,
  wanted: readonly { readonly workspaceId: string; readonly mark: DeletionMark }[],
): Promise<ReadonlyMap<string, number>> {
  if (wanted.length === 0) return new Map();
  const unique = new Map(
    wanted.map(({ workspaceId, mark }) => [deletionKey(workspaceId, mark), { workspaceId, mark }]),
  );
  const prints = [...unique].flatMap(([key, { workspaceId, mark }]) =>
    fingerprints.all([workspaceId, ...mark]).map((mac) => ({ key, workspaceId, mac })),
  );
  const rows = await sql.query<{ mac: Buffer; deleted_at: number }>(
    {
      name: 'find-deletion-marks',
      text: `SELECT d.mac, ${ms('d.deleted_at')} AS deleted_at
             FROM unnest($1::uuid[], $2::bytea[]) AS w(workspace_id, mac) JOIN deletion_marks d USING (workspace_id, mac)`,
    },
    [prints.map(({ workspaceId }) => workspaceId), prints.map(({ mac }) => mac)],
  );
  if (rows.length === 0) return new Map();
  const deletedAt = new Map(rows.map((row) => [row.mac.toString('hex'), row.deleted_at]));
  return new Map(
    prints.flatMap(({ key, mac }) => {
      const at = deletedAt.get(mac.toString('hex'));
      return at === undefined ? [] : [[key, at] as const];
    }),
  );
}

/** Tells the values of {@link findDeletionMarks} apart. */
export function deletionKey(workspaceId: string, mark: DeletionMark): string {
  return JSON.stringify([workspaceId, ...mark]);
}

/** Deletes the oldest marks that no repeat can meet any more. Returns whether there may be more. */
export async function trimDeletionMarks(sql: Sql): Promise<boolean> {
  const deleted = await sql.query(
    `DELETE FROM deletion_marks WHERE (workspace_id, mac) IN (
       SELECT workspace_id, mac FROM deletion_marks WHERE deleted_at < now() - $1::int * interval '1 day'
       ORDER BY deleted_at LIMIT $2)
     RETURNING 1`,
    [DELETION_MARKS_KEPT_DAYS, TRIM_SIZE],
  );
  return deleted.length === TRIM_SIZE;
}
