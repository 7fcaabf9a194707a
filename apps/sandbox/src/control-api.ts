import { InvalidInput, toAppError } from '@answerline/errors';
import type { FastifyPluginAsync } from 'fastify';
import { z } from 'zod';
import type { Contact } from './contacts.ts';
import {
  chipsSchema,
  contactSettingsSchema,
  contactsQuerySchema,
  deliverySettingsSchema,
  entriesQuerySchema,
  faultsSchema,
  limitsSchema,
  messagesRequestSchema,
  numberSettingsSchema,
  threadQuerySchema,
  webhookRequestSchema,
  type InboundMessage,
  type SandboxNumber,
} from './control-schemas.ts';
import { liveStream } from './live-stream.ts';
import type { Meta } from './meta.ts';
import { encodeWebhook } from './signature.ts';

interface ById {
  Params: { id: string };
}

/** Everything under `/sandbox`: what a tester or the phone page does, which at Meta somebody or something else does. */
export function controlApi(meta: Meta): FastifyPluginAsync {
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
    numbers(app, meta);
    people(app, meta);
    traffic(app, meta);
    switches(app, meta);
    await app.register(liveStream(meta));
  };
}

type App = Parameters<FastifyPluginAsync>[0];

function numbers(app: App, meta: Meta): void {
  app.put<ById>('/numbers/:id', async (request) => {
    const number = { ...parse(numberSettingsSchema, request.body), phoneNumberId: request.params.id };
    meta.numbers.set(number.phoneNumberId, number);
    meta.threads.publish({ type: 'changed', what: 'numbers' });
    return shownNumber(number);
  });
  app.get('/numbers', async () => ({ items: [...meta.numbers.values()].map(shownNumber) }));
  app.post<ById>('/numbers/:id/verify-webhook', async (request) =>
    meta.delivery.verify(numberOf(meta, request.params.id)),
  );
  app.put('/chips', async (request) => {
    const { phoneNumberId, chips } = parse(chipsSchema, request.body);
    meta.chips.set(phoneNumberId, chips);
    meta.threads.publish({ type: 'changed', what: 'chips' });
    return { items: chips };
  });
  app.get('/chips', async (request) => {
    const { phoneNumberId } = parse(z.object({ phoneNumberId: z.string() }), request.query);
    return { items: meta.chips.get(phoneNumberId) ?? [] };
  });
}

function people(app: App, meta: Meta): void {
  app.get('/contacts', async (request) => {
    const { phoneNumberId } = parse(contactsQuerySchema, request.query);
    const items = meta.contacts.listed().map((contact) => {
      const thread = phoneNumberId === undefined ? undefined : meta.threads.find(phoneNumberId, contact.id);
      return { ...contact, lastMessage: thread?.messages.at(-1) ?? null, unread: thread?.unseen.size ?? 0 };
    });
    return { items };
  });
  app.put<ById>('/contacts/:id', async (request) => {
    const contact = { ...parse(contactSettingsSchema, request.body), id: request.params.id, listed: true };
    meta.contacts.put(contact);
    meta.threads.publish({ type: 'changed', what: 'contacts' });
    return contact;
  });
  app.get('/thread', async (request) => {
    const { phoneNumberId, contactId } = parse(threadQuerySchema, request.query);
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
    const given = parse(messagesRequestSchema, request.body);
    if (!('messages' in given)) return { messageId: await write(meta, given) };
    // Who is checked first, so that a mistake in the last one does not leave the others sent.
    for (const message of given.messages) whoWrites(meta, message);
    return { messageIds: await Promise.all(given.messages.map((message) => write(meta, message))) };
  });
  app.post('/webhooks', async (request) => {
    const given = parse(webhookRequestSchema, request.body);
    const { phoneNumberId } = numberOf(meta, given.phoneNumberId);
    const isObject = 'body' in given;
    const body = isObject ? encodeWebhook(given.body) : Buffer.from(given.rawBase64, 'base64');
    if (isObject) await learn(meta, given.body);
    meta.delivery.sendRaw(phoneNumberId, body);
    return { bytes: body.length };
  });
  app.get('/journal', async (request) => {
    const { after, limit, kind } = parse(entriesQuerySchema, request.query);
    const entries = meta.journal.after(after);
    const items = (kind ? entries.filter((entry) => entry.kind === kind) : entries).slice(0, limit);
    return { items, last: meta.journal.last };
  });
  app.get('/inbound', async (request) => {
    const { after, limit } = parse(entriesQuerySchema, request.query);
    return { items: meta.inbound.after(after).slice(0, limit), last: meta.inbound.last };
  });
  app.get('/deliveries', async () => meta.delivery.status());
}

function switches(app: App, meta: Meta): void {
  app.get('/faults', async () => meta.faults.current);
  app.put('/faults', async (request) => {
    meta.faults.set(parse(faultsSchema, request.body));
    return meta.faults.current;
  });
  app.delete('/faults', async () => {
    meta.faults.clear();
    return meta.faults.current;
  });
  app.get('/delivery', async () => meta.delivery.current);
  app.put('/delivery', async (request) => {
    const changes = parse(deliverySettingsSchema.partial(), request.body);
    meta.delivery.configure(changes);
    if (changes.seed !== undefined) meta.faults.reseed(changes.seed);
    return meta.delivery.current;
  });
  app.get('/limits', async () => meta.limits);
  app.put('/limits', async (request) => {
    const changes = parse(limitsSchema.partial(), request.body);
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    meta.limits = { ...meta.limits, ...Object.fromEntries(given) };
    return meta.limits;
  });
  app.post('/reset', async () => {
    await meta.reset();
    return { reset: true };
  });
}

function write(meta: Meta, message: InboundMessage): Promise<string> {
  const { number, contact } = whoWrites(meta, message);
  return meta.write(number, contact, message);
}

function whoWrites(meta: Meta, message: InboundMessage): { number: SandboxNumber; contact: Contact } {
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
      if (contact && meta.numbers.has(metadata.phone_number_id)) {
        writes.push(meta.record(metadata.phone_number_id, contact, message.id, message));
      }
    }
  }
  await Promise.all(writes);
}

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

function numberOf(meta: Meta, phoneNumberId: string): SandboxNumber {
  const number = meta.numbers.get(phoneNumberId);
  if (!number) throw new InvalidInput('number_not_found', 'There is no such business number.', { httpStatus: 404 });
  return number;
}

/** A number without its secrets. */
function shownNumber(number: SandboxNumber) {
  const { phoneNumberId, displayPhoneNumber, verifiedName, wabaId, appId, callbackUrl } = number;
  return { phoneNumberId, displayPhoneNumber, verifiedName, wabaId, appId, callbackUrl };
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InvalidInput('invalid_request', z.prettifyError(parsed.error));
}
