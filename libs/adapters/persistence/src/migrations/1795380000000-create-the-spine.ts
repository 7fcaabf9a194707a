import { type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * All tables that a message touches. Every tenant table has `workspace_id` and points at its parents by
 * (workspace_id, id), so that a row can never belong to two workspaces. Phone-like values are stored verbatim.
 */
export class CreateTheSpine1795380000000 implements MigrationInterface {
  readonly name = 'CreateTheSpine1795380000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of [...tables].reverse()) await runner.query(`DROP TABLE ${table}`);
  }
}

const tables = [
  'workspaces',
  'api_keys',
  'chatbots',
  'webhook_keys',
  'channels',
  'channel_pacing',
  'contacts',
  'contact_identities',
  'conversations',
  'messages',
  'turns',
  'replies',
  'receipts',
  'sends',
  'attempts',
  'statuses',
  'usage',
  'usage_entries',
  'outbox',
  'webhook_log',
  'gateway_heartbeats',
  'ingest_progress',
  'sources',
  'documents',
  'passages',
];

const statements = [
  `CREATE TABLE workspaces (
     id uuid NOT NULL CONSTRAINT workspaces_pk PRIMARY KEY,
     name text NOT NULL,
     plan text NOT NULL,
     time_zone text NOT NULL DEFAULT 'UTC',
     suspended_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now()
   )`,

  `CREATE TABLE api_keys (
     id uuid NOT NULL CONSTRAINT api_keys_pk PRIMARY KEY,
     workspace_id uuid NOT NULL CONSTRAINT api_keys_workspace_fk REFERENCES workspaces (id),
     name text NOT NULL,
     prefix text NOT NULL,
     key_hash bytea NOT NULL CONSTRAINT api_keys_key_hash_uq UNIQUE,
     scopes text[] NOT NULL,
     expires_at timestamptz,
     revoked_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now()
   )`,

  `CREATE TABLE chatbots (
     id uuid NOT NULL CONSTRAINT chatbots_pk PRIMARY KEY,
     workspace_id uuid NOT NULL CONSTRAINT chatbots_workspace_fk REFERENCES workspaces (id),
     name text NOT NULL,
     instructions text NOT NULL DEFAULT '',
     language text NOT NULL DEFAULT 'en',
     ai_enabled boolean NOT NULL DEFAULT true,
     quiet_ms integer NOT NULL DEFAULT 1500,
     quiet_max_ms integer NOT NULL DEFAULT 6000,
     show_sources boolean NOT NULL DEFAULT false,
     texts jsonb NOT NULL DEFAULT '{}',
     handoff_phrases text[],
     notify_emails text[] NOT NULL DEFAULT '{}',
     public_contact text,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT chatbots_workspace_uq UNIQUE (workspace_id, id)
   )`,

  `CREATE TABLE webhook_keys (
     id uuid NOT NULL CONSTRAINT webhook_keys_pk PRIMARY KEY,
     workspace_id uuid NOT NULL CONSTRAINT webhook_keys_workspace_fk REFERENCES workspaces (id),
     app_id text NOT NULL,
     key_hash bytea NOT NULL CONSTRAINT webhook_keys_key_hash_uq UNIQUE,
     key_ciphertext text NOT NULL,
     verify_token_ciphertext text NOT NULL,
     app_secret_ciphertext text,
     last_accepted_at timestamptz,
     last_refused_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT webhook_keys_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT webhook_keys_app_uq UNIQUE (workspace_id, app_id)
   )`,

  // A phone number id is unique in the installation: two workspaces answering one number would answer twice.
  `CREATE TABLE channels (
     id uuid NOT NULL CONSTRAINT channels_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     chatbot_id uuid NOT NULL,
     webhook_key_id uuid,
     type text NOT NULL,
     state text NOT NULL,
     answers boolean NOT NULL DEFAULT true,
     phone_number_id text CONSTRAINT channels_phone_number_uq UNIQUE,
     waba_id text,
     display_phone_number text,
     access_token_ciphertext text,
     send_hold_code text,
     messages_per_second integer NOT NULL DEFAULT 80,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT channels_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT channels_chatbot_fk FOREIGN KEY (workspace_id, chatbot_id) REFERENCES chatbots (workspace_id, id),
     CONSTRAINT channels_webhook_key_fk FOREIGN KEY (workspace_id, webhook_key_id) REFERENCES webhook_keys (workspace_id, id)
   )`,

  // When the number's next call may start (generic cell rate). Apart from channels, because each claim writes it.
  `CREATE TABLE channel_pacing (
     channel_id uuid NOT NULL CONSTRAINT channel_pacing_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     version integer NOT NULL,
     free_at timestamptz NOT NULL,
     CONSTRAINT channel_pacing_channel_fk FOREIGN KEY (workspace_id, channel_id)
       REFERENCES channels (workspace_id, id) ON DELETE CASCADE
   )`,

  `CREATE TABLE contacts (
     id uuid NOT NULL CONSTRAINT contacts_pk PRIMARY KEY,
     workspace_id uuid NOT NULL CONSTRAINT contacts_workspace_fk REFERENCES workspaces (id),
     name text,
     username text,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT contacts_workspace_uq UNIQUE (workspace_id, id)
   )`,

  `CREATE TABLE contact_identities (
     id uuid NOT NULL CONSTRAINT contact_identities_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     contact_id uuid NOT NULL,
     kind text NOT NULL,
     value text NOT NULL,
     match_key text NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT contact_identities_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT contact_identities_value_uq UNIQUE (workspace_id, kind, value),
     CONSTRAINT contact_identities_contact_fk FOREIGN KEY (workspace_id, contact_id)
       REFERENCES contacts (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX contact_identities_match_idx ON contact_identities (workspace_id, kind, match_key)`,
  `CREATE INDEX contact_identities_contact_idx ON contact_identities (contact_id)`,

  // The conversation row is the queue of turns.
  `CREATE TABLE conversations (
     id uuid NOT NULL CONSTRAINT conversations_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     contact_id uuid NOT NULL,
     owner text NOT NULL DEFAULT 'ai' CONSTRAINT conversations_owner_ck CHECK (owner IN ('ai', 'human')),
     epoch integer NOT NULL DEFAULT 1,
     fence integer NOT NULL DEFAULT 0,
     lease_until timestamptz,
     claims integer NOT NULL DEFAULT 0,
     inbound_seq integer NOT NULL DEFAULT 0,
     answered_seq integer NOT NULL DEFAULT 0,
     send_seq integer NOT NULL DEFAULT 0,
     due_at timestamptz,
     first_unanswered_at timestamptz,
     window_until timestamptz,
     muted_until timestamptz,
     opted_out_at timestamptz,
     reply_to_identity_id uuid,
     last_inbound_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT conversations_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT conversations_contact_uq UNIQUE (channel_id, contact_id),
     CONSTRAINT conversations_answered_ck CHECK (answered_seq <= inbound_seq),
     CONSTRAINT conversations_channel_fk FOREIGN KEY (workspace_id, channel_id) REFERENCES channels (workspace_id, id),
     CONSTRAINT conversations_contact_fk FOREIGN KEY (workspace_id, contact_id)
       REFERENCES contacts (workspace_id, id) ON DELETE CASCADE,
     CONSTRAINT conversations_reply_to_fk FOREIGN KEY (workspace_id, reply_to_identity_id)
       REFERENCES contact_identities (workspace_id, id) ON DELETE SET NULL (reply_to_identity_id)
   ) WITH (fillfactor = 70)`,
  `CREATE INDEX conversations_due_idx ON conversations (due_at) WHERE due_at IS NOT NULL`,
  `CREATE INDEX conversations_recent_idx ON conversations (workspace_id, last_inbound_at DESC, id DESC)`,
  `CREATE INDEX conversations_contact_idx ON conversations (workspace_id, contact_id)`,

  // raw is json, not jsonb: Meta's bytes may hold \\u0000, which jsonb refuses.
  `CREATE TABLE messages (
     id uuid NOT NULL CONSTRAINT messages_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     conversation_id uuid,
     number integer,
     history_reason text,
     direction text NOT NULL,
     author text NOT NULL,
     type text NOT NULL,
     text text,
     provider_message_id text NOT NULL,
     context_message_id text,
     amends_message_id text,
     sent_at timestamptz NOT NULL,
     place integer NOT NULL,
     received_at timestamptz NOT NULL,
     edited_at timestamptz,
     revoked_at timestamptz,
     media_state text,
     raw json NOT NULL,
     CONSTRAINT messages_provider_uq UNIQUE (channel_id, provider_message_id),
     CONSTRAINT messages_channel_fk FOREIGN KEY (workspace_id, channel_id) REFERENCES channels (workspace_id, id),
     CONSTRAINT messages_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE UNIQUE INDEX messages_number_uq ON messages (conversation_id, number) WHERE number IS NOT NULL`,
  `CREATE INDEX messages_thread_idx ON messages (conversation_id, sent_at, place, id)`,
  `CREATE INDEX messages_amends_idx ON messages (channel_id, amends_message_id) WHERE amends_message_id IS NOT NULL`,

  `CREATE TABLE turns (
     id uuid NOT NULL CONSTRAINT turns_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     conversation_id uuid NOT NULL,
     first_number integer NOT NULL,
     last_number integer NOT NULL,
     outcome text NOT NULL,
     epoch integer NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT turns_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT turns_first_number_uq UNIQUE (conversation_id, first_number),
     CONSTRAINT turns_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE
   )`,

  `CREATE TABLE replies (
     id uuid NOT NULL CONSTRAINT replies_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     conversation_id uuid NOT NULL,
     turn_id uuid CONSTRAINT replies_turn_uq UNIQUE,
     author text NOT NULL,
     kind text NOT NULL,
     text text NOT NULL,
     quote_message_id text,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT replies_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT replies_channel_fk FOREIGN KEY (workspace_id, channel_id) REFERENCES channels (workspace_id, id),
     CONSTRAINT replies_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE,
     CONSTRAINT replies_turn_fk FOREIGN KEY (workspace_id, turn_id) REFERENCES turns (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX replies_thread_idx ON replies (conversation_id, created_at, id)`,

  `CREATE TABLE receipts (
     id uuid NOT NULL CONSTRAINT receipts_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     turn_id uuid NOT NULL CONSTRAINT receipts_turn_uq UNIQUE,
     reply_id uuid,
     question text NOT NULL,
     rewritten_question text,
     passages jsonb NOT NULL,
     prompt_version text,
     model text NOT NULL,
     input_tokens integer NOT NULL DEFAULT 0,
     output_tokens integer NOT NULL DEFAULT 0,
     cost_micros bigint,
     timings jsonb NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT receipts_turn_fk FOREIGN KEY (workspace_id, turn_id) REFERENCES turns (workspace_id, id) ON DELETE CASCADE,
     CONSTRAINT receipts_reply_fk FOREIGN KEY (workspace_id, reply_id) REFERENCES replies (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX receipts_reply_idx ON receipts (reply_id)`,

  `CREATE TABLE sends (
     id uuid NOT NULL CONSTRAINT sends_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     conversation_id uuid NOT NULL,
     reply_id uuid NOT NULL,
     part integer NOT NULL,
     position integer NOT NULL,
     author text NOT NULL,
     epoch integer NOT NULL,
     body text NOT NULL,
     quote_message_id text,
     phase text NOT NULL DEFAULT 'pending',
     due_at timestamptz,
     delivery text,
     failure text,
     pair_refusals integer NOT NULL DEFAULT 0,
     retrying_since timestamptz,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT sends_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT sends_part_uq UNIQUE (reply_id, part),
     CONSTRAINT sends_position_uq UNIQUE (conversation_id, position),
     CONSTRAINT sends_channel_fk FOREIGN KEY (workspace_id, channel_id) REFERENCES channels (workspace_id, id),
     CONSTRAINT sends_conversation_fk FOREIGN KEY (workspace_id, conversation_id)
       REFERENCES conversations (workspace_id, id) ON DELETE CASCADE,
     CONSTRAINT sends_reply_fk FOREIGN KEY (workspace_id, reply_id) REFERENCES replies (workspace_id, id) ON DELETE CASCADE
   ) WITH (fillfactor = 80)`,
  `CREATE INDEX sends_due_idx ON sends (due_at) WHERE phase IN ('pending', 'retry') AND due_at IS NOT NULL`,
  `CREATE INDEX sends_open_idx ON sends (conversation_id, position) WHERE phase IN ('pending', 'retry', 'sending', 'unknown')`,
  `CREATE INDEX sends_unsettled_idx ON sends (id) WHERE phase IN ('sending', 'unknown')`,

  // The attempt's id travels to Meta as biz_opaque_callback_data and comes back in statuses.
  `CREATE TABLE attempts (
     id uuid NOT NULL CONSTRAINT attempts_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     send_id uuid NOT NULL,
     number integer NOT NULL,
     phase text NOT NULL,
     started_at timestamptz NOT NULL,
     ended_at timestamptz,
     provider_message_id text,
     code text,
     CONSTRAINT attempts_number_uq UNIQUE (send_id, number),
     CONSTRAINT attempts_send_fk FOREIGN KEY (workspace_id, send_id) REFERENCES sends (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX attempts_provider_idx ON attempts (channel_id, provider_message_id) WHERE provider_message_id IS NOT NULL`,

  // Ids and states only. send_id is null until it was matched.
  `CREATE TABLE statuses (
     id uuid NOT NULL CONSTRAINT statuses_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     channel_id uuid NOT NULL,
     send_id uuid,
     attempt_id uuid,
     provider_message_id text NOT NULL,
     dedupe_key text NOT NULL,
     status text NOT NULL,
     failure_code text,
     pricing jsonb,
     at timestamptz NOT NULL,
     received_at timestamptz NOT NULL,
     CONSTRAINT statuses_dedupe_uq UNIQUE (channel_id, dedupe_key),
     CONSTRAINT statuses_channel_fk FOREIGN KEY (workspace_id, channel_id) REFERENCES channels (workspace_id, id),
     CONSTRAINT statuses_send_fk FOREIGN KEY (workspace_id, send_id) REFERENCES sends (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX statuses_send_idx ON statuses (send_id)`,
  `CREATE INDEX statuses_unmatched_idx ON statuses (channel_id, provider_message_id) WHERE send_id IS NULL`,

  `CREATE TABLE usage (
     workspace_id uuid NOT NULL CONSTRAINT usage_workspace_fk REFERENCES workspaces (id),
     month text NOT NULL,
     used integer NOT NULL DEFAULT 0,
     "limit" integer,
     CONSTRAINT usage_pk PRIMARY KEY (workspace_id, month),
     CONSTRAINT usage_limit_ck CHECK ("limit" IS NULL OR used <= "limit")
   ) WITH (fillfactor = 50)`,

  // Append-only; like an audit log it outlives the contact and the conversation, so it points at neither.
  `CREATE TABLE usage_entries (
     id uuid NOT NULL CONSTRAINT usage_entries_pk PRIMARY KEY,
     workspace_id uuid NOT NULL CONSTRAINT usage_entries_workspace_fk REFERENCES workspaces (id),
     month text NOT NULL,
     channel_id uuid NOT NULL,
     turn_id uuid NOT NULL,
     sign smallint NOT NULL CONSTRAINT usage_entries_sign_ck CHECK (sign IN (1, -1)),
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT usage_entries_turn_uq UNIQUE (turn_id, sign)
   )`,

  `CREATE TABLE outbox (
     id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT outbox_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     event_id text NOT NULL CONSTRAINT outbox_event_uq UNIQUE,
     subject text NOT NULL,
     payload json NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now()
   )`,

  // One row a delivery that ingest read; one row a key, verdict and minute, with a count, for those that were refused.
  `CREATE TABLE webhook_log (
     id uuid NOT NULL CONSTRAINT webhook_log_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     webhook_key_id uuid NOT NULL,
     verdict text NOT NULL,
     body_sha256 text,
     stream_sequence bigint,
     found integer NOT NULL DEFAULT 0,
     stored integer NOT NULL DEFAULT 0,
     repeated integer NOT NULL DEFAULT 0,
     minute timestamptz,
     count integer NOT NULL DEFAULT 1,
     received_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT webhook_log_minute_uq UNIQUE (webhook_key_id, verdict, minute),
     CONSTRAINT webhook_log_key_fk FOREIGN KEY (workspace_id, webhook_key_id)
       REFERENCES webhook_keys (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX webhook_log_recent_idx ON webhook_log (workspace_id, id DESC)`,
  `CREATE INDEX webhook_log_body_idx ON webhook_log (workspace_id, body_sha256) WHERE body_sha256 IS NOT NULL`,
  `CREATE INDEX webhook_log_received_idx ON webhook_log (received_at)`,

  // Proof that webhooks were being accepted: a row every 5 s while a gateway can store.
  `CREATE TABLE gateway_heartbeats (
     id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT gateway_heartbeats_pk PRIMARY KEY,
     at timestamptz NOT NULL DEFAULT now()
   )`,
  `CREATE INDEX gateway_heartbeats_at_idx ON gateway_heartbeats (at)`,

  // Everything accepted before caught_up_at is in the tables.
  `CREATE TABLE ingest_progress (
     id boolean NOT NULL DEFAULT true CONSTRAINT ingest_progress_pk PRIMARY KEY CONSTRAINT ingest_progress_one_ck CHECK (id),
     caught_up_at timestamptz NOT NULL
   )`,

  `CREATE TABLE sources (
     id uuid NOT NULL CONSTRAINT sources_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     chatbot_id uuid NOT NULL,
     type text NOT NULL,
     title text NOT NULL,
     content text NOT NULL,
     url text,
     state text NOT NULL DEFAULT 'pending',
     error_code text,
     passage_count integer NOT NULL DEFAULT 0,
     fence integer NOT NULL DEFAULT 0,
     lease_until timestamptz,
     tries integer NOT NULL DEFAULT 0,
     due_at timestamptz,
     created_at timestamptz NOT NULL DEFAULT now(),
     updated_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT sources_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT sources_chatbot_fk FOREIGN KEY (workspace_id, chatbot_id) REFERENCES chatbots (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX sources_due_idx ON sources (due_at) WHERE due_at IS NOT NULL`,
  `CREATE INDEX sources_chatbot_idx ON sources (workspace_id, chatbot_id, id)`,

  `CREATE TABLE documents (
     id uuid NOT NULL CONSTRAINT documents_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     source_id uuid NOT NULL,
     title text NOT NULL,
     url text,
     sha256 text NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT documents_workspace_uq UNIQUE (workspace_id, id),
     CONSTRAINT documents_source_fk FOREIGN KEY (workspace_id, source_id) REFERENCES sources (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX documents_source_idx ON documents (source_id)`,

  `CREATE TABLE passages (
     id uuid NOT NULL CONSTRAINT passages_pk PRIMARY KEY,
     workspace_id uuid NOT NULL,
     chatbot_id uuid NOT NULL,
     source_id uuid NOT NULL,
     document_id uuid NOT NULL,
     ordinal integer NOT NULL,
     title text NOT NULL,
     heading_path text[] NOT NULL,
     text text NOT NULL,
     sha256 text NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(),
     CONSTRAINT passages_ordinal_uq UNIQUE (document_id, ordinal),
     CONSTRAINT passages_document_fk FOREIGN KEY (workspace_id, document_id) REFERENCES documents (workspace_id, id) ON DELETE CASCADE,
     CONSTRAINT passages_source_fk FOREIGN KEY (workspace_id, source_id) REFERENCES sources (workspace_id, id) ON DELETE CASCADE
   )`,
  `CREATE INDEX passages_chatbot_idx ON passages (workspace_id, chatbot_id, id)`,
  `CREATE INDEX passages_source_idx ON passages (source_id)`,
];
