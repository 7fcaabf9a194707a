import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Mails to the owner of a workspace, and the address of that owner. */
export class AddMails1795420000000 implements MigrationInterface {
  readonly name = 'AddMails1795420000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE workspaces ADD COLUMN owner_email text');
    // Ids and codes only: what a mail says is read when it is sent, so that a deleted contact is in none.
    await runner.query(
      `CREATE TABLE mails (
         id uuid NOT NULL CONSTRAINT mails_pk PRIMARY KEY,
         workspace_id uuid NOT NULL CONSTRAINT mails_workspace_fk REFERENCES workspaces (id),
         kind text NOT NULL,
         about jsonb NOT NULL,
         dedupe_key text NOT NULL,
         state text NOT NULL DEFAULT 'pending' CONSTRAINT mails_state_ck CHECK (state IN ('pending', 'sent', 'failed')),
         due_at timestamptz DEFAULT now(),
         fence integer NOT NULL DEFAULT 0,
         lease_until timestamptz,
         tries integer NOT NULL DEFAULT 0,
         error_code text,
         created_at timestamptz NOT NULL DEFAULT now(),
         sent_at timestamptz,
         CONSTRAINT mails_dedupe_uq UNIQUE (workspace_id, dedupe_key)
       )`,
    );
    await runner.query('CREATE INDEX mails_due_idx ON mails (due_at) WHERE due_at IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE mails');
    await runner.query('ALTER TABLE workspaces DROP COLUMN owner_email');
  }
}
