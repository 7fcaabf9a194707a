import { type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * A receipt is of a turn, or of a question that was asked of a chatbot by API: then it has the chatbot, and neither turn nor reply.
 * It also says how the passages were searched.
 */
export class ReceiptsOfAskedQuestions1795400000000 implements MigrationInterface {
  readonly name = 'ReceiptsOfAskedQuestions1795400000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE receipts
         ALTER COLUMN turn_id DROP NOT NULL,
         ADD COLUMN chatbot_id uuid,
         ADD COLUMN search_mode text CONSTRAINT receipts_search_mode_ck CHECK (search_mode IN ('hybrid', 'lexical')),
         ADD CONSTRAINT receipts_about_ck CHECK (
           num_nonnulls(turn_id, chatbot_id) = 1 AND (reply_id IS NULL OR turn_id IS NOT NULL)),
         ADD CONSTRAINT receipts_chatbot_fk FOREIGN KEY (workspace_id, chatbot_id)
           REFERENCES chatbots (workspace_id, id) ON DELETE CASCADE`,
    );
    await runner.query(`CREATE INDEX receipts_chatbot_idx ON receipts (chatbot_id, id) WHERE chatbot_id IS NOT NULL`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DELETE FROM receipts WHERE turn_id IS NULL`);
    await runner.query(`DROP INDEX receipts_chatbot_idx`);
    await runner.query(
      `ALTER TABLE receipts
         DROP CONSTRAINT receipts_about_ck,
         DROP COLUMN chatbot_id,
         DROP COLUMN search_mode,
         ALTER COLUMN turn_id SET NOT NULL`,
    );
  }
}
