import {
  type channelSchema,
  type ChannelState,
  type ChannelType,
  type connectedChannelSchema,
  planLimits,
  plansWith,
  type putWhatsAppChannelSchema,
} from '@answerline/contracts';
import { Transient } from '@answerline/errors';
import { MessageBus } from '@answerline/messaging';
import { Database, newId, type Page, type Sql } from '@answerline/persistence';
import { generateToken, SecretBox } from '@answerline/secrets';
import { Inject, Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type * as z from 'zod';
import { GATEWAY_OPTIONS, type GatewayOptions } from '../gateway-options.ts';
import { notFound, planUpgradeRequired, RefusedRequest, validationFailed } from '../management-api/api-errors.ts';
import { pageFrom } from '../management-api/pages.ts';

type Channel = z.infer<typeof channelSchema>;
type Connection = z.infer<typeof putWhatsAppChannelSchema>;

interface ChannelRow {
  id: string;
  chatbot_id: string;
  type: ChannelType;
  state: ChannelState;
  answers: boolean;
  phone_number_id: string | null;
  waba_id: string | null;
  display_phone_number: string | null;
  unsigned: boolean;
  send_hold_code: string | null;
  created_at: Date;
}

interface WebhookKeyRow {
  id: string;
  key_ciphertext: string;
  verify_token_ciphertext: string;
  app_secret_ciphertext: string | null;
}

const selectChannels = `
  SELECT c.id, c.chatbot_id, c.type, c.state, c.answers, c.phone_number_id, c.waba_id, c.display_phone_number,
         c.type = 'whatsapp' AND k.app_secret_ciphertext IS NULL AS unsigned, c.send_hold_code, c.created_at
  FROM channels c LEFT JOIN webhook_keys k ON k.workspace_id = c.workspace_id AND k.id = c.webhook_key_id`;

/** Bytes of a webhook key and of a verify token. */
const KEY_BYTES = 32;

/** Connects a business's own WhatsApp number, and shows what is connected. */
@Injectable()
export class ConnectWhatsApp {
  readonly #database: Database;
  readonly #bus: MessageBus;
  readonly #secretBox: SecretBox;
  readonly #options: GatewayOptions;

  constructor(
    database: Database,
    bus: MessageBus,
    secretBox: SecretBox,
    @Inject(GATEWAY_OPTIONS) options: GatewayOptions,
  ) {
    this.#database = database;
    this.#bus = bus;
    this.#secretBox = secretBox;
    this.#options = options;
  }

  /**
   * Connects the number, or renews its connection when this workspace has it already. All numbers of a Meta app share one
   * callback, as the app has only one; an App Secret once given is kept until another is given. Refused with 404 (no such
   * chatbot), 402 `plan_upgrade_required`, 409 `phone_number_in_use`, 422.
   */
  async execute(
    workspaceId: string,
    chatbotId: string,
    connection: Connection,
  ): Promise<z.infer<typeof connectedChannelSchema>> {
    const connected = await this.#database.transaction(async (sql) => {
      await this.#refuseByPlan(sql, workspaceId, chatbotId);
      const key = await this.#keyOf(sql, workspaceId, connection);
      if (key.app_secret_ciphertext === null && this.#options.requireAppSecret) {
        throw validationFailed([
          { path: 'appSecret', message: 'This installation takes no channel without an App Secret.' },
        ]);
      }
      const channelId = await this.#storeChannel(sql, workspaceId, chatbotId, key.id, connection);
      const [channel] = await sql.query<ChannelRow>(`${selectChannels} WHERE c.workspace_id = $1 AND c.id = $2`, [
        workspaceId,
        channelId,
      ]);
      if (!channel) throw notFound();
      await releaseSends(sql, channelId);
      return { key, channel };
    });
    this.#bus.ring('send');
    const { key, channel } = connected;
    const open = (ciphertext: string, column: string): string =>
      this.#secretBox.open(ciphertext, { workspaceId, table: 'webhook_keys', rowId: key.id, column });
    return {
      ...toChannel(channel),
      callbackUrl: `${this.#options.publicUrl}/webhooks/whatsapp/${open(key.key_ciphertext, 'key_ciphertext')}`,
      verifyToken: open(key.verify_token_ciphertext, 'verify_token_ciphertext'),
    };
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

  async read(workspaceId: string, id: string): Promise<Channel> {
    const [row] = await this.#database.query<ChannelRow>(`${selectChannels} WHERE c.workspace_id = $1 AND c.id = $2`, [
      workspaceId,
      id,
    ]);
    if (!row) throw notFound();
    return toChannel(row);
  }

  async #refuseByPlan(sql: Sql, workspaceId: string, chatbotId: string): Promise<void> {
    const [row] = await sql.query<{ plan: string }>(
      `SELECT w.plan FROM workspaces w JOIN chatbots c ON c.workspace_id = w.id WHERE w.id = $1 AND c.id = $2`,
      [workspaceId, chatbotId],
    );
    if (!row) throw notFound();
    if (planLimits(row.plan).whatsapp) return;
    throw planUpgradeRequired(row.plan, plansWith('whatsapp'), this.#options.upgradeUrl);
  }

  /** The webhook key of the app, made if it is not there, with the App Secret if one was given now. */
  async #keyOf(sql: Sql, workspaceId: string, { appId, appSecret }: Connection): Promise<WebhookKeyRow> {
    const id = newId();
    const key = generateToken(KEY_BYTES);
    const seal = (plain: string, rowId: string, column: string): string =>
      this.#secretBox.seal(plain, { workspaceId, table: 'webhook_keys', rowId, column });
    await sql.query(
      `INSERT INTO webhook_keys (id, workspace_id, app_id, key_hash, key_ciphertext, verify_token_ciphertext)
       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, app_id) DO NOTHING`,
      [
        id,
        workspaceId,
        appId,
        createHash('sha256').update(key).digest(),
        seal(key, id, 'key_ciphertext'),
        seal(generateToken(KEY_BYTES), id, 'verify_token_ciphertext'),
      ],
    );
    const [row] = await sql.query<WebhookKeyRow>(
      `SELECT id, key_ciphertext, verify_token_ciphertext, app_secret_ciphertext FROM webhook_keys
       WHERE workspace_id = $1 AND app_id = $2 FOR NO KEY UPDATE`,
      [workspaceId, appId],
    );
    if (!row) throw notFound();
    if (appSecret === undefined) return row;
    const ciphertext = seal(appSecret, row.id, 'app_secret_ciphertext');
    await sql.query(`UPDATE webhook_keys SET app_secret_ciphertext = $2 WHERE id = $1`, [row.id, ciphertext]);
    return { ...row, app_secret_ciphertext: ciphertext };
  }

  async #storeChannel(
    sql: Sql,
    workspaceId: string,
    chatbotId: string,
    webhookKeyId: string,
    { phoneNumberId, wabaId, displayPhoneNumber, accessToken }: Connection,
  ): Promise<string> {
    await sql.query(
      `INSERT INTO channels (id, workspace_id, chatbot_id, type, state, phone_number_id)
       VALUES ($1, $2, $3, 'whatsapp', 'draft', $4) ON CONFLICT (phone_number_id) DO NOTHING`,
      [newId(), workspaceId, chatbotId, phoneNumberId],
    );
    // A number that another transaction took is there to be read: the insert waited for it.
    const [row] = await sql.query<{ id: string; workspace_id: string }>(
      `SELECT id, workspace_id FROM channels WHERE phone_number_id = $1`,
      [phoneNumberId],
    );
    if (!row) throw new Transient('database_conflict', 'The channel has just gone.');
    if (row.workspace_id !== workspaceId) {
      throw new RefusedRequest('phone_number_in_use', 'This phone number id is connected in another workspace.', 409);
    }
    await sql.query(
      `UPDATE channels
       SET chatbot_id = $2, webhook_key_id = $3, state = 'live', answers = true, waba_id = $4,
           display_phone_number = coalesce($5, display_phone_number), access_token_ciphertext = $6, send_hold_code = NULL
       WHERE id = $1`,
      [
        row.id,
        chatbotId,
        webhookKeyId,
        wabaId,
        displayPhoneNumber ?? null,
        this.#secretBox.seal(accessToken, {
          workspaceId,
          table: 'channels',
          rowId: row.id,
          column: 'access_token_ciphertext',
        }),
      ],
    );
    return row.id;
  }
}

/** What waited for working credentials is due now; the fact `reconnected` of the send rules. In id order, as all lock sends. */
async function releaseSends(sql: Sql, channelId: string): Promise<void> {
  await sql.query(
    `WITH waiting AS (
       SELECT id FROM sends WHERE channel_id = $1 AND phase = 'retry' AND due_at IS NULL ORDER BY id FOR NO KEY UPDATE
     )
     UPDATE sends s SET due_at = now(), retrying_since = NULL FROM waiting WHERE s.id = waiting.id`,
    [channelId],
  );
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
    unsigned: row.unsigned,
    sendHoldCode: row.send_hold_code,
    createdAt: row.created_at.toISOString(),
  };
}
