import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Warnings of the month's quota, notices once a contact, tokens by day, and what the overview of usage reads. */
export class AddQuotaAndBudgets1795470000000 implements MigrationInterface {
  readonly name = 'AddQuotaAndBudgets1795470000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX statuses_time_idx');
    await runner.query('DROP TABLE conversation_tokens');
    await runner.query('DROP TABLE token_usage');
    await runner.query('DROP TABLE contact_notices');
    await runner.query('DROP INDEX usage_entries_month_idx');
    await runner.query('UPDATE usage SET "limit" = used WHERE used > "limit"');
    await runner.query(
      `ALTER TABLE usage DROP COLUMN warned_percent,
         ADD CONSTRAINT usage_limit_ck CHECK ("limit" IS NULL OR used <= "limit")`,
    );
  }
}

const statements = [
  // A smaller plan may leave less than was used already.
  `ALTER TABLE usage DROP CONSTRAINT usage_limit_ck, ADD COLUMN warned_percent smallint NOT NULL DEFAULT 0`,
  `CREATE INDEX usage_entries_month_idx ON usage_entries (workspace_id, month)`,

  // When a contact was last told each thing that is told once an hour or day, on whichever number. contact_id points at nobody: the
  // contact's row would have to be locked for it under the conversation's lock, and a deletion locks them the other way round.
  `CREATE TABLE contact_notices (
     contact_id uuid NOT NULL,
     kind text NOT NULL,
     workspace_id uuid NOT NULL,
     conversation_id uuid NOT NULL,
     told_at timestamptz NOT NULL,
     CONSTRAINT contact_notices_pk PRIMARY KEY (contact_id, kind),
     CONSTRAINT contact_notices_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE
   ) WITH (fillfactor = 70)`,
  `CREATE INDEX contact_notices_conversation_idx ON contact_notices (conversation_id)`,
  `INSERT INTO contact_notices (contact_id, kind, workspace_id, conversation_id, told_at)
   SELECT DISTINCT ON (c.contact_id, r.kind) c.contact_id, r.kind, c.workspace_id, c.id, r.created_at
   FROM replies r JOIN conversations c ON c.id = r.conversation_id
   WHERE r.kind IN ('over_quota', 'limited', 'media_notice') AND r.created_at > now() - interval '25 hours'
   ORDER BY c.contact_id, r.kind, r.created_at DESC`,

  // By the workspace's days, as 2026-11-22. cost_micros is null where no prices were set.
  `CREATE TABLE token_usage (
     workspace_id uuid NOT NULL CONSTRAINT token_usage_workspace_fk REFERENCES workspaces (id),
     day text NOT NULL,
     input_tokens bigint NOT NULL,
     output_tokens bigint NOT NULL,
     cost_micros bigint,
     CONSTRAINT token_usage_pk PRIMARY KEY (workspace_id, day)
   ) WITH (fillfactor = 50)`,
  // Of the last day on which there were any.
  `CREATE TABLE conversation_tokens (
     conversation_id uuid NOT NULL CONSTRAINT conversation_tokens_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     day text NOT NULL,
     tokens bigint NOT NULL,
     CONSTRAINT conversation_tokens_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE
   ) WITH (fillfactor = 70)`,

  `CREATE INDEX statuses_time_idx ON statuses (workspace_id, at)`,
];
