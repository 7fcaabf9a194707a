import { toAppError, Transient } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type Delivery } from '@answerline/messaging';
import { type Database, followOwnership, lockConversations, type Transaction } from '@answerline/persistence';
import { type Fingerprints } from '@answerline/secrets';
import { type WebhookItem } from '@answerline/whatsapp';
import { channelKey, findChannels, noteHeard, type Channels } from './find-channels.ts';
import { readHolderNews } from './decide-holder.ts';
import { contactDeletedMeanwhile, findDeleted, POINTS_AT_CONTACT, refuseDeleted } from './find-deleted.ts';
import { changeAddresses, openConversations } from './open-conversations.ts';
import { planItem, type PlannedAddressChange, type PlannedMessage, type PlannedStatus } from './plan-items.ts';
import { readDelivery, type WebhookBody } from './read-delivery.ts';
import { resolveContacts } from './resolve-contacts.ts';
import { MESSAGE_KEY, MessageBook, storeMessages } from './store-messages.ts';
import { findStatusTargets, storeStatuses } from './store-statuses.ts';
import { storeUnparsed } from './store-unparsed.ts';
import { addTally, isDropped, newTally, tallyStored, writeLog, type Tally } from './tally.ts';

/** What the doors ring after the commit. */
export interface StoreResult {
  /** Milliseconds from now until each touched conversation is due; empty: no turn waits. */
  readonly turnsDueInMs: readonly number[];
  /** Statuses settled sends that others wait for. */
  readonly sendsMoved: boolean;
  readonly hasEvents: boolean;
}

/** What a whole call came to. */
export interface DeliveriesResult extends StoreResult {
  /** Bodies of which nothing may be kept, by their place in the stream. */
  readonly dropped: readonly number[];
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
  readonly #fingerprints: Fingerprints;

  /** @param fingerprints those of the deletion marks */
  constructor(database: Database, logger: Logger, fingerprints: Fingerprints) {
    this.#database = database;
    this.#logger = logger;
    this.#fingerprints = fingerprints;
  }

  /**
   * Stores the bodies in one transaction. A body that is alone and fails is done item by item, and an item that still fails
   * is kept as it came, as `unparsed`, so that one bad item never holds up the others.
   *
   * @throws InvalidInput when a body is no JSON
   * @throws Transient when Postgres is away
   */
  async execute(deliveries: readonly Delivery[]): Promise<DeliveriesResult> {
    const bodies = deliveries.map(readDelivery);
    const entries = bodies.flatMap((body) => body.items.map((item) => ({ body, item })));
    const tallies = new Map(bodies.map((body) => [body, newTally()]));
    try {
      const result = await this.#transaction(async (sql) => {
        const stored = await this.#store(sql, entries, tallies);
        writeLog(sql, tallies);
        return stored;
      });
      return { ...result, dropped: droppedOf(tallies) };
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

  async #storeOneByOne(body: WebhookBody): Promise<DeliveriesResult> {
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
        tally[await this.#database.transaction((sql) => storeUnparsed(sql, this.#fingerprints, body, item))] += 1;
      }
    }
    await this.#database.transaction(async (sql) => writeLog(sql, new Map([[body, tally]])));
    return {
      turnsDueInMs: results.flatMap(({ turnsDueInMs }) => turnsDueInMs),
      sendsMoved: results.some(({ sendsMoved }) => sendsMoved),
      hasEvents: results.some(({ hasEvents }) => hasEvents),
      dropped: droppedOf(new Map([[body, tally]])),
    };
  }

  /**
   * @throws Transient `message_inserted_meanwhile` when another process stored one of the messages at the same time,
   *   `contact_deleted_meanwhile` when a contact whom they are from was deleted
   */
  async #transaction(work: (sql: Transaction) => Promise<StoreResult>): Promise<StoreResult> {
    try {
      return await this.#database.transaction(work);
    } catch (error) {
      const constraint = error instanceof Error && 'constraint' in error ? String(error.constraint) : '';
      if (constraint === MESSAGE_KEY) {
        throw new Transient('message_inserted_meanwhile', 'A message was stored by another process at the same time.', {
          cause: error,
        });
      }
      if (POINTS_AT_CONTACT.has(constraint)) throw contactDeletedMeanwhile(error);
      throw error;
    }
  }

  /** What does not depend on an answer goes along with what does: a batch is four round trips, the commit included. */
  async #store(
    sql: Transaction,
    entries: readonly Entry[],
    tallies: ReadonlyMap<WebhookBody, Tally>,
  ): Promise<StoreResult> {
    const [channels, deleted] = await Promise.all([
      findChannels(sql, entries),
      findDeleted(sql, this.#fingerprints, entries),
    ]);
    const kept = entries.filter(({ item }) => !deleted.has(item));
    const plan = planEntries(kept, channels, tallies);
    for (const { body } of entries.filter(({ item }) => deleted.has(item))) addTo(tallies.get(body), 'droppedDeleted');
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
    const begins = messages.some(({ channel }, place) => !parties[place]?.conversationIds.has(channel.id));
    // In this order: what is read and locked behind the conversations is read and locked under their locks.
    const [{ now, conversations }, book, storedStatuses, news] = await Promise.all([
      lockConversations(sql, [
        ...placed.map(({ conversationId }) => conversationId),
        ...[...targets.values()].map(({ conversationId }) => conversationId),
      ]),
      MessageBook.load(sql, messages),
      storeStatuses(sql, statuses, targets),
      readHolderNews(sql, placed),
      // Whom we found to be new may have been deleted since we looked for marks.
      begins && refuseDeleted(sql, this.#fingerprints, kept),
    ]);
    const storedMessages = storeMessages(sql, now, conversations, placed, book, news);
    const silenced = await followOwnership(sql, storedMessages.ownership);
    noteHeard(
      sql,
      [...channels.values()].filter(({ isDisconnected }) => !isDisconnected),
    );

    tallyStored(plan.messages, storedMessages.stored);
    tallyStored(plan.statuses, storedStatuses.stored);
    const sends = [...storedStatuses.sends, ...silenced];
    return {
      turnsDueInMs: storedMessages.dueAts.map((dueAt) => Math.max(0, dueAt - now)),
      sendsMoved: sends.some(({ before, send }) => before !== send.state.phase && send.hasFollowers),
      hasEvents: storedMessages.stored.length > 0 || sends.length > 0,
    };
  }
}

function droppedOf(tallies: ReadonlyMap<WebhookBody, Tally>): number[] {
  return [...tallies].filter(([, tally]) => isDropped(tally)).map(([{ streamSequence }]) => streamSequence);
}

function addTo(tally: Tally | undefined, name: keyof Tally): void {
  if (tally) tally[name] += 1;
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
    if (channel.isDisconnected) {
      tally.droppedDisconnected += 1;
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
