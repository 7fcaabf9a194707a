import { type disconnectedChannelSchema } from '@answerline/contracts';
import { Transient } from '@answerline/errors';
import { MessageBus } from '@answerline/messaging';
import {
  callOffSends,
  callsUnderWay,
  conversationsWithUnsent,
  Database,
  type Transaction,
} from '@answerline/persistence';
import { SecretBox, SecretUnreadable } from '@answerline/secrets';
import { GraphManagement } from '@answerline/whatsapp';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { askUntil, CALLS_END_WITHIN_MS } from '../calls-under-way.ts';
import { notFound, RefusedRequest } from '../management-api/api-errors.ts';

type DisconnectedChannel = z.infer<typeof disconnectedChannelSchema>;
type Override = DisconnectedChannel['callbackOverride'];
type Erased = DisconnectedChannel['erased'];

/** Failure of what does not leave any more. */
const CHANNEL_OFF = 'channel_off';
/** Somebody connects another number of the app, which takes seconds. */
const CONNECT_ENDS_WITHIN_MS = 20_000;

interface CredentialsRow {
  access_token_ciphertext: string | null;
  phone_number_id: string | null;
  has_number_override: boolean;
  key_id: string | null;
  app_secret_ciphertext: string | null;
}

/** Switches a WhatsApp channel off and erases its secrets. */
@Injectable()
export class DisconnectWhatsApp {
  readonly #database: Database;
  readonly #bus: MessageBus;
  readonly #secretBox: SecretBox;
  readonly #graph: GraphManagement;

  constructor(database: Database, bus: MessageBus, secretBox: SecretBox, graph: GraphManagement) {
    this.#database = database;
    this.#bus = bus;
    this.#secretBox = secretBox;
    this.#graph = graph;
  }

  /**
   * Nothing new is said from the first step on; after the last no call to Meta is made any more. Done again it goes on where
   * it ended before. Only the secrets go: what was said stays, and the number can be connected again, also elsewhere. Refused
   * with 404, and with 409 `channel_connected_meanwhile` when somebody connects it while this waits.
   *
   * @throws Transient `connect_in_progress` while another number of the same Meta app is being connected
   */
  async execute(workspaceId: string, channelId: string): Promise<DisconnectedChannel> {
    await this.#switchOff(workspaceId, channelId);
    const { superseded, underWay } = await this.#quieten(channelId);
    const override = await this.#removeOverride(workspaceId, channelId);
    const erased = await this.#erase(workspaceId, channelId, override);
    // A turn that was being committed while the channel was switched off may have left one more.
    const late = await this.#callOff(channelId);
    return {
      channelId,
      state: 'disconnected',
      supersededSends: superseded + late,
      callsUnderWay: underWay,
      callbackOverride: override,
      erased,
      action: override.outcome === 'not_removed' ? REMOVE_OVERRIDE : null,
    };
  }

  async #switchOff(workspaceId: string, channelId: string): Promise<void> {
    const rows = await this.#database.query(
      `UPDATE channels SET answers = false WHERE workspace_id = $1 AND id = $2 AND type = 'whatsapp' RETURNING id`,
      [workspaceId, channelId],
    );
    if (rows.length === 0) throw notFound();
  }

  /** Calls off what has not left, and waits for the calls under way: of sends, and of ticks. */
  async #quieten(channelId: string): Promise<{ superseded: number; underWay: number }> {
    const offAt = performance.now();
    let superseded = 0;
    const underWay = await askUntil(async (isLast) => {
      // What comes back from a call that was refused is called off in the next round.
      superseded += await this.#callOff(channelId);
      const calls = await callsUnderWay(this.#database, channelId);
      const isQuiet = calls === 0 && (await this.#ticksAreOver(performance.now() - offAt));
      return isQuiet || isLast ? calls : null;
    }, CALLS_END_WITHIN_MS);
    return { superseded, underWay: underWay ?? 0 };
  }

  async #callOff(channelId: string): Promise<number> {
    let superseded = 0;
    for (;;) {
      const ids = await conversationsWithUnsent(this.#database, channelId);
      if (ids.length === 0) return superseded;
      const round = await this.#database.transaction((sql) => callOffSends(sql, ids, CHANNEL_OFF));
      superseded += round.superseded;
    }
  }

  /** Ticks are shown for events: those from before the channel was off are all dealt with, and for later ones it is off. */
  async #ticksAreOver(offForMs: number): Promise<boolean> {
    const lagMs = await this.#bus.lagMs('EVENTS', 'presence').catch(() => null);
    return lagMs !== null && lagMs < offForMs;
  }

  async #removeOverride(workspaceId: string, channelId: string): Promise<Override> {
    const [row] = await this.#database.query<CredentialsRow>(
      `SELECT c.access_token_ciphertext, c.phone_number_id, c.has_number_override, k.id AS key_id, k.app_secret_ciphertext
       FROM channels c LEFT JOIN webhook_keys k ON k.workspace_id = c.workspace_id AND k.id = c.webhook_key_id
       WHERE c.workspace_id = $1 AND c.id = $2 AND NOT c.answers`,
      [workspaceId, channelId],
    );
    if (!row) throw connectedMeanwhile();
    if (!row.has_number_override || row.phone_number_id === null) return { outcome: 'none', code: null };
    const notRemoved = (code: string): Override => ({ outcome: 'not_removed', code });
    if (row.access_token_ciphertext === null) return notRemoved('token_erased');
    try {
      const credentials = this.#open(workspaceId, channelId, row, row.access_token_ciphertext);
      const answer = await this.#graph.setNumberOverride(credentials, row.phone_number_id, null);
      if (answer.outcome === 'answered') return { outcome: 'removed', code: null };
      return notRemoved(answer.outcome === 'refused' ? answer.failure.reason : 'graph_unreachable');
    } catch (error) {
      if (error instanceof SecretUnreadable) return notRemoved(error.code);
      throw error;
    }
  }

  #open(
    workspaceId: string,
    channelId: string,
    { key_id: keyId, app_secret_ciphertext: appSecret }: CredentialsRow,
    accessToken: string,
  ): { accessToken: string; appSecret?: string } {
    const open = (ciphertext: string, table: string, rowId: string, column: string): string =>
      this.#secretBox.open(ciphertext, { workspaceId, table, rowId, column });
    return {
      accessToken: open(accessToken, 'channels', channelId, 'access_token_ciphertext'),
      ...(keyId !== null &&
        appSecret !== null && { appSecret: open(appSecret, 'webhook_keys', keyId, 'app_secret_ciphertext') }),
    };
  }

  async #erase(workspaceId: string, channelId: string, { outcome }: Override): Promise<Erased> {
    const keepsOverride = outcome === 'not_removed';
    const erased = await askUntil(
      () => this.#database.transaction((sql) => eraseSecrets(sql, { workspaceId, channelId, keepsOverride })),
      CONNECT_ENDS_WITHIN_MS,
    );
    if (erased === null) throw new Transient('connect_in_progress', 'A number of this app is being connected.');
    return erased;
  }
}

