import { type Database } from '@answerline/persistence';

/** As long as the raw bodies that the rows speak of are kept in the stream WEBHOOKS. */
const KEPT_DAYS = 7;
/** Rows of one statement, so that none holds locks for long. */
const BATCH_SIZE = 5_000;

/** Deletes the oldest rows of the webhook log whose bodies have aged out. Returns whether there may be more. */
export async function trimWebhookLog(database: Database): Promise<boolean> {
  const deleted = await database.query(
    `DELETE FROM webhook_log WHERE id IN (
       SELECT id FROM webhook_log WHERE received_at < now() - $1::int * interval '1 day' ORDER BY received_at LIMIT $2)
     RETURNING id`,
    [KEPT_DAYS, BATCH_SIZE],
  );
  return deleted.length === BATCH_SIZE;
}
