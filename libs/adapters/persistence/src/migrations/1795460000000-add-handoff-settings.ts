import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** When humans are there, what hands over to them, the words that end and begin the AI's part, and who holds a conversation. */
export class AddHandoffSettings1795460000000 implements MigrationInterface {
  readonly name = 'AddHandoffSettings1795460000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE chatbots
         ADD COLUMN handoff_by_model boolean NOT NULL DEFAULT false,
         ADD COLUMN business_hours jsonb,
         ADD COLUMN stop_words text[],
         ADD COLUMN start_words text[]`,
    );
    await runner.query(
      `ALTER TABLE conversations ADD COLUMN held_by text
         CONSTRAINT conversations_held_by_ck CHECK (held_by IN ('human', 'meta_agent'))`,
    );
    await runner.query(`UPDATE conversations SET held_by = 'human' WHERE owner = 'human'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE conversations DROP COLUMN held_by');
    await runner.query(
      `ALTER TABLE chatbots DROP COLUMN start_words, DROP COLUMN stop_words, DROP COLUMN business_hours,
         DROP COLUMN handoff_by_model`,
    );
  }
}
