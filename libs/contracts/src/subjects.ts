import { type EventType } from './events.ts';

/**
 * NATS subjects. Each is built here and nowhere else, so that publisher and consumer cannot disagree. Tokens are our own
 * ids (UUIDs in their lower-case form) and fixed words: never a key, phone number, provider id or name, because subjects
 * show up in logs, metrics and monitoring pages.
 */
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Stream and consumer names, event types: our own words. */
const word = /^[A-Za-z0-9_-]{1,64}$/;
/** Stands in a dead letter's subject when the message it is about named no workspace. */
const noWorkspace = 'none';
/** Stands in an event's subject for the channel or conversation that it is not about. */
const notAbout = 'none';

function token(value: string, shape: RegExp): string {
  // The value itself stays out of the message: what is refused here may be anything.
  if (!shape.test(value)) throw new TypeError('A subject token must be one of our ids or words.');
  return value;
}

/** What rings and what it announces: core NATS, not stored. A sweep finds what a lost ring would have announced. */
export const doorbells = {
  turn: 'A conversation has messages to answer; the payload is in how many milliseconds.',
  send: 'A reply waits to be sent, or one was settled for which others waited.',
  outbox: 'Events wait to be published.',
  source: 'A source of a knowledge base waits to be indexed or deleted.',
  mail: 'A mail to an owner waits to be sent.',
  delivery: 'An outgoing event waits to be delivered (a later part).',
  media: 'A media file waits to be fetched (a later part).',
} as const;

/** The name of a doorbell. */
export type Doorbell = keyof typeof doorbells;

/** `webhooks.<workspace>.<keyId>`. Throws TypeError when an id is not a UUID. */
export function webhookSubject(workspaceId: string, keyId: string): string {
  return `webhooks.${token(workspaceId, uuid)}.${token(keyId, uuid)}`;
}

/** The ids in a webhook's subject, or null when it is not one. */
export function parseWebhookSubject(subject: string): { workspaceId: string; keyId: string } | null {
  const [first, workspaceId, keyId, ...rest] = subject.split('.');
  if (first !== 'webhooks' || !isId(workspaceId) || !isId(keyId) || rest.length > 0) return null;
  return { workspaceId, keyId };
}

/**
 * `events.<type>.<workspace>.<channel>.<conversation>`; `none` where an event is about no channel or conversation. Throws
 * TypeError when an id is not a UUID.
 */
export function eventSubject(
  type: EventType,
  workspaceId: string,
  channelId: string | null,
  conversationId: string | null,
): string {
  const ids = [workspaceId, channelId, conversationId].map((id) => (id === null ? notAbout : token(id, uuid)));
  return `events.${token(type, word)}.${ids.join('.')}`;
}

/** The parts of an event's subject, or null when it is not one. `type` may be one that this version does not know. */
export function parseEventSubject(
  subject: string,
): { type: string; workspaceId: string; channelId: string | null; conversationId: string | null } | null {
  const [first, type, workspaceId, channelId, conversationId, ...rest] = subject.split('.');
  if (first !== 'events' || type === undefined || !word.test(type) || rest.length > 0) return null;
  if (!isId(workspaceId) || !isAbout(channelId) || !isAbout(conversationId)) return null;
  const idOf = (value: string): string | null => (value === notAbout ? null : value);
  return { type, workspaceId, channelId: idOf(channelId), conversationId: idOf(conversationId) };
}

/**
 * `dead.<stream>.<consumer>.<workspace>`; the last token is `none` when `workspaceId` is null (the message's own subject
 * was not one of ours). Throws TypeError for anything that is not a plain token.
 */
export function deadLetterSubject(stream: string, consumer: string, workspaceId: string | null): string {
  const workspace = workspaceId === null ? noWorkspace : token(workspaceId, uuid);
  return `dead.${token(stream, word)}.${token(consumer, word)}.${workspace}`;
}

/** The parts of a dead letter's subject, or null when it is not one. */
export function parseDeadLetterSubject(
  subject: string,
): { stream: string; consumer: string; workspaceId: string | null } | null {
  const [first, stream, consumer, workspace, ...rest] = subject.split('.');
  if (first !== 'dead' || rest.length > 0 || stream === undefined || consumer === undefined) return null;
  if (!word.test(stream) || !word.test(consumer)) return null;
  if (workspace === noWorkspace) return { stream, consumer, workspaceId: null };
  return isId(workspace) ? { stream, consumer, workspaceId: workspace } : null;
}

/** `doorbell.<bell>` */
export function doorbellSubject(doorbell: Doorbell): string {
  return `doorbell.${token(doorbell, word)}`;
}

/** `live.<workspace>.<conversation>`: tokens of an answer in the making, not stored. Throws TypeError when an id is not a UUID. */
export function liveSubject(workspaceId: string, conversationId: string): string {
  return `live.${token(workspaceId, uuid)}.${token(conversationId, uuid)}`;
}

/** The workspace named in a webhook's or event's subject, or null. */
export function workspaceOfSubject(subject: string): string | null {
  return (parseWebhookSubject(subject) ?? parseEventSubject(subject))?.workspaceId ?? null;
}

function isAbout(value: string | undefined): value is string {
  return value === notAbout || isId(value);
}

function isId(value: string | undefined): value is string {
  return value !== undefined && uuid.test(value);
}
