import { type Holder } from '@answerline/conversation-rules';
import {
  answerableText,
  classifyMessage,
  itemKey,
  type EchoItem,
  type HandoverItem,
  type MessageItem,
  type StatusItem,
  type UserIdUpdateItem,
  type WebhookItem,
} from '@answerline/whatsapp';
import { bsuidIdentity, identitiesOf, waIdentity, type Identity, type Party } from './resolve-contacts.ts';

/** The channel that an item belongs to. */
export interface ItemChannel {
  readonly id: string;
  readonly workspaceId: string;
  /** An event of it has come before, through the key that it has now. */
  readonly isHeard: boolean;
  /** What comes for it is dropped. */
  readonly isDisconnected: boolean;
}

/** What ingest stores of a message or echo, before contacts and numbers are known. */
export interface PlannedMessage {
  readonly channel: ItemChannel;
  readonly party: Party;
  readonly direction: 'inbound' | 'outbound';
  readonly author: 'contact' | 'system' | 'phone_app' | 'meta_agent';
  /** A code: lower case, digits, underscores. */
  readonly type: string;
  readonly text: string | null;
  readonly answerable: boolean;
  /** What it says about who speaks in the conversation: others than our AI do, or Meta's own agent does not any more. */
  readonly holder: Holder | 'released' | null;
  /** What was typed or tapped, and nothing else: it may be the one word that ends or begins the AI's part. */
  readonly isBareText: boolean;
  readonly isMedia: boolean;
  readonly providerMessageId: string;
  readonly contextMessageId: string | null;
  readonly amends: {
    readonly messageId: string;
    readonly change: 'edit' | 'revoke';
    readonly text: string | null;
  } | null;
  readonly sentAt: number | null;
  readonly place: number;
  readonly raw: unknown;
}

/** What ingest stores of a status. */
export interface PlannedStatus {
  readonly channel: ItemChannel;
  readonly item: StatusItem;
  readonly dedupeKey: string;
}

/** An address that replaces another one. */
export interface PlannedAddressChange {
  readonly party: Party;
  readonly previous: Identity;
}

export type PlannedItem =
  | { readonly kind: 'message'; readonly message: PlannedMessage; readonly addressChange: PlannedAddressChange | null }
  | { readonly kind: 'status'; readonly status: PlannedStatus }
  | { readonly kind: 'address_change'; readonly addressChange: PlannedAddressChange }
  /** Nothing to store but the verdict: account news, fields that are new to us. */
  | { readonly kind: 'ignored' };

/** The type under which it is stored that Meta's agent gave a conversation up. */
export const RELEASED_TYPE = 'control_passed';
/** Meta's type word as a code of ours; it stands in events. */
const TYPE_CODE = /^[a-z0-9_]{1,64}$/;

/** What an item means for the tables. Pure. */
export function planItem(item: WebhookItem, channel: ItemChannel): PlannedItem {
  switch (item.kind) {
    case 'message':
    case 'echo':
      return planMessage(item, channel);
    case 'handover':
      return { kind: 'message', message: planHandover(item, channel), addressChange: null };
    case 'status':
      return { kind: 'status', status: { channel, item, dedupeKey: itemKey(item) } };
    case 'user_id_update':
      return { kind: 'address_change', addressChange: planUserIdUpdate(item, channel) };
    case 'other':
      return { kind: 'ignored' };
  }
}

function planMessage(item: MessageItem | EchoItem, channel: ItemChannel): PlannedItem {
  const who = item.kind === 'message' ? item.from : item.to;
  const addressChange = planSystemChange(item, channel);
  const identities = identitiesOf(who);
  const party = addressChange?.party ?? partyOf(channel, identities, who.profileName, who.username);
  // A message of nobody (no number, no user id) cannot be answered; it is kept by its own id as one more stranger.
  const kind = classifyMessage(item);
  const message: PlannedMessage = {
    channel,
    party: party ?? partyOf(channel, [nobody(item.messageId)], undefined, undefined) ?? never(),
    direction: item.kind === 'message' ? 'inbound' : 'outbound',
    author: item.kind === 'echo' ? echoAuthor(item) : item.payload.kind === 'system' ? 'system' : 'contact',
    type: TYPE_CODE.test(item.type) ? item.type : 'unknown',
    text: withoutNul(answerableText(item) ?? (item.payload.kind === 'edit' ? item.payload.text : undefined)),
    answerable: kind !== 'silent' && party !== undefined,
    holder: holderOf(item),
    isBareText: item.groupId === undefined && BARE_TEXT.has(item.payload.kind),
    isMedia: item.payload.kind === 'media',
    providerMessageId: item.messageId,
    contextMessageId: item.contextMessageId ?? null,
    amends: planAmendment(item),
    sentAt: item.sentAt?.getTime() ?? null,
    place: item.place,
    raw: item.raw,
  };
  return { kind: 'message', message, addressChange };
}

