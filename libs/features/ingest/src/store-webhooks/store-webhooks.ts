import { toAppError, Transient } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type Delivery } from '@answerline/messaging';
import { type Database, lockConversations, type Transaction } from '@answerline/persistence';
import { type WebhookItem } from '@answerline/whatsapp';
import { channelKey, findChannels, type Channels } from './find-channels.ts';
import { changeAddresses, openConversations } from './open-conversations.ts';
import { planItem, type PlannedAddressChange, type PlannedMessage, type PlannedStatus } from './plan-items.ts';
import { readDelivery, type WebhookBody } from './read-delivery.ts';
import { resolveContacts } from './resolve-contacts.ts';
import { MESSAGE_KEY, MessageBook, storeMessages } from './store-messages.ts';
import { findStatusTargets, storeStatuses } from './store-statuses.ts';
import { storeUnparsed } from './store-unparsed.ts';
import { addTally, newTally, tallyStored, writeLog, type Tally } from './tally.ts';

/** What the doors ring after the commit. */
export interface StoreResult {
  /** Milliseconds from now until each touched conversation is due; empty: no turn waits. */
  readonly turnsDueInMs: readonly number[];
  /** Statuses settled sends that others wait for. */
  readonly sendsMoved: boolean;
  readonly hasEvents: boolean;
}

/** An item with the place it came from. */
interface Entry {
  readonly body: WebhookBody;
  readonly item: WebhookItem;
}

/**
 * Stores webhook bodies: each message once, each status once, with the facts about them in the same transaction. Safe to
 * run twice: what is there already counts as repeated and changes nothing.
 */
export class StoreWebhooks {
  readonly #database: Database;
  readonly #logger: Logger;

  constructor(database: Database, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
  }

  /**
   * Stores the bodies in one transaction. A body that is alone and fails is done item by item, and an item that still fails
   * is kept as it came, as `unparsed`, so that one bad item never holds up the others.
   *
   * @throws InvalidInput when a body is no JSON
   * @throws Transient when Postgres is away
   */
  async execute(deliveries: readonly Delivery[]): Promise<StoreResult> {
    const bodies = deliveries.map(readDelivery);
    const entries = bodies.flatMap((body) => body.items.map((item) => ({ body, item })));
    const tallies = new Map(bodies.map((body) => [body, newTally()]));
    try {
      return await this.#transaction(async (sql) => {
        const result = await this.#store(sql, entries, tallies);
        writeLog(sql, tallies);
        return result;
      });
    } catch (error) {
      const [body, ...others] = bodies;
      if (!body || others.length > 0 || toAppError(error).kind === 'transient') throw error;
      this.#logger.warn(
        { err: error, items: body.items.length },
        'A body failed as a whole; its items are stored alone',
      );
      return this.#storeOneByOne(body);
    }
  }

  async #storeOneByOne(body: WebhookBody): Promise<StoreResult> {
    const tally = newTally();
    const results: StoreResult[] = [];
    for (const item of body.items) {
      const attempt = newTally();
      try {
        results.push(await this.#transaction((sql) => this.#store(sql, [{ body, item }], new Map([[body, attempt]]))));
        addTally(tally, attempt);
      } catch (error) {
        if (toAppError(error).kind === 'transient') throw error;
        this.#logger.error({ err: error, kind: item.kind }, 'An item could not be stored; it is kept unparsed');
        tally[await this.#database.transaction((sql) => storeUnparsed(sql, body, item))] += 1;
      }
    }
    await this.#database.transaction(async (sql) => writeLog(sql, new Map([[body, tally]])));
    return {
      turnsDueInMs: results.flatMap(({ turnsDueInMs }) => turnsDueInMs),
      sendsMoved: results.some(({ sendsMoved }) => sendsMoved),
      hasEvents: results.some(({ hasEvents }) => hasEvents),
    };
  }

  /** @throws Transient `message_inserted_meanwhile` when another process stored one of the messages at the same time */
  async #transaction(work: (sql: Transaction) => Promise<StoreResult>): Promise<StoreResult> {
    try {
      return await this.#database.transaction(work);
    } catch (error) {
      if (!(error instanceof Error && 'constraint' in error && error.constraint === MESSAGE_KEY)) throw error;
      throw new Transient('message_inserted_meanwhile', 'A message was stored by another process at the same time.', {
        cause: error,
      });
    }
  }

  /** What does not depend on an answer goes along with what does: a batch is four round trips, the commit included. */
  async #store(
    sql: Transaction,
    entries: readonly Entry[],
    tallies: ReadonlyMap<WebhookBody, Tally>,
  ): Promise<StoreResult> {
    const channels = await findChannels(sql, entries);
    const plan = planEntries(entries, channels, tallies);
    const messages = [...plan.messages.keys()];
    const statuses = [...plan.statuses.keys()];

    const [parties, targets] = await Promise.all([
      resolveContacts(
        sql,
        messages.map(({ party }) => party),
        messages.map(({ channel }) => channel.id),
      ),
      findStatusTargets(sql, statuses),
    ]);
    await changeAddresses(sql, plan.addressChanges);
    const placed = await openConversations(sql, messages, parties);
    // In this order: what is read and locked behind the conversations is read and locked under their locks.
    const [{ now, conversations }, book, storedStatuses] = await Promise.all([
      lockConversations(sql, [
        ...placed.map(({ conversationId }) => conversationId),
        ...[...targets.values()].map(({ conversationId }) => conversationId),
      ]),
      MessageBook.load(sql, messages),
      storeStatuses(sql, statuses, targets),
    ]);
    const storedMessages = storeMessages(sql, now, conversations, placed, book);

    tallyStored(plan.messages, storedMessages.stored);
    tallyStored(plan.statuses, storedStatuses.stored);
    return {
      turnsDueInMs: storedMessages.dueAts.map((dueAt) => Math.max(0, dueAt - now)),
      sendsMoved: storedStatuses.sends.some(({ before, send }) => before !== send.state.phase && send.hasFollowers),
      hasEvents: storedMessages.stored.length > 0 || storedStatuses.sends.length > 0,
    };
  }
}

interface Plan {
  readonly messages: Map<PlannedMessage, Tally>;
  readonly statuses: Map<PlannedStatus, Tally>;
  readonly addressChanges: PlannedAddressChange[];
}

function planEntries(entries: readonly Entry[], channels: Channels, tallies: ReadonlyMap<WebhookBody, Tally>): Plan {
  const plan: Plan = { messages: new Map(), statuses: new Map(), addressChanges: [] };
  for (const { body, item } of entries) {
    const tally = tallies.get(body);
    if (!tally) continue;
    if (item.phoneNumberId === undefined) {
      tally.ignored += 1;
      continue;
    }
    const channel = channels.get(channelKey(body.keyId, item.phoneNumberId));
    if (!channel) {
      tally.unknownNumber += 1;
      continue;
    }
    const planned = planItem(item, channel);
    switch (planned.kind) {
      case 'message':
        plan.messages.set(planned.message, tally);
        if (planned.addressChange) plan.addressChanges.push(planned.addressChange);
        break;
      case 'status':
        plan.statuses.set(planned.status, tally);
        break;
      case 'address_change':
        plan.addressChanges.push(planned.addressChange);
        tally.stored += 1;
        break;
      case 'ignored':
        tally.ignored += 1;
    }
  }
  return plan;
}
