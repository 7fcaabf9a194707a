import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** What connecting a number at Meta needs to remember, and what Meta says of the number. */
export class ConnectAgainstMeta1795430000000 implements MigrationInterface {
  readonly name = 'ConnectAgainstMeta1795430000000';

  async up(runner: QueryRunner): Promise<void> {
    // A draft answers Meta's verification while its first connect is under way, and takes no deliveries.
    await runner.query(
      `ALTER TABLE webhook_keys
         ADD COLUMN is_draft boolean NOT NULL DEFAULT false,
         ADD COLUMN connecting_until timestamptz`,
    );
    await runner.query(
      `ALTER TABLE channels
         ADD COLUMN has_number_override boolean NOT NULL DEFAULT false,
         ADD COLUMN verified_name text,
         ADD COLUMN quality_rating text,
         ADD COLUMN throughput_level text,
         ADD COLUMN is_on_biz_app boolean`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE channels DROP COLUMN has_number_override, DROP COLUMN verified_name, DROP COLUMN quality_rating,
         DROP COLUMN throughput_level, DROP COLUMN is_on_biz_app`,
    );
    await runner.query('DELETE FROM webhook_keys WHERE is_draft');
    await runner.query('ALTER TABLE webhook_keys DROP COLUMN is_draft, DROP COLUMN connecting_until');
  }
}