const BARE_TEXT: ReadonlySet<string> = new Set(['text', 'button', 'interactive']);

function echoAuthor({ isStandby }: EchoItem): 'phone_app' | 'meta_agent' {
  return isStandby ? 'meta_agent' : 'phone_app';
}

/** On `standby` Meta's agent speaks, whoever wrote; an echo from elsewhere is a person. What is said in a group is no conversation of ours. */
function holderOf(item: MessageItem | EchoItem): Holder | null {
  if (item.groupId !== undefined) return null;
  if (item.isStandby) return 'meta_agent';
  return item.kind === 'echo' ? 'human' : null;
}

/** A hand-over as a line of the conversation. */
function planHandover(item: HandoverItem, channel: ItemChannel): PlannedMessage {
  const party = partyOf(channel, identitiesOf(item.contact), undefined, undefined);
  return {
    channel,
    party: party ?? partyOf(channel, [nobody(item.hash)], undefined, undefined) ?? never(),
    direction: 'outbound',
    author: 'system',
    type: item.to === 'us' ? RELEASED_TYPE : 'control_taken',
    text: null,
    answerable: false,
    holder: item.to === 'us' ? 'released' : 'meta_agent',
    isBareText: false,
    isMedia: false,
    providerMessageId: item.hash,
    contextMessageId: null,
    amends: null,
    sentAt: item.at?.getTime() ?? null,
    place: item.place,
    raw: item.raw,
  };
}

function planAmendment(item: MessageItem | EchoItem): PlannedMessage['amends'] {
  const { payload } = item;
  if (payload.kind !== 'edit' && payload.kind !== 'revoke') return null;
  if (payload.originalMessageId === undefined) return null;
  const text = payload.kind === 'edit' ? withoutNul(payload.text) : null;
  // An edit that we cannot read changes nothing that we could show.
  if (payload.kind === 'edit' && text === null) return null;
  return { messageId: payload.originalMessageId, change: payload.kind, text };
}

/** `user_changed_number` and `user_changed_user_id` (META 2, "system"): both addresses are the same person's. */
function planSystemChange(item: MessageItem | EchoItem, channel: ItemChannel): PlannedAddressChange | null {
  if (item.kind !== 'message' || item.payload.kind !== 'system') return null;
  const { newWaId, newUserId, oldUserId } = item.payload;
  const known = identitiesOf(item.from);
  if (newWaId !== undefined && item.from.waId !== undefined && newWaId !== item.from.waId) {
    return changeOf(channel, waIdentity(item.from.waId), waIdentity(newWaId), known);
  }
  const previousUserId = oldUserId ?? item.from.userId;
  if (newUserId !== undefined && previousUserId !== undefined && newUserId !== previousUserId) {
    return changeOf(channel, bsuidIdentity(previousUserId), bsuidIdentity(newUserId), known);
  }
  return null;
}

function planUserIdUpdate(item: UserIdUpdateItem, channel: ItemChannel): PlannedAddressChange {
  const known = item.waId === undefined ? [] : [waIdentity(item.waId)];
  return changeOf(channel, bsuidIdentity(item.previous), bsuidIdentity(item.current), known);
}

function changeOf(
  channel: ItemChannel,
  previous: Identity,
  current: Identity,
  known: readonly Identity[],
): PlannedAddressChange {
  const identities = uniqueIdentities([current, previous, ...known]);
  const party = {
    workspaceId: channel.workspaceId,
    identities,
    replyTo: current,
    name: undefined,
    username: undefined,
  };
  return { party, previous };
}

function partyOf(
  channel: ItemChannel,
  identities: readonly Identity[],
  name: string | undefined,
  username: string | undefined,
): Party | undefined {
  const [replyTo] = identities;
  if (!replyTo || replyTo.kind === 'parent_bsuid') return undefined;
  return {
    workspaceId: channel.workspaceId,
    identities,
    replyTo,
    name: withoutNul(name) ?? undefined,
    username: withoutNul(username) ?? undefined,
  };
}

function uniqueIdentities(identities: readonly Identity[]): Identity[] {
  return [...new Map(identities.map((identity) => [`${identity.kind} ${identity.value}`, identity])).values()];
}

const nobody = (messageId: string): Identity => bsuidIdentity(`unknown:${messageId}`);

function never(): never {
  throw new TypeError('A party of one identity has one to reply to.');
}

/** Postgres text cannot hold U+0000. */
function withoutNul(text: string | undefined): string | null {
  return text === undefined ? null : text.replaceAll('\u0000', '');
}
