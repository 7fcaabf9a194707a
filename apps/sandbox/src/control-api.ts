import { InvalidInput, toAppError } from '@answerline/errors';
import type { FastifyPluginAsync } from 'fastify';
import { z } from 'zod';
import type { Contact } from './contacts.ts';
import { accountRoutes, numberOf } from './control-accounts.ts';
import {
  chipsSchema,
  contactSettingsSchema,
  contactsQuerySchema,
  deliverySettingsSchema,
  echoSchema,
  entriesQuerySchema,
  faultsSchema,
  limitsSchema,
  mediaSettingsSchema,
  messagesRequestSchema,
  threadQuerySchema,
  webhookRequestSchema,
  type InboundMessage,
  type BusinessNumber,
} from './control-schemas.ts';
import { liveStream } from './live-stream.ts';
import { sha256Base64 } from './media.ts';
import { mailboxRoutes } from './mailbox-routes.ts';
import type { Mailbox } from './mailbox.ts';
import type { Meta } from './meta.ts';
import { parseRequest } from './parse-request.ts';
import { encodeWebhook } from './signature.ts';

interface ById {
  Params: { id: string };
}

/** Everything under `/sandbox`: what a tester or the phone page does, which at Meta somebody or something else does. */
export function controlApi(meta: Meta, mailbox: Mailbox): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler((error, _request, reply) => {
      const status = (error as { statusCode?: number }).statusCode;
      const known =
        status !== undefined && status < 500
          ? new InvalidInput('invalid_request', (error as Error).message, { httpStatus: status })
          : toAppError(error);
      const httpStatus = known instanceof InvalidInput ? known.httpStatus : 500;
      const { code, message: detail } = known;
      return reply
        .code(httpStatus)
        .type('application/problem+json')
        .send({ type: 'about:blank', status: httpStatus, code, detail });
    });
    accountRoutes(app, meta);
    chips(app, meta);
    people(app, meta);
    traffic(app, meta);
    switches(app, meta, mailbox);
    mailboxRoutes(app, mailbox);
    await app.register(liveStream(meta));
  };
}

type App = Parameters<FastifyPluginAsync>[0];

function chips(app: App, meta: Meta): void {
  app.put('/chips', async (request) => {
    const { phoneNumberId, chips } = parseRequest(chipsSchema, request.body);
    meta.chips.set(phoneNumberId, chips);
    meta.threads.publish({ type: 'changed', what: 'chips' });
    return { items: chips };
  });
  app.get('/chips', async (request) => {
    const { phoneNumberId } = parseRequest(z.object({ phoneNumberId: z.string() }), request.query);
    return { items: meta.chips.get(phoneNumberId) ?? [] };
  });
}

function people(app: App, meta: Meta): void {
  app.get('/contacts', async (request) => {
    const { phoneNumberId } = parseRequest(contactsQuerySchema, request.query);
    const items = meta.contacts.listed().map((contact) => {
      const thread = phoneNumberId === undefined ? undefined : meta.threads.find(phoneNumberId, contact.id);
      return { ...contact, lastMessage: thread?.messages.at(-1) ?? null, unread: thread?.unseen.size ?? 0 };
    });
    return { items };
  });
  app.put<ById>('/contacts/:id', async (request) => {
    const contact = { ...parseRequest(contactSettingsSchema, request.body), id: request.params.id, listed: true };
    meta.contacts.put(contact);
    meta.threads.publish({ type: 'changed', what: 'contacts' });
    return contact;
  });
  app.get('/thread', async (request) => {
    const { phoneNumberId, contactId } = parseRequest(threadQuerySchema, request.query);
    const contact = meta.contacts.get(contactId);
    if (!contact) throw new InvalidInput('contact_not_found', 'There is no such contact.', { httpStatus: 404 });
    const thread = meta.threads.find(phoneNumberId, contactId);
    return {
      contact,
      messages: thread?.messages.slice(-shownMessages) ?? [],
      typingUntilMs: thread?.typingUntilMs ?? null,
      nowMs: meta.now(),
    };
  });
}

/** Messages of a chat that the page gets; the files hold all. */
const shownMessages = 500;

