import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** A disconnected channel keeps its row and gives its number free; what is deleted leaves marks for a while. */
export class FreeNumbersAndDeletionMarks1795480000000 implements MigrationInterface {
  readonly name = 'FreeNumbersAndDeletionMarks1795480000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX messages_stray_idx');
    await runner.query('DROP TABLE deletion_marks');
    await runner.query(`UPDATE webhook_keys SET verify_token_ciphertext = '' WHERE verify_token_ciphertext IS NULL`);
    await runner.query('ALTER TABLE webhook_keys ALTER COLUMN verify_token_ciphertext SET NOT NULL');
    await runner.query('DROP INDEX channels_webhook_key_idx');
    await runner.query('DROP INDEX channels_own_phone_number_uq');
    await runner.query('DROP INDEX channels_phone_number_uq');
    // Of several rows with one number at most one is connected; it keeps it.
    await runner.query(`UPDATE channels SET phone_number_id = NULL WHERE state = 'disconnected'`);
    await runner.query('ALTER TABLE channels ADD CONSTRAINT channels_phone_number_uq UNIQUE (phone_number_id)');
  }
}

const statements = [
  // A number is connected once in the installation. Disconnected rows keep theirs, so that they can be connected again.
  `ALTER TABLE channels DROP CONSTRAINT channels_phone_number_uq`,
  `CREATE UNIQUE INDEX channels_phone_number_uq ON channels (phone_number_id) WHERE state <> 'disconnected'`,
  `CREATE UNIQUE INDEX channels_own_phone_number_uq ON channels (workspace_id, phone_number_id)`,
  // Each gateway asks each second whether a key in use has a channel left.
  `CREATE INDEX channels_webhook_key_idx ON channels (webhook_key_id)`,
  // Erased, as the App Secret is, when the last channel of a key goes.
  `ALTER TABLE webhook_keys ALTER COLUMN verify_token_ciphertext DROP NOT NULL`,

  // HMACs of ids and addresses; key_id names the encryption key that their own key was derived from.
  `CREATE TABLE deletion_marks (
     workspace_id uuid NOT NULL CONSTRAINT deletion_marks_workspace_fk REFERENCES workspaces (id) ON DELETE CASCADE,
     mac bytea NOT NULL,
     key_id text NOT NULL,
     deleted_at timestamptz NOT NULL,
     CONSTRAINT deletion_marks_pk PRIMARY KEY (workspace_id, mac)
   )`,
  `CREATE INDEX deletion_marks_deleted_idx ON deletion_marks (deleted_at)`,

  // What could not be understood stands in no conversation, and may be about a contact who is deleted.
  `CREATE INDEX messages_stray_idx ON messages (workspace_id) WHERE conversation_id IS NULL`,
];
