import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What the notifier can do with mails, for processes that have no settings of mail. */
export class AddMailSetup1795450000000 implements MigrationInterface {
  readonly name = 'AddMailSetup1795450000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE mail_setup (
         id boolean NOT NULL DEFAULT true CONSTRAINT mail_setup_pk PRIMARY KEY CONSTRAINT mail_setup_one_ck CHECK (id),
         can_send boolean NOT NULL,
         has_operator boolean NOT NULL,
         noted_at timestamptz NOT NULL DEFAULT now()
       )`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE mail_setup');
  }
}
