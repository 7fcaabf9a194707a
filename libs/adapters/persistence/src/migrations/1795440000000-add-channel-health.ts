import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What is known of a channel's health: handshake, first event, and the last check with when the next one is due. */
export class AddChannelHealth1795440000000 implements MigrationInterface {
  readonly name = 'AddChannelHealth1795440000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX attempts_failed_idx');
    await runner.query('DROP TABLE channel_health');
    await runner.query('ALTER TABLE webhook_log DROP COLUMN replays');
    await runner.query('DROP INDEX channels_not_live_idx');
    await runner.query(
      `UPDATE channels SET state = 'live' WHERE state IN ('validated', 'webhook_verified', 'degraded')`,
    );
    await runner.query(
      'ALTER TABLE channels DROP COLUMN state_reasons, DROP COLUMN heard_key_id, DROP COLUMN heard_at',
    );
    await runner.query('ALTER TABLE webhook_keys DROP COLUMN verified_at, DROP COLUMN last_signed_at');
  }
}

const statements = [
  `ALTER TABLE webhook_keys ADD COLUMN verified_at timestamptz, ADD COLUMN last_signed_at timestamptz`,

  // The key through which the channel's first event came: with another key it has to be heard anew.
  `ALTER TABLE channels
     ADD COLUMN state_reasons text[] NOT NULL DEFAULT '{}',
     ADD COLUMN heard_key_id uuid,
     ADD COLUMN heard_at timestamptz`,
  // What answers today stays live: nobody noted its handshake and its first event.
  `UPDATE channels SET heard_key_id = webhook_key_id, heard_at = now() WHERE state IN ('live', 'broken') AND webhook_key_id IS NOT NULL`,
  `UPDATE webhook_keys k
   SET verified_at = coalesce(k.last_accepted_at, now()),
       last_signed_at = CASE WHEN k.app_secret_ciphertext IS NOT NULL THEN coalesce(k.last_accepted_at, now()) END
   WHERE EXISTS (SELECT 1 FROM channels c WHERE c.webhook_key_id = k.id AND c.heard_key_id = k.id)`,
  `CREATE INDEX channels_not_live_idx ON channels (id) WHERE state IN ('validated', 'webhook_verified')`,

  `CREATE TABLE channel_health (
     channel_id uuid NOT NULL CONSTRAINT channel_health_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     due_at timestamptz NOT NULL,
     lease_until timestamptz,
     requested_at timestamptz,
     credentials_hash text,
     hold_code text,
     checked_at timestamptz,
     result jsonb,
     token_expires_at timestamptz,
     alarmed text[] NOT NULL DEFAULT '{}',
     CONSTRAINT channel_health_channel_fk FOREIGN KEY (workspace_id, channel_id)
       REFERENCES channels (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX channel_health_due_idx ON channel_health (due_at)`,

  `ALTER TABLE webhook_log ADD COLUMN replays integer NOT NULL DEFAULT 0`,
  `CREATE INDEX attempts_failed_idx ON attempts (channel_id, started_at) WHERE code IS NOT NULL`,
];
