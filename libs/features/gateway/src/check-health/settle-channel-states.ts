import { type Database, type Transaction } from '@answerline/persistence';
import { readChannelRecords, type ChannelRecord } from './channel-facts.ts';
import { decideChannelState, type DecidedState } from './decide-channel-state.ts';

/** Channels settled in one transaction. */
const BATCH_SIZE = 100;

/** Brings the stored states of these channels in line with the facts. The channels are locked in the order of their ids. */
export async function settleChannelStates(
  sql: Transaction,
  ids: readonly string[],
  { now }: { readonly now: number },
): Promise<void> {
  for (const record of await readChannelRecords(sql, ids, { now, lock: true })) {
    storeState(sql, record, decideChannelState(record.facts, now));
  }
}

/** Whether the stored state is the decided one. */
export function isSettled(record: ChannelRecord, decided: DecidedState): boolean {
  return decided.state === record.state && storedReasons(decided).join() === record.stateReasons.join();
}

/** Notices are no part of what is stored: they are read with the health. */
function storedReasons({ reasons }: DecidedState): string[] {
  return reasons.filter(({ severity }) => severity !== 'notice').map(({ code }) => code);
}

/** Stores a state that was decided under the channel's lock. */
export function storeState(sql: Transaction, record: ChannelRecord, decided: DecidedState): void {
  if (isSettled(record, decided)) return;
  sql.write('UPDATE channels SET state = $2, state_reasons = $3 WHERE id = $1', [
    record.id,
    decided.state,
    storedReasons(decided),
  ]);
}

/**
 * Settles the channels that have come further since they were connected: Meta verified the callback, the first event came.
 * Returns whether there may be more.
 */
export async function settleNewChannels(database: Database, options: { readonly now: number }): Promise<boolean> {
  const rows = await database.query<{ id: string }>(
    `SELECT c.id FROM channels c JOIN webhook_keys k ON k.id = c.webhook_key_id
     WHERE c.state IN ('validated', 'webhook_verified')
       AND ((c.state = 'validated' AND k.verified_at IS NOT NULL)
         OR (c.heard_key_id = c.webhook_key_id AND (k.app_secret_ciphertext IS NULL OR k.last_signed_at IS NOT NULL)))
     LIMIT $1`,
    [BATCH_SIZE],
  );
  if (rows.length === 0) return false;
  const ids = rows.map(({ id }) => id);
  await database.transaction((sql) => settleChannelStates(sql, ids, options));
  return rows.length === BATCH_SIZE;
}
