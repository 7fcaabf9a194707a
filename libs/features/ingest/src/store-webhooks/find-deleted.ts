import { Transient } from '@answerline/errors';
import {
  addressMark,
  attemptMark,
  deletionKey,
  findDeletionMarks,
  messageMark,
  type DeletionMark,
  type Sql,
} from '@answerline/persistence';
import { type Fingerprints } from '@answerline/secrets';
import { type WebhookItem, type WebhookParty } from '@answerline/whatsapp';
import { type WebhookBody } from './read-delivery.ts';
import { identitiesOf } from './resolve-contacts.ts';

interface Entry {
  readonly body: WebhookBody;
  readonly item: WebhookItem;
}

/**
 * Items about what was deleted, which must not come back: messages whose id is known from before, edits and revokes of them,
 * messages that a deleted contact sent before the deletion, and statuses of what was said to them. What such a person writes
 * later is new.
 */
export async function findDeleted(
  sql: Sql,
  fingerprints: Fingerprints,
  entries: readonly Entry[],
): Promise<ReadonlySet<WebhookItem>> {
  const marked = entries.map(({ body: { workspaceId }, item }) => {
    const at = (mark: DeletionMark): { workspaceId: string; mark: DeletionMark } => ({ workspaceId, mark });
    return { item, ids: idsOf(item).map(at), addresses: addressesOf(item).map(at) };
  });
  const deletedAt = await findDeletionMarks(
    sql,
    fingerprints,
    marked.flatMap(({ ids, addresses }) => [...ids, ...addresses]),
  );
  if (deletedAt.size === 0) return new Set();
  const timeOf = ({ workspaceId, mark }: { workspaceId: string; mark: DeletionMark }): number | undefined =>
    deletedAt.get(deletionKey(workspaceId, mark));
  return new Set(
    marked
      .filter(
        ({ item, ids, addresses }) =>
          ids.some((id) => timeOf(id) !== undefined) || addresses.some((address) => isOlder(item, timeOf(address))),
      )
      .map(({ item }) => item),
  );
}

/** @throws Transient `contact_deleted_meanwhile` when {@link findDeleted} finds something by now: read all again */
export async function refuseDeleted(sql: Sql, fingerprints: Fingerprints, entries: readonly Entry[]): Promise<void> {
  const deleted = await findDeleted(sql, fingerprints, entries);
  if (deleted.size > 0) throw contactDeletedMeanwhile();
}

/** What points at a contact: the rows of a message whose contact goes while it is stored are refused by one of these. */
export const POINTS_AT_CONTACT: ReadonlySet<string> = new Set([
  'contact_identities_contact_fk',
  'conversations_contact_fk',
  'conversations_reply_to_fk',
]);

export function contactDeletedMeanwhile(cause?: unknown): Transient {
  return new Transient('contact_deleted_meanwhile', 'A contact was deleted while a message of theirs was stored.', {
    cause,
  });
}

function idsOf(item: WebhookItem): DeletionMark[] {
  switch (item.kind) {
    case 'message':
    case 'echo': {
      const { payload } = item;
      const original = payload.kind === 'edit' || payload.kind === 'revoke' ? payload.originalMessageId : undefined;
      return [messageMark(item.messageId), ...(original === undefined ? [] : [messageMark(original)])];
    }
    case 'status': {
      const { providerMessageId, callbackData } = item;
      return [messageMark(providerMessageId), ...(callbackData === undefined ? [] : [attemptMark(callbackData)])];
    }
    case 'handover':
    case 'user_id_update':
    case 'other':
      return [];
  }
}

/** Of the person whom a message is from or, if it was written on the business's phone, to. */
function addressesOf(item: WebhookItem): DeletionMark[] {
  const who = partyOf(item);
  return who === undefined ? [] : identitiesOf(who).map(({ kind, matchKey }) => addressMark(kind, matchKey));
}

function partyOf(item: WebhookItem): WebhookParty | undefined {
  switch (item.kind) {
    case 'message':
      return item.from;
    case 'echo':
      return item.to;
    case 'handover':
      return item.contact;
    default:
      return undefined;
  }
}

/** Meta's times are whole seconds: what was sent in the second of the deletion is taken for new, so that no message is lost. */
function isOlder(item: WebhookItem, deletedAt: number | undefined): boolean {
  const sentAt = item.kind === 'handover' ? item.at : 'sentAt' in item ? item.sentAt : undefined;
  if (deletedAt === undefined || !sentAt) return false;
  return Math.floor(sentAt.getTime() / 1000) < Math.floor(deletedAt / 1000);
}