const REMOVE_OVERRIDE =
  'Meta still delivers this number to the old address, where deliveries are answered and dropped. To end that, remove the ' +
  'number’s webhook override at Meta (POST /{phone-number-id} with an empty override_callback_uri), or connect it again and ' +
  'disconnect it when Meta can be reached.';

function connectedMeanwhile(): RefusedRequest {
  return new RefusedRequest('channel_connected_meanwhile', 'Somebody has just connected this channel again.', 409);
}

/**
 * The key's row is locked first, as where a number is connected. Its key itself stays, so that late deliveries are known and the
 * same callback can serve again. Returns null while a number of the app is being connected: that needs what would be erased.
 */
async function eraseSecrets(
  sql: Transaction,
  { workspaceId, channelId, keepsOverride }: { workspaceId: string; channelId: string; keepsOverride: boolean },
): Promise<Erased | null> {
  const [key] = await sql.query<{ id: string; is_claimed: boolean; has_secret: boolean; has_token: boolean }>(
    `SELECT k.id, coalesce(k.connecting_until > clock_timestamp(), false) AS is_claimed,
            k.app_secret_ciphertext IS NOT NULL AS has_secret, k.verify_token_ciphertext IS NOT NULL AS has_token
     FROM webhook_keys k
     WHERE k.workspace_id = $1 AND k.id = (SELECT webhook_key_id FROM channels WHERE workspace_id = $1 AND id = $2)
     FOR NO KEY UPDATE`,
    [workspaceId, channelId],
  );
  if (key?.is_claimed) return null;
  const [channel] = await sql.query<{ had_token: boolean }>(
    `WITH before AS (SELECT id, access_token_ciphertext FROM channels WHERE workspace_id = $1 AND id = $2 AND NOT answers FOR NO KEY UPDATE)
     UPDATE channels c
     SET state = 'disconnected', state_reasons = '{}', access_token_ciphertext = NULL, send_hold_code = NULL,
         has_number_override = c.has_number_override AND $3, heard_key_id = NULL, heard_at = NULL
     FROM before WHERE c.id = before.id
     RETURNING before.access_token_ciphertext IS NOT NULL AS had_token`,
    [workspaceId, channelId, keepsOverride],
  );
  if (!channel) throw connectedMeanwhile();
  // It has a hash of the credentials.
  await sql.query('DELETE FROM channel_health WHERE workspace_id = $1 AND channel_id = $2', [workspaceId, channelId]);
  const isLast = key
    ? await sql.query(
        `UPDATE webhook_keys
         SET app_secret_ciphertext = NULL, verify_token_ciphertext = NULL, verified_at = NULL, last_signed_at = NULL
         WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM channels WHERE webhook_key_id = $1 AND state <> 'disconnected')
         RETURNING id`,
        [key.id],
      )
    : [];
  return [
    ...(channel.had_token ? (['accessToken'] as const) : []),
    ...(isLast.length > 0 && key?.has_secret ? (['appSecret'] as const) : []),
    ...(isLast.length > 0 && key?.has_token ? (['verifyToken'] as const) : []),
  ];
}
