import { newId, type Transaction } from '@answerline/persistence';
import { type WebhookBody } from './read-delivery.ts';

/** What became of the items of one body. */
export interface Tally {
  stored: number;
  repeated: number;
  /** News that changes no table. */
  ignored: number;
  /** For a phone number that this key does not have. */
  unknownNumber: number;
  unparsed: number;
  /** For a number that was disconnected. */
  droppedDisconnected: number;
  /** About a contact who was deleted since. */
  droppedDeleted: number;
}

/** What the webhook log says of a delivery: the most that became of it. */
export type Verdict =
  | 'stored'
  | 'unparsed'
  | 'repeated'
  | 'dropped_disconnected'
  | 'dropped_deleted'
  | 'unknown_number'
  | 'ignored'
  | 'self_test';

export function newTally(): Tally {
  return {
    stored: 0,
    repeated: 0,
    ignored: 0,
    unknownNumber: 0,
    unparsed: 0,
    droppedDisconnected: 0,
    droppedDeleted: 0,
  };
}

export function addTally(total: Tally, part: Tally): void {
  for (const name of Object.keys(total) as (keyof Tally)[]) total[name] += part[name];
}

/** Counts what was planned as stored or, when it was there already, repeated. */
export function tallyStored<Planned>(planned: ReadonlyMap<Planned, Tally>, stored: readonly Planned[]): void {
  const isStored = new Set(stored);
  for (const [item, tally] of planned) tally[isStored.has(item) ? 'stored' : 'repeated'] += 1;
}

/** One word for a delivery. */
export function verdictOf(tally: Tally, isSelfTest = false): Verdict {
  if (isSelfTest) return 'self_test';
  if (tally.unparsed > 0) return 'unparsed';
  if (tally.stored > 0) return 'stored';
  if (tally.repeated > 0) return 'repeated';
  if (tally.droppedDeleted > 0) return 'dropped_deleted';
  if (tally.droppedDisconnected > 0) return 'dropped_disconnected';
  return tally.unknownNumber > 0 ? 'unknown_number' : 'ignored';
}

/** Whether nothing of the body may be kept: all that it says was dropped. */
export function isDropped(tally: Tally): boolean {
  const { droppedDeleted, droppedDisconnected, ...others } = tally;
  return droppedDeleted + droppedDisconnected > 0 && Object.values(others).every((count) => count === 0);
}

/** One row a delivery in the webhook log. */
export function writeLog(sql: Transaction, tallies: ReadonlyMap<WebhookBody, Tally>): void {
  const rows = [...tallies].map(([body, tally]) => ({ body, tally }));
  const of = <Value>(pick: (row: (typeof rows)[number]) => Value): Value[] => rows.map(pick);
  sql.write(
    {
      name: 'write-webhook-log',
      // The key may have been removed since the gateway took the delivery.
      text: `INSERT INTO webhook_log (id, workspace_id, webhook_key_id, verdict, body_sha256, stream_sequence, found, stored, repeated)
             SELECT v.* FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::int[],
                                    $9::int[])
               AS v(id, workspace_id, webhook_key_id, verdict, body_sha256, stream_sequence, found, stored, repeated)
             JOIN webhook_keys k ON k.workspace_id = v.workspace_id AND k.id = v.webhook_key_id`,
    },
    [
      of(() => newId()),
      of(({ body }) => body.workspaceId),
      of(({ body }) => body.keyId),
      of(({ body, tally }) => verdictOf(tally, body.isSelfTest)),
      of(({ body }) => body.sha256),
      of(({ body }) => body.streamSequence),
      of(({ body }) => body.items.length),
      of(({ tally }) => tally.stored),
      of(({ tally }) => tally.repeated),
    ],
  );
}