function traffic(app: App, meta: Meta): void {
  app.post('/messages', async (request) => {
    const given = parseRequest(messagesRequestSchema, request.body);
    if (!('messages' in given)) return { messageId: await write(meta, given) };
    // Who is checked first, so that a mistake in the last one does not leave the others sent.
    for (const message of given.messages) whoWrites(meta, message);
    return { messageIds: await Promise.all(given.messages.map((message) => write(meta, message))) };
  });
  app.post('/webhooks', async (request) => {
    const given = parseRequest(webhookRequestSchema, request.body);
    const { phoneNumberId } = numberOf(meta, given.phoneNumberId);
    const isObject = 'body' in given;
    const body = isObject ? encodeWebhook(given.body) : Buffer.from(given.rawBase64, 'base64');
    if (isObject) await learn(meta, given.body);
    meta.delivery.sendRaw(phoneNumberId, body, isObject ? fieldOf(given.body) : undefined);
    return { bytes: body.length };
  });
  app.post('/echoes', async (request) => {
    const echo = parseRequest(echoSchema, request.body);
    const { number, contact } = whoWrites(meta, echo);
    return { messageId: meta.echo(number, contact, echo) };
  });
  app.put<ById>('/media/:id', async (request) => {
    const { phoneNumberId, mimeType, contentBase64 } = parseRequest(mediaSettingsSchema, request.body);
    const bytes = Buffer.from(contentBase64, 'base64');
    meta.media.put({ id: request.params.id, phoneNumberId, mimeType, bytes, atMs: meta.now() });
    return { id: request.params.id, mimeType, bytes: bytes.length, sha256: sha256Base64(bytes) };
  });
  app.get('/journal', async (request) => {
    const { after, limit, kind } = parseRequest(entriesQuerySchema, request.query);
    const entries = meta.journal.after(after);
    const items = (kind ? entries.filter((entry) => entry.kind === kind) : entries).slice(0, limit);
    return { items, last: meta.journal.last };
  });
  app.get('/inbound', async (request) => {
    const { after, limit } = parseRequest(entriesQuerySchema, request.query);
    return { items: meta.inbound.after(after).slice(0, limit), last: meta.inbound.last };
  });
  app.get('/deliveries', async () => meta.delivery.status());
}

function switches(app: App, meta: Meta, mailbox: Mailbox): void {
  app.get('/faults', async () => meta.faults.current);
  app.put('/faults', async (request) => {
    meta.faults.set(parseRequest(faultsSchema, request.body));
    return meta.faults.current;
  });
  app.delete('/faults', async () => {
    meta.faults.clear();
    return meta.faults.current;
  });
  app.get('/delivery', async () => meta.delivery.current);
  app.put('/delivery', async (request) => {
    const changes = parseRequest(deliverySettingsSchema.partial(), request.body);
    meta.delivery.configure(changes);
    if (changes.seed !== undefined) meta.faults.reseed(changes.seed);
    return meta.delivery.current;
  });
  app.get('/limits', async () => meta.limits);
  app.put('/limits', async (request) => {
    const changes = parseRequest(limitsSchema.partial(), request.body);
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    meta.limits = { ...meta.limits, ...Object.fromEntries(given) };
    return meta.limits;
  });
  app.post('/reset', async () => {
    await Promise.all([meta.reset(), mailbox.reset()]);
    return { reset: true };
  });
}

function write(meta: Meta, message: InboundMessage): Promise<string> {
  const { number, contact } = whoWrites(meta, message);
  return meta.write(number, contact, message);
}

type Sender = Pick<InboundMessage, 'phoneNumberId' | 'contactId' | 'waId' | 'userId'>;

function whoWrites(meta: Meta, message: Sender): { number: BusinessNumber; contact: Contact } {
  const number = numberOf(meta, message.phoneNumberId);
  const contact = meta.contacts.sender(message);
  if (!contact) throw new InvalidInput('contact_not_found', 'There is no such contact.', { httpStatus: 404 });
  return { number, contact };
}

/** Notes the messages in a hand-made body, so that replies to them and reads of them are not refused. */
async function learn(meta: Meta, body: unknown): Promise<void> {
  const parsed = learntSchema.safeParse(body);
  if (!parsed.success) return;
  const writes: Promise<void>[] = [];
  for (const change of parsed.data.entry.flatMap((entry) => entry.changes)) {
    const { metadata, messages } = change.value;
    for (const message of messages) {
      const contact = meta.contacts.sender({ waId: message.from, userId: message.from_user_id });
      if (contact && meta.accounts.numbers.has(metadata.phone_number_id)) {
        writes.push(meta.record(metadata.phone_number_id, contact, message.id, message));
      }
    }
  }
  await Promise.all(writes);
}

/** Webhook field of a hand-made body; one without is taken for `messages`. */
function fieldOf(body: unknown): string {
  return fieldSchema.safeParse(body).data?.entry[0].changes[0].field ?? 'messages';
}

const fieldSchema = z.object({
  entry: z.tuple([z.object({ changes: z.tuple([z.object({ field: z.string() })], z.unknown()) })], z.unknown()),
});

const learntSchema = z.object({
  entry: z.array(
    z.object({
      changes: z
        .array(
          z.object({
            value: z
              .object({
                metadata: z.object({ phone_number_id: z.string() }).catch({ phone_number_id: '' }),
                messages: z
                  .array(
                    z
                      .looseObject({
                        id: z.string(),
                        from: z.string().optional(),
                        from_user_id: z.string().optional(),
                      })
                      .catch({ id: '' }),
                  )
                  .catch([]),
              })
              .catch({ metadata: { phone_number_id: '' }, messages: [] }),
          }),
        )
        .catch([]),
    }),
  ),
});
