import { type channelSchema, type ChannelState, type ChannelType, type readChannelSchema } from '@answerline/contracts';
import { Database, type Page, type Sql } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { Inject, Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { GATEWAY_OPTIONS, type GatewayOptions } from '../gateway-options.ts';
import { notFound } from '../management-api/api-errors.ts';
import { pageFrom } from '../management-api/pages.ts';
import { openWebhookSettings } from './webhook-settings.ts';

type Channel = z.infer<typeof channelSchema>;

interface ChannelRow {
  id: string;
  chatbot_id: string;
  type: ChannelType;
  state: ChannelState;
  answers: boolean;
  phone_number_id: string | null;
  waba_id: string | null;
  display_phone_number: string | null;
  verified_name: string | null;
  quality_rating: string | null;
  throughput_level: string | null;
  is_on_biz_app: boolean | null;
  has_number_override: boolean;
  unsigned: boolean;
  send_hold_code: string | null;
  state_reasons: string[];
  created_at: Date;
  key_id: string | null;
  key_ciphertext: string | null;
  verify_token_ciphertext: string | null;
}

const selectChannels = `
  SELECT c.id, c.chatbot_id, c.type, c.state, c.answers, c.phone_number_id, c.waba_id, c.display_phone_number,
         c.verified_name, c.quality_rating, c.throughput_level, c.is_on_biz_app, c.has_number_override,
         c.type = 'whatsapp' AND k.app_secret_ciphertext IS NULL AS unsigned, c.send_hold_code, c.state_reasons, c.created_at,
         k.id AS key_id, k.key_ciphertext, k.verify_token_ciphertext
  FROM channels c LEFT JOIN webhook_keys k ON k.workspace_id = c.workspace_id AND k.id = c.webhook_key_id`;

/** Shows what is connected. */
@Injectable()
export class ReadChannels {
  readonly #database: Database;
  readonly #secretBox: SecretBox;
  readonly #options: GatewayOptions;

  constructor(database: Database, secretBox: SecretBox, @Inject(GATEWAY_OPTIONS) options: GatewayOptions) {
    this.#database = database;
    this.#secretBox = secretBox;
    this.#options = options;
  }

  /** The WhatsApp channels of a chatbot, newest first. Throws 404 when there is no such chatbot. */
  async list(
    workspaceId: string,
    chatbotId: string,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<Channel>> {
    const chatbot = await this.#database.forWorkspace(workspaceId).chatbots.find({ id: chatbotId });
    if (chatbot === null) throw notFound();
    const rows = await this.#database.query<ChannelRow>(
      `${selectChannels}
       WHERE c.workspace_id = $1 AND c.chatbot_id = $2 AND c.type = 'whatsapp' AND ($3::uuid IS NULL OR c.id < $3::uuid)
       ORDER BY c.id DESC LIMIT $4`,
      [workspaceId, chatbotId, cursor ?? null, limit + 1],
    );
    const page = pageFrom(rows, limit, ({ id }) => id);
    return { ...page, items: page.items.map(toChannel) };
  }

  /** One channel. With `withSettings` also what is pasted at Meta: whoever has it can answer Meta's verification. */
  async read(
    workspaceId: string,
    id: string,
    { withSettings }: { readonly withSettings: boolean },
  ): Promise<z.infer<typeof readChannelSchema>> {
    const row = await findChannel(this.#database, workspaceId, id);
    const { key_id: keyId, key_ciphertext: key, verify_token_ciphertext: verifyToken } = row;
    if (!withSettings || row.state === 'disconnected' || keyId === null || key === null || verifyToken === null) {
      return toChannel(row);
    }
    const stored = { id: keyId, workspaceId, key, verifyToken };
    return { ...toChannel(row), ...openWebhookSettings(this.#secretBox, stored, this.#options.publicUrl) };
  }
}

/** @throws RefusedRequest 404 */
async function findChannel(sql: Sql, workspaceId: string, id: string): Promise<ChannelRow> {
  const [row] = await sql.query<ChannelRow>(`${selectChannels} WHERE c.workspace_id = $1 AND c.id = $2`, [
    workspaceId,
    id,
  ]);
  if (!row) throw notFound();
  return row;
}

/** A channel as the API shows it. */
export async function readChannel(sql: Sql, workspaceId: string, id: string): Promise<Channel> {
  return toChannel(await findChannel(sql, workspaceId, id));
}

function toChannel(row: ChannelRow): Channel {
  return {
    id: row.id,
    chatbotId: row.chatbot_id,
    type: row.type,
    state: row.state,
    answers: row.answers,
    phoneNumberId: row.phone_number_id,
    wabaId: row.waba_id,
    displayPhoneNumber: row.display_phone_number,
    verifiedName: row.verified_name,
    qualityRating: row.quality_rating,
    throughput: row.throughput_level,
    onBusinessApp: row.is_on_biz_app,
    numberOverride: row.has_number_override,
    unsigned: row.unsigned,
    sendHoldCode: row.send_hold_code,
    reasons: row.state_reasons,
    createdAt: row.created_at.toISOString(),
  };
}
