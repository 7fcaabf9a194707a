import { setTimeout as delay } from 'node:timers/promises';
import { CALL_START_LIMIT_MS, isSettled } from '@answerline/conversation-rules';
import { toAppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type Database, type SendChange } from '@answerline/persistence';
import { type SecretBox } from '@answerline/secrets';
import { recipientOf, type GraphClient, type RecipientAddress, type SendOutcome } from '@answerline/whatsapp';
import { claimSends, type ClaimedSend } from './claim-sends.ts';
import { OutcomeStore } from './outcome-store.ts';
import { storeNotCalled, storeUnaddressed } from './store-outcomes.ts';

/** Rounds of one claim, while another process takes from the same number's budget. */
const CLAIM_ROUNDS = 3;
/** Tries to store an outcome while Postgres is away. Later the sweep makes the send `unknown`, and its status settles it. */
const STORE_TRIES = 15;
const STORE_RETRY_MS = 1_000;

/** A claimed send and when its claim began. */
export interface SendJob {
  readonly send: ClaimedSend;
  /** By `performance.now()`. */
  readonly claimedAt: number;
}

/** What the call of a send came to. */
export interface SendEnd {
  readonly isOver: boolean;
  readonly opensWay: boolean;
}

/** Calls Graph once for each claimed send and stores how it ended. */
export class SendReply {
  readonly #database: Database;
  readonly #outcomes: OutcomeStore;
  readonly #graph: GraphClient;
  readonly #secrets: SecretBox;
  readonly #logger: Logger;
  readonly #onHumanReply: (conversationId: string) => void;
  readonly #now: () => number;

  constructor(parts: {
    readonly database: Database;
    readonly graph: GraphClient;
    readonly secrets: SecretBox;
    readonly logger: Logger;
    /** Hears of each reply of a human, once Graph has taken its first part. Must not throw. */
    readonly onHumanReply?: (conversationId: string) => void;
    /** By `performance.now()`: a process that was halted must notice that time went by. */
    readonly now?: () => number;
  }) {
    this.#database = parts.database;
    this.#outcomes = new OutcomeStore(parts.database);
    this.#graph = parts.graph;
    this.#secrets = parts.secrets;
    this.#logger = parts.logger;
    this.#onHumanReply = parts.onHumanReply ?? (() => undefined);
    this.#now = parts.now ?? (() => performance.now());
  }

  /** Takes up to `limit` sends; `retryInMs` says when a number that is over its rate may send again. */
  async claim(limit: number): Promise<{ jobs: SendJob[]; retryInMs: number | null }> {
    const jobs: SendJob[] = [];
    let retryInMs: number | null = null;
    for (let round = 0; round < CLAIM_ROUNDS && jobs.length < limit; round += 1) {
      // Before the transaction: the 5 s count from the checks, which come later.
      const claimedAt = this.#now();
      const { calls, again, retryInMs: paced } = await claimSends(this.#database, limit - jobs.length);
      jobs.push(...calls.map((send) => ({ send, claimedAt })));
      if (paced !== null) retryInMs = Math.min(retryInMs ?? paced, paced);
      if (!again) break;
    }
    return { jobs, retryInMs };
  }

  /**
   * Calls Graph for one claimed send and stores the outcome.
   *
   * @returns whether the send is over, and whether sends behind it may go now
   */
  async execute({ send, claimedAt }: SendJob): Promise<SendEnd> {
    const startBy = claimedAt + CALL_START_LIMIT_MS;
    if (this.#now() >= startBy) {
      this.#logger.warn({ sendId: send.id }, 'A claimed send was not called in time; it is given back');
      return endOf(await this.#store(() => storeNotCalled(this.#database, send, 'claim_too_old')));
    }
    const address = addressOf(send);
    if (!address) {
      this.#logger.warn({ sendId: send.id }, 'The contact has no address that WhatsApp can send to');
      return endOf(await this.#store(() => storeUnaddressed(this.#database, send)));
    }
    const outcome = await this.#call(send, address, startBy);
    const changes = await this.#store(() => this.#outcomes.store({ send, outcome }));
    this.#logger.info(
      {
        sendId: send.id,
        conversationId: send.conversationId,
        outcome: outcome.outcome,
        ...(outcome.outcome === 'refused' ? { code: outcome.failure.code, reason: outcome.failure.reason } : {}),
      },
      'Graph called',
    );
    if (outcome.outcome === 'accepted' && send.author === 'human' && send.part === 1) {
      this.#onHumanReply(send.conversationId);
    }
    return endOf(changes);
  }

  async #call(send: ClaimedSend, address: RecipientAddress, startBy: number): Promise<SendOutcome> {
    let accessToken: string;
    try {
      accessToken = this.#secrets.open(send.accessTokenCiphertext, {
        table: 'channels',
        rowId: send.channelId,
        column: 'access_token_ciphertext',
        workspaceId: send.workspaceId,
      });
    } catch (error) {
      this.#logger.error({ err: error, channelId: send.channelId }, 'The access token cannot be read');
      return { outcome: 'not_sent', reason: 'secret_unreadable' };
    }
    return this.#graph.sendText({
      phoneNumberId: send.phoneNumberId,
      accessToken,
      startBy,
      ...address,
      text: send.body,
      ...(send.quoteMessageId === null ? {} : { quoteMessageId: send.quoteMessageId }),
      callbackData: send.attemptId,
    });
  }

  async #store(store: () => Promise<SendChange[]>): Promise<SendChange[]> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await store();
      } catch (error) {
        if (toAppError(error).kind !== 'transient' || tries >= STORE_TRIES) throw error;
        await delay(STORE_RETRY_MS);
      }
    }
  }
}

function endOf(changes: readonly SendChange[]): SendEnd {
  const over = changes.filter(({ send }) => isSettled(send.state.phase));
  return { isOver: over.length > 0, opensWay: over.some(({ send }) => send.hasFollowers) };
}

/** Undefined when what Meta gave as the contact's address is none that it takes. */
function addressOf({ replyTo }: ClaimedSend): RecipientAddress | undefined {
  try {
    return recipientOf(replyTo);
  } catch {
    return undefined;
  }
}
