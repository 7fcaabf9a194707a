import { type MessageBus } from '@answerline/messaging';
import { type Database, databaseNow } from '@answerline/persistence';

/**
 * Notes up to when every accepted webhook is in the tables. The notifier needs it: silence about a call proves something only
 * when all that Meta could have said has been read. The clock is read before the lag, so the note never claims too much.
 * While webhooks come all the time some are always under way: what counts is how old the oldest of them is.
 *
 * @returns false: there is nothing more to do until the next time
 */
export async function trackProgress(bus: MessageBus, database: Database): Promise<boolean> {
  const now = await databaseNow(database);
  const lagMs = await bus.lagMs('WEBHOOKS', 'ingest');
  if (lagMs === null) return false;
  await database.query(
    `INSERT INTO ingest_progress (caught_up_at) VALUES (to_timestamp($1::float8 / 1000))
     ON CONFLICT (id) DO UPDATE SET caught_up_at = greatest(ingest_progress.caught_up_at, excluded.caught_up_at)`,
    [now - lagMs],
  );
  return false;
}
