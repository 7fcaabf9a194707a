import { randomBytes, randomInt } from 'node:crypto';
import { newId, type Database } from '@answerline/persistence';

/** A workspace with one chatbot and one WhatsApp number that answers. */
export interface SeededChannel {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly keyId: string;
  readonly channelId: string;
  readonly phoneNumberId: string;
}

export interface SeedOptions {
  readonly plan?: string;
  readonly quietMs?: number;
  readonly quietMaxMs?: number;
  readonly accessTokenCiphertext?: string;
  readonly messagesPerSecond?: number;
}

/** Seeds a workspace with a channel of its own, straight into the tables. Ciphertexts are placeholders unless given. */
export async function seedChannel(database: Database, options: SeedOptions = {}): Promise<SeededChannel> {
  const seeded = {
    workspaceId: newId(),
    chatbotId: newId(),
    keyId: newId(),
    channelId: newId(),
    phoneNumberId: String(randomInt(10 ** 14, 10 ** 14 * 2)),
  };
  const { workspaceId, chatbotId, keyId, channelId, phoneNumberId } = seeded;
  const { plan = 'scale', quietMs = 1500, quietMaxMs = 6000, messagesPerSecond = 80 } = options;
  await database.query(`INSERT INTO workspaces (id, name, plan) VALUES ($1, 'Seeded', $2)`, [workspaceId, plan]);
  await database.query(
    `INSERT INTO chatbots (id, workspace_id, name, quiet_ms, quiet_max_ms) VALUES ($1, $2, 'Seeded', $3, $4)`,
    [chatbotId, workspaceId, quietMs, quietMaxMs],
  );
  await database.query(
    `INSERT INTO webhook_keys (id, workspace_id, app_id, key_hash, key_ciphertext, verify_token_ciphertext, app_secret_ciphertext)
     VALUES ($1, $2, '1', $3, '-', '-', '-')`,
    [keyId, workspaceId, randomBytes(32)],
  );
  await database.query(
    `INSERT INTO channels (id, workspace_id, chatbot_id, webhook_key_id, type, state, phone_number_id, waba_id,
                           access_token_ciphertext, messages_per_second, heard_key_id, heard_at)
     VALUES ($1, $2, $3, $4, 'whatsapp', 'live', $5, '1', $6, $7, $4, now())`,
    [channelId, workspaceId, chatbotId, keyId, phoneNumberId, options.accessTokenCiphertext ?? '-', messagesPerSecond],
  );
  return seeded;
}
