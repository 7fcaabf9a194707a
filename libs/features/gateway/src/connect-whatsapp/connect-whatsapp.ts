import {
  type connectedChannelSchema,
  planLimits,
  plansWith,
  type putWhatsAppChannelSchema,
} from '@answerline/contracts';
import { Transient } from '@answerline/errors';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import {
  checkConnection,
  type Connection,
  type ConnectionReport,
  GraphManagement,
  isOwnCallback,
  MANAGEMENT_SCOPE,
  planCallback,
  type WebhookTarget,
} from '@answerline/whatsapp';
import { Inject, Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { GATEWAY_OPTIONS, type GatewayOptions } from '../gateway-options.ts';
import { notFound, planUpgradeRequired, validationFailed } from '../management-api/api-errors.ts';
import {
  afterSetup,
  beforeSetup,
  connectionRefused,
  phoneNumberFree,
  type WhatsAppCheck,
} from './connection-checks.ts';
import { readChannel } from './read-channels.ts';
import { setUpWebhook } from './set-up-webhook.ts';
import { isNumberTaken, storeConnection } from './store-connection.ts';
import { type ClaimedKey, claimWebhookKey, releaseWebhookKey } from './webhook-key-claim.ts';
import { openWebhookSettings } from './webhook-settings.ts';

type Request = z.infer<typeof putWhatsAppChannelSchema>;
type ConnectedChannel = z.infer<typeof connectedChannelSchema>;

/** Connects a business's own WhatsApp number. */
@Injectable()
export class ConnectWhatsApp {
  readonly #database: Database;
  readonly #bus: MessageBus;
  readonly #secretBox: SecretBox;
  readonly #graph: GraphManagement;
  readonly #options: GatewayOptions;

  constructor(
    database: Database,
    bus: MessageBus,
    secretBox: SecretBox,
    graph: GraphManagement,
    @Inject(GATEWAY_OPTIONS) options: GatewayOptions,
  ) {
    this.#database = database;
    this.#bus = bus;
    this.#secretBox = secretBox;
    this.#graph = graph;
    this.#options = options;
  }

  /**
   * Connects the number, or renews its connection when this workspace has it already. Everything is checked at Meta first,
   * then the webhook is set up there, and only then is anything stored; what was refused leaves no trace here or there. All
   * numbers of a Meta app share one callback, as the app has only one; an App Secret once given is kept until another is
   * given. Refused with 404 (no such chatbot), 402 `plan_upgrade_required`, and by the code of the first failed check with
   * 409, 422, 429 or 502.
   */
  async execute(workspaceId: string, chatbotId: string, request: Request): Promise<ConnectedChannel> {
    await this.#refuseByPlan(workspaceId, chatbotId);
    const connection = await this.#connectionOf(workspaceId, request);
    await this.#refuseStrangers(connection, request);
    const claim = await claimWebhookKey(this.#database, this.#secretBox, workspaceId, request.appId);
    try {
      return await this.#connect(chatbotId, connection, request, claim);
    } catch (error) {
      await releaseWebhookKey(this.#database, claim);
      throw error;
    }
  }

  /** Whoever has no token of the app learns why, and holds up nobody who connects a number of it. */
  async #refuseStrangers(connection: Connection, request: Request): Promise<void> {
    const token = await this.#graph.debugToken(connection);
    if (token.outcome === 'answered' && token.value.isValid && token.value.appId === connection.appId) return;
    const { checks, retryAfterMs } = await this.#check(connection, undefined, request);
    const failed = checks.find(({ status }) => status === 'failed');
    if (failed) throw connectionRefused(checks, failed, retryAfterMs);
    throw new Transient('token_unclear', 'Meta said two things of the token.');
  }

  async #connect(
    chatbotId: string,
    connection: Connection,
    request: Request,
    claim: ClaimedKey,
  ): Promise<ConnectedChannel> {
    const target = openWebhookSettings(this.#secretBox, claim, this.#options.publicUrl);
    const report = await this.#check(connection, target, request);
    const plan = planCallback({
      ownUrl: target.callbackUrl,
      callbacks: report.phoneNumber?.callbacks,
      appSubscription: report.appSubscription,
      canManage: report.token?.scopes?.includes(MANAGEMENT_SCOPE) ?? true,
      choice: request.callback,
    });
    const refused = beforeSetup(report.checks, plan);
    const refuse = (first: WhatsAppCheck | undefined): void => {
      if (first) throw connectionRefused(refused.checks, first, report.retryAfterMs);
    };
    refuse(refused.credentials);
    // Only to somebody who has the number at Meta, so that nobody can try out which numbers are connected here.
    const isTaken = await isNumberTaken(this.#database, claim.workspaceId, connection.phoneNumberId);
    if (isTaken) throw numberInUse(report.checks);
    refuse(refused.webhook);

    const setUp = await setUpWebhook(this.#graph, {
      connection,
      target,
      isAppMissing: report.subscribedAppIds?.includes(connection.appId) === false,
      callback: plan,
      hadAppSubscription: report.appSubscription !== null,
      hadNumberOverride: report.phoneNumber?.callbacks.phoneNumber !== undefined,
    });
    if (setUp.refused) throw connectionRefused(replaced(report.checks, setUp.refused), setUp.refused);
    try {
      const settled = setUp.changed ? await this.#check(connection, target, request) : report;
      const checks = afterSetup(settled.checks, plan, setUp.isFinal);
      const failed = checks.find(({ status }) => status === 'failed');
      if (failed) throw connectionRefused(checks, failed, settled.retryAfterMs);
      return await this.#store(chatbotId, request, claim, {
        connection,
        target,
        // When Meta was away for the second look, what it said at the first stands.
        report: {
          ...settled,
          token: settled.token ?? report.token,
          phoneNumber: settled.phoneNumber ?? report.phoneNumber,
        },
        hasSetOverride: plan.step === 'set_number_override',
        checks,
      });
    } catch (error) {
      await setUp.undo();
      throw error;
    }
  }

  async #store(
    chatbotId: string,
    request: Request,
    claim: ClaimedKey,
    connected: {
      readonly connection: Connection;
      readonly target: WebhookTarget;
      readonly report: ConnectionReport;
      readonly hasSetOverride: boolean;
      readonly checks: readonly WhatsAppCheck[];
    },
  ): Promise<ConnectedChannel> {
    const { connection, target, report, hasSetOverride, checks } = connected;
    const ownOverride = report.phoneNumber?.callbacks.phoneNumber;
    const channel = await this.#database.transaction(async (sql) => {
      const channelId = await storeConnection(sql, this.#secretBox, claim, {
        chatbotId,
        connection,
        phoneNumber: report.phoneNumber,
        displayPhoneNumber: request.displayPhoneNumber,
        hasNumberOverride:
          hasSetOverride || (report.phoneNumber && isOwnCallback(ownOverride ?? '', target.callbackUrl)),
        isWebhookVerified: checks.some(({ check, status }) => check === 'callback' && status === 'ok'),
        now: Date.now(),
      });
      if (channelId === null) throw numberInUse(report.checks);
      return readChannel(sql, claim.workspaceId, channelId);
    });
    this.#bus.ring('send');
    return { ...channel, ...target, checks: [...checks, phoneNumberFree(true)] };
  }

  /** With the App Secret that is stored when none is given anew. */
  async #connectionOf(workspaceId: string, request: Request): Promise<Connection> {
    const { appId, wabaId, phoneNumberId, accessToken, appSecret } = request;
    const [stored] = await this.#database.query<{ id: string; ciphertext: string }>(
      `SELECT id, app_secret_ciphertext AS ciphertext FROM webhook_keys
       WHERE workspace_id = $1 AND app_id = $2 AND app_secret_ciphertext IS NOT NULL`,
      [workspaceId, appId],
    );
    const place = { workspaceId, table: 'webhook_keys', rowId: stored?.id ?? '', column: 'app_secret_ciphertext' };
    const known = appSecret ?? (stored && this.#secretBox.open(stored.ciphertext, place));
    if (known === undefined && this.#options.requireAppSecret) {
      throw validationFailed([
        { path: 'appSecret', message: 'This installation takes no channel without an App Secret.' },
      ]);
    }
    return { appId, wabaId, phoneNumberId, accessToken, appSecret: known };
  }

  #check(
    connection: Connection,
    target: WebhookTarget | undefined,
    { acceptExpiring }: Request,
  ): Promise<ConnectionReport> {
    const callbackUrl = target?.callbackUrl;
    return checkConnection(this.#graph, connection, { callbackUrl, acceptExpiring, now: Date.now });
  }

  async #refuseByPlan(workspaceId: string, chatbotId: string): Promise<void> {
    const [row] = await this.#database.query<{ plan: string }>(
      `SELECT w.plan FROM workspaces w JOIN chatbots c ON c.workspace_id = w.id WHERE w.id = $1 AND c.id = $2`,
      [workspaceId, chatbotId],
    );
    if (!row) throw notFound();
    if (planLimits(row.plan).whatsapp) return;
    throw planUpgradeRequired(row.plan, plansWith('whatsapp'), this.#options.upgradeUrl);
  }
}

function numberInUse(checks: readonly WhatsAppCheck[]) {
  const inUse = phoneNumberFree(false);
  return connectionRefused([...checks, inUse], inUse);
}

const replaced = (checks: readonly WhatsAppCheck[], by: WhatsAppCheck): WhatsAppCheck[] =>
  checks.map((check) => (check.check === by.check ? by : check));
