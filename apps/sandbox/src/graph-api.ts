import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { CallKind, JournalFields, SandboxNumber } from './control-schemas.ts';
import { dialledDigits } from './dialled-number.ts';
import { refusal, type GraphRefusal } from './graph-error.ts';
import { outboundMessage, type Meta, type SentMessage } from './meta.ts';
import { typingMs } from './threads.ts';
import { createWamid } from './webhook-bodies.ts';

/** Longest text body. Meta does not say in what it counts; UTF-16 units are the strictest of the likely ones. */
const maxTextLength = 4096;
/** Longest `biz_opaque_callback_data` that Meta is known to take. */
const maxCallbackDataLength = 512;

const textCallSchema = z.looseObject({
  messaging_product: z.literal('whatsapp'),
  recipient_type: z.literal('individual').optional(),
  to: z.string().regex(/\d/).optional(),
  recipient: z.string().min(1).optional(),
  type: z.literal('text').optional(),
  text: z.looseObject({
    body: z.string().min(1).max(maxTextLength),
    preview_url: z.boolean().optional(),
  }),
  context: z.looseObject({ message_id: z.string().min(1) }).optional(),
  biz_opaque_callback_data: z.string().max(maxCallbackDataLength).optional(),
});
const readCallSchema = z.looseObject({
  messaging_product: z.literal('whatsapp'),
  status: z.literal('read'),
  message_id: z.string().min(1),
  typing_indicator: z.looseObject({ type: z.literal('text') }).optional(),
});

interface Route {
  Params: { version: string; phoneNumberId: string };
}
type Accepted = { readonly answer: unknown; readonly sent?: SentMessage; readonly failsWith?: number | undefined };
type Outcome = { readonly accepted: Accepted } | { readonly refused: GraphRefusal };

/** The part of Meta's Graph API that the product calls: `POST /{version}/{phone-number-id}/messages`. */
export function graphApi(meta: Meta): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler((error: { statusCode?: number }, _request, reply) => {
      const isTheirs = error.statusCode !== undefined && error.statusCode < 500;
      return refuse(
        reply,
        refusal(isTheirs ? 100 : 131000, isTheirs ? { details: 'The body is not valid JSON.' } : {}),
      );
    });
    app.post<Route>('/:version(^v\\d+\\.\\d+$)/:phoneNumberId/messages', async (request, reply) => {
      const kind = kindOf(request.body);
      const fault = meta.faults.next(kind);
      if (fault.latencyMs > 0) await delay(fault.latencyMs / 2);
      if (fault.cutBeforeAccept) return cut(request, reply);
      if (fault.expiredToken) return refuse(reply, expiredToken());
      if (fault.error) {
        const { status, errorCode, graphErrorBody } = fault.error;
        if (!graphErrorBody)
          return reply
            .code(status || 502)
            .type('text/html')
            .send('<html>Bad gateway</html>');
        return refuse(reply, injectedError(status, errorCode));
      }
      const outcome = await take(meta, kind, request);
      if ('refused' in outcome) return refuse(reply, outcome.refused);
      const { answer, sent, failsWith } = outcome.accepted;
      if (sent) {
        const tellNow = fault.statusBeforeAnswer && failsWith === undefined;
        meta.reportOn(sent, failsWith, tellNow && (await meta.reportSentNow(sent)));
      }
      if (fault.cutAfterAccept) return cut(request, reply);
      if (fault.latencyMs > 0) await delay(fault.latencyMs / 2);
      return reply.send(answer);
    });
    app.all('/:version(^v\\d+\\.\\d+$)/*', (_request, reply) =>
      refuse(reply, refusal(2500, { message: 'Unknown path components' })),
    );
  };
}

function kindOf(body: unknown): CallKind {
  if (typeof body !== 'object' || body === null || !('status' in body)) return 'text';
  return 'typing_indicator' in body ? 'typing' : 'read';
}

async function take(meta: Meta, kind: CallKind, request: FastifyRequest<Route>): Promise<Outcome> {
  const { phoneNumberId } = request.params;
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const number = meta.numbers.get(phoneNumberId);
  if (token === undefined || (number?.accessToken !== token && !isTokenOfAny(meta, token))) {
    return { refused: refusal(190, { message: 'Invalid OAuth access token - Cannot parse access token' }) };
  }
  if (number?.accessToken !== token) return { refused: noSuchObject(phoneNumberId) };
  return kind === 'text' ? acceptText(meta, number, request.body) : acceptRead(meta, number, request.body);
}

function isTokenOfAny(meta: Meta, token: string): boolean {
  return [...meta.numbers.values()].some((number) => number.accessToken === token);
}

