import { type MigrationInterface, type QueryRunner } from 'typeorm';

/** Which copy of a chatbot's passages is searched, those that are being built or dropped, and the vectors of texts. */
export class AddIndexVersionsAndEmbeddings1795410000000 implements MigrationInterface {
  readonly name = 'AddIndexVersionsAndEmbeddings1795410000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE embeddings');
    await runner.query('DROP TABLE index_versions');
    await runner.query('DROP INDEX passages_embedded_idx');
    await runner.query('ALTER TABLE passages DROP COLUMN embedded_sha256');
    await runner.query('DROP INDEX passages_document_idx');
    await runner.query('CREATE INDEX passages_chatbot_idx ON passages (workspace_id, chatbot_id, id)');
  }
}

const statements = [
  // due_at: when a building one is tried (again) and when a retired one is dropped; on a live one, that its build was given up.
  `CREATE TABLE index_versions (
     id uuid NOT NULL CONSTRAINT index_versions_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     chatbot_id uuid NOT NULL,
     engine text NOT NULL CONSTRAINT index_versions_engine_ck CHECK (engine IN ('lancedb', 'elasticsearch')),
     mapping integer NOT NULL,
     model text,
     dimensions integer,
     state text NOT NULL CONSTRAINT index_versions_state_ck CHECK (state IN ('building', 'live', 'retired')),
     passages_total integer NOT NULL DEFAULT 0,
     passages_done integer NOT NULL DEFAULT 0,
     error_code text,
     fence integer NOT NULL DEFAULT 0,
     lease_until timestamptz,
     tries integer NOT NULL DEFAULT 0,
     due_at timestamptz,
     live_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT index_versions_embedding_ck CHECK ((model IS NULL) = (dimensions IS NULL)),
     CONSTRAINT index_versions_chatbot_fk FOREIGN KEY (workspace_id, chatbot_id)
       REFERENCES chatbots (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE UNIQUE INDEX index_versions_live_uq ON index_versions (chatbot_id, engine) WHERE state = 'live'`,
  `CREATE UNIQUE INDEX index_versions_building_uq ON index_versions (chatbot_id, engine) WHERE state = 'building'`,
  `CREATE INDEX index_versions_chatbot_idx ON index_versions (workspace_id, chatbot_id)`,
  `CREATE INDEX index_versions_due_idx ON index_versions (due_at) WHERE state <> 'live'`,

  // The vector is little-endian float32. The hash is that of the text as it is embedded.
  `CREATE TABLE embeddings (
     workspace_id uuid NOT NULL CONSTRAINT embeddings_workspace_fk REFERENCES workspaces (id) ON DELETE CASCADE,
     sha256 bytea NOT NULL,
     model text NOT NULL,
     vector bytea NOT NULL,
     last_used_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT embeddings_pk PRIMARY KEY (workspace_id, sha256, model)
   )`,
  `CREATE INDEX embeddings_last_used_idx ON embeddings (last_used_at)`,

  // Says which vectors are still needed. What was stored before is hashed here as the product hashes it. Nullable, because a process
  // of the version before still stores passages without it.
  `ALTER TABLE passages ADD COLUMN embedded_sha256 bytea`,
  `UPDATE passages
   SET embedded_sha256 = sha256(convert_to(normalize(array_to_string(ARRAY[title] || heading_path || ARRAY[text], E'\\n'), NFKC), 'UTF8'))`,
  `CREATE INDEX passages_embedded_idx ON passages (workspace_id, embedded_sha256)`,
  // The order in which an index is built.
  `DROP INDEX passages_chatbot_idx`,
  `CREATE INDEX passages_document_idx ON passages (workspace_id, chatbot_id, document_id, ordinal)`,

  // Until now every chatbot had one version, without a row.
  `INSERT INTO index_versions (id, workspace_id, chatbot_id, engine, mapping, state, live_at)
   SELECT gen_random_uuid(), c.workspace_id, c.id, 'lancedb', 1, 'live', now() FROM chatbots c
   WHERE EXISTS (SELECT 1 FROM sources s WHERE s.workspace_id = c.workspace_id AND s.chatbot_id = c.id)`,
];
