import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { BusinessNumber, CallKind, MessageCallFields } from './control-schemas.ts';
import { dialledDigits } from './dialled-number.ts';
import { identifyWith, noSuchObject, reachableNumber } from './graph-access.ts';
import { answerCall, badParameter, GraphRefused, readCall, type GraphCall, type GraphRoute } from './graph-call.ts';
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

/** Throughput of a number that is also on a phone (Meta, "Throughput"). */
const coexistenceMessagesPerSecond = 20;

interface Accepted {
  readonly answer: unknown;
  readonly sent?: SentMessage;
  readonly failsWith?: number | undefined;
}

/** `POST /{phone-number-id}/messages`: texts, read receipts and typing. */
export function messageRoutes(app: FastifyInstance, meta: Meta): void {
  app.post<GraphRoute>('/:id/messages', async (request, reply) => {
    const kind = kindOf(request.body);
    return answerCall(meta, kind, request, reply, async (fault) => {
      const number = sendingNumber(meta, readCall(request));
      const take = kind === 'text' ? acceptText : acceptRead;
      const { answer, sent, failsWith } = await take(meta, number, request.body);
      if (sent) {
        const tellNow = fault.statusBeforeAnswer && failsWith === undefined;
        meta.reportOn(sent, failsWith, tellNow && (await meta.reportSentNow(sent)));
      }
      return answer;
    });
  });
}

function kindOf(body: unknown): CallKind {
  if (typeof body !== 'object' || body === null || !('status' in body)) return 'text';
  return 'typing_indicator' in body ? 'typing' : 'read';
}

/**
 * The number that is to send. Stricter than Meta: a token that was only named as that of a number sends from no other one
 * of its app, so that a token in the wrong place shows.
 */
function sendingNumber(meta: Meta, call: GraphCall): BusinessNumber {
  const token = identifyWith(meta, call, 'whatsapp_business_messaging');
  const known = meta.accounts.numbers.get(call.id);
  if (known && token.isNumbersOwn && known.accessToken !== token.accessToken) {
    throw new GraphRefused(noSuchObject(call.method, call.id));
  }
  const number = reachableNumber(meta, call, token, call.id);
  if (number.platformType !== 'CLOUD_API') throw new GraphRefused(refusal(133010));
  return number;
}

async function acceptText(meta: Meta, number: BusinessNumber, body: unknown): Promise<Accepted> {
  const type = typeof body === 'object' && body !== null && 'type' in body ? body.type : undefined;
  if (typeof type === 'string' && type !== 'text') {
    throw new GraphRefused(refusal(131051, { details: 'The sandbox takes messages of type text only.' }));
  }
  const parsed = textCallSchema.safeParse(body);
  if (!parsed.success) throw new GraphRefused(badBody(parsed.error));
  const call = parsed.data;
  const input = call.to ?? call.recipient;
  if (input === undefined) throw new GraphRefused(badParameter('The parameter to or recipient is required.'));

  // With both, `to` wins (Meta, "Business-scoped user ids").
  const dialled = call.to === undefined ? undefined : dialledDigits(call.to, number.displayPhoneNumber);
  const contact = dialled === undefined ? meta.contacts.atUserId(input) : meta.contacts.atPhone(dialled);
  if (!contact && (number.isTestNumber || meta.limits.unknownRecipient === 'refused')) {
    throw new GraphRefused(refusal(131030));
  }

  const { phoneNumberId } = number;
  const nowMs = meta.now();
  const messagesPerSecond = number.isOnBizApp
    ? Math.min(meta.limits.messagesPerSecond, coexistenceMessagesPerSecond)
    : meta.limits.messagesPerSecond;
  if (!meta.throughput.take(phoneNumberId, nowMs, { ...meta.limits, messagesPerSecond })) {
    throw new GraphRefused(refusal(130429, { subcode: 2494055 }));
  }
  if (!meta.pairRate.take(`${phoneNumberId} ${contact?.id ?? input}`, nowMs, meta.limits)) {
    throw new GraphRefused(refusal(131056));
  }

  const thread = contact && meta.threads.of(phoneNumberId, contact);
  const failsWith = thread ? (thread.isWindowOpen(nowMs) ? undefined : 131047) : 131026;
  const wamid = createWamid();
  const callbackData = call.biz_opaque_callback_data;
  const line: MessageCallFields = {
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
  const pricing = thread && failsWith === undefined ? meta.price(phoneNumberId, thread, nowMs) : undefined;
  return {
    answer: { messaging_product: 'whatsapp', contacts: [{ input, ...known }], messages: [{ id: wamid }] },
    sent: { wamid, number, thread, dialled, callbackData, pricing },
    failsWith,
  };
}

async function acceptRead(meta: Meta, number: BusinessNumber, body: unknown): Promise<Accepted> {
  const parsed = readCallSchema.safeParse(body);
  if (!parsed.success) throw new GraphRefused(badBody(parsed.error));
  const { message_id: wamid, typing_indicator: typing } = parsed.data;
  const { phoneNumberId } = number;
  const thread = meta.threads.ofInbound(phoneNumberId, wamid);
  if (!thread) throw new GraphRefused(refusal(131009, { details: 'Message ID is invalid.' }));
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
  return { answer: { success: true } };
}

function badBody(error: z.ZodError): GraphRefusal {
  const issue = error.issues[0];
  const [first, ...rest] = issue?.path ?? [];
  const name = first === undefined ? 'body' : [String(first), ...rest.map((part) => `['${String(part)}']`)].join('');
  return badParameter(
    issue?.code === 'too_big'
      ? `Param ${name} must be at most ${String(issue.maximum)} characters long.`
      : `The parameter ${name} is required and must be valid.`,
  );
}