async function acceptText(meta: Meta, number: SandboxNumber, body: unknown): Promise<Outcome> {
  const type = typeof body === 'object' && body !== null && 'type' in body ? body.type : undefined;
  if (typeof type === 'string' && type !== 'text') {
    return { refused: refusal(131051, { details: 'The sandbox takes messages of type text only.' }) };
  }
  const parsed = textCallSchema.safeParse(body);
  if (!parsed.success) return { refused: badParameter(parsed.error) };
  const call = parsed.data;
  const input = call.to ?? call.recipient;
  if (input === undefined) return { refused: badParameterText('The parameter to or recipient is required.') };

  // With both, `to` wins (Meta, "Business-scoped user ids").
  const dialled = call.to === undefined ? undefined : dialledDigits(call.to, number.displayPhoneNumber);
  const contact = dialled === undefined ? meta.contacts.atUserId(input) : meta.contacts.atPhone(dialled);
  if (!contact && meta.limits.unknownRecipient === 'refused') return { refused: refusal(131030) };

  const { phoneNumberId } = number;
  const nowMs = meta.now();
  if (!meta.throughput.take(phoneNumberId, nowMs, meta.limits)) {
    return { refused: refusal(130429, { subcode: 2494055 }) };
  }
  if (!meta.pairRate.take(`${phoneNumberId} ${contact?.id ?? input}`, nowMs, meta.limits)) {
    return { refused: refusal(131056) };
  }

  const thread = contact && meta.threads.of(phoneNumberId, contact);
  const failsWith = thread ? (thread.isWindowOpen(nowMs) ? undefined : 131047) : 131026;
  const wamid = createWamid();
  const callbackData = call.biz_opaque_callback_data;
  const line: JournalFields = {
    at: new Date(nowMs).toISOString(),
    kind: 'text',
    phoneNumberId,
    ...(contact && { contactId: contact.id }),
    ...(call.to === undefined ? { recipient: input } : { to: input }),
    wamid,
    ...(call.context && { contextMessageId: call.context.message_id }),
    body: call.text.body,
    ...(callbackData !== undefined && { callbackData }),
    ...(failsWith !== undefined && { failsWith }),
  };
  await meta.journal.append(line);
  if (thread) meta.threads.reply(thread, outboundMessage(line, nowMs));
  const known = dialled === undefined ? { user_id: input } : { wa_id: contact?.waId ?? dialled };
  return {
    accepted: {
      answer: { messaging_product: 'whatsapp', contacts: [{ input, ...known }], messages: [{ id: wamid }] },
      sent: { wamid, number, thread, dialled, callbackData },
      failsWith,
    },
  };
}

async function acceptRead(meta: Meta, number: SandboxNumber, body: unknown): Promise<Outcome> {
  const parsed = readCallSchema.safeParse(body);
  if (!parsed.success) return { refused: badParameter(parsed.error) };
  const { message_id: wamid, typing_indicator: typing } = parsed.data;
  const { phoneNumberId } = number;
  const thread = meta.threads.ofInbound(phoneNumberId, wamid);
  if (!thread) return { refused: refusal(131009, { details: 'Message ID is invalid.' }) };
  const nowMs = meta.now();
  await meta.journal.append({
    at: new Date(nowMs).toISOString(),
    kind: typing ? 'typing' : 'read',
    phoneNumberId,
    contactId: thread.contact.id,
    wamid,
    ...(typing && { typing: true }),
  });
  meta.threads.markRead(thread, wamid);
  if (typing) meta.threads.setTyping(thread, nowMs + typingMs);
  return { accepted: { answer: { success: true } } };
}

function badParameter(error: z.ZodError): GraphRefusal {
  const issue = error.issues[0];
  const [first, ...rest] = issue?.path ?? [];
  const name = first === undefined ? 'body' : [String(first), ...rest.map((part) => `['${String(part)}']`)].join('');
  return badParameterText(
    issue?.code === 'too_big'
      ? `Param ${name} must be at most ${String(issue.maximum)} characters long.`
      : `The parameter ${name} is required and must be valid.`,
  );
}

function badParameterText(text: string): GraphRefusal {
  return refusal(100, { message: `(#100) ${text}`, details: text });
}

function noSuchObject(id: string): GraphRefusal {
  return refusal(100, {
    type: 'GraphMethodException',
    subcode: 33,
    message:
      `Unsupported post request. Object with ID '${id}' does not exist, cannot be loaded due to missing permissions, ` +
      'or does not support this operation.',
  });
}

function expiredToken(): GraphRefusal {
  return refusal(190, { subcode: 463, message: 'Error validating access token: Session has expired.' });
}

function injectedError(status: number, errorCode: number | undefined): GraphRefusal {
  const code = errorCode ?? (status === 429 ? 80007 : status >= 500 ? 2 : 131000);
  return refusal(code, { ...(status > 0 && { status }), ...(status >= 500 && { isTransient: true }) });
}

function refuse(reply: FastifyReply, { status, body }: GraphRefusal): FastifyReply {
  return reply.code(status).send(body);
}

/** Ends the connection without an answer. */
function cut(request: FastifyRequest<Route>, reply: FastifyReply): FastifyReply {
  reply.hijack();
  request.raw.socket.destroy();
  return reply;
}
