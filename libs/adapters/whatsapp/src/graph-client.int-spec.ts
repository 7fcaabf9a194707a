import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { closeOperatorConnections } from '@answerline/outbound-http';
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { GraphClient, type TextMessage } from './graph-client.ts';

const token = 'EAAplantedtoken';
const text = 'A planted text that no error may show';
const message: TextMessage = {
  phoneNumberId: '200000000000001',
  accessToken: token,
  to: '+15550100101',
  text,
  callbackData: 'attempt-1',
};

// Meta's side of the wire: each test says how it answers, and looks at what came.
type Answer = (request: FastifyRequest, reply: FastifyReply) => unknown;
let answer: Answer;
let requests: { url: string; headers: FastifyRequest['headers']; body: unknown }[] = [];
const server = fastify();
server.post('/*', async (request, reply) => {
  requests.push({ url: request.url, headers: request.headers, body: request.body });
  return answer(request, reply);
});

let baseUrl: string;
beforeAll(async () => {
  baseUrl = await server.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => {
  requests = [];
});
afterAll(async () => {
  await closeOperatorConnections();
  await server.close();
});

const now = () => Date.parse('2026-10-01T12:00:00Z');
const client = (options: { baseUrl?: string; timeoutMs?: number } = {}) =>
  new GraphClient({ baseUrl, version: 'v26.0', now, ...options });

function answers(status: number, body: unknown, headers: Record<string, string> = {}): void {
  answer = (_request, reply) => reply.code(status).headers(headers).send(body);
}
const sent = (contact: object) => ({
  messaging_product: 'whatsapp',
  contacts: [{ input: 'x', ...contact }],
  messages: [{ id: 'wamid.OUT1' }],
});
const graphError = (code: number, more: object = {}) => ({
  error: { message: `It failed for ${text} with ${token}`, type: 'OAuthException', code, fbtrace_id: 'x', ...more },
});

describe('GraphClient.sendText', () => {
  it('posts one text without preview and tells the id', async () => {
    answers(200, sent({ wa_id: '15550100101 ' }));

    expect(await client({ baseUrl: `${baseUrl}/` }).sendText(message)).toEqual({
      outcome: 'accepted',
      providerMessageId: 'wamid.OUT1',
      recipientWaId: '15550100101',
      recipientUserId: undefined,
    });
    expect(requests).toMatchObject([
      { url: '/v26.0/200000000000001/messages', headers: { authorization: `Bearer ${token}` } },
    ]);
    expect(requests[0]?.body).toEqual({
      messaging_product: 'whatsapp',
      recipient_type: 'individual',
      to: '+15550100101',
      type: 'text',
      text: { body: text, preview_url: false },
      biz_opaque_callback_data: 'attempt-1',
    });
  });

  it('sends to a BSUID as recipient, and quotes', async () => {
    answers(200, sent({ user_id: 'US.90000000000000000001' }));
    const { to: _to, ...rest } = message;

    const outcome = await client().sendText({
      ...rest,
      recipient: 'US.90000000000000000001',
      quoteMessageId: 'wamid.IN1',
    });

    expect(outcome).toMatchObject({ outcome: 'accepted', recipientUserId: 'US.90000000000000000001' });
    expect(requests[0]?.body).toMatchObject({
      recipient: 'US.90000000000000000001',
      context: { message_id: 'wamid.IN1' },
    });
    expect(requests[0]?.body).not.toHaveProperty('to');
  });

  it.each([
    [
      401,
      graphError(190, { error_subcode: 463 }),
      { class: 'auth', reason: 'token_expired', retry: 'after_reconnect' },
    ],
    [400, graphError(131047), { class: 'window', reason: 'window_closed', retry: 'never' }],
    [400, graphError(131056), { class: 'retry_pair', retry: 'pair' }],
    [429, graphError(130429), { class: 'retry', retry: 'backoff' }],
    [500, graphError(2, { is_transient: true }), { class: 'retry', retry: 'backoff' }],
    [503, graphError(987_654), { class: 'retry', retry: 'backoff' }],
  ])('%d with a Graph error is refused', async (status, body, failure) => {
    answers(status, body);

    const outcome = await client().sendText(message);

    expect(outcome).toMatchObject({ outcome: 'refused', failure });
    expect(JSON.stringify(outcome)).not.toContain(token);
    expect(JSON.stringify(outcome)).not.toContain('planted');
  });

  it.each([
    ['seconds', '7', 7_000],
    ['a date', 'Thu, 01 Oct 2026 12:01:00 GMT', 60_000],
    ['a date gone by', 'Thu, 01 Oct 2026 11:00:00 GMT', 0],
    ['nonsense', 'soon', undefined],
  ])('keeps Retry-After as %s', async (_name, header, retryAfterMs) => {
    answers(429, graphError(130429), { 'retry-after': header });

    expect(await client().sendText(message)).toMatchObject({ outcome: 'refused', failure: { retryAfterMs } });
  });

  it.each<[string, number, string, string, object]>([
    ['a 500 with HTML', 500, 'text/html', '<html>oops</html>', { outcome: 'unknown', reason: 'http_500' }],
    ['a 502 with other JSON', 502, 'application/json', '{"message":"x"}', { outcome: 'unknown', reason: 'http_502' }],
    ['a 408', 408, 'text/plain', '', { outcome: 'unknown', reason: 'http_408' }],
    ['a 404 of something before Meta', 404, 'text/html', 'x', { outcome: 'not_sent', reason: 'http_404' }],
    ['a 429 of something before Meta', 429, 'text/html', 'x', { outcome: 'not_sent', reason: 'http_429' }],
    ['a redirect', 302, 'text/html', 'x', { outcome: 'not_sent', reason: 'http_302' }],
    ['a 200 with HTML', 200, 'text/html', 'x', { outcome: 'unknown', reason: 'answer_not_json' }],
    ['a 200 without an id', 200, 'application/json', '{}', { outcome: 'unknown', reason: 'answer_without_message_id' }],
    ['a 200 with an error', 200, 'application/json', JSON.stringify(graphError(131026)), { outcome: 'refused' }],
    ['an endless answer', 200, 'text/plain', 'x'.repeat(300_000), { outcome: 'unknown' }],
  ])('%s', async (_name, status, contentType, body, expected) => {
    answers(status, body, { 'content-type': contentType, location: '/elsewhere' });

    expect(await client().sendText(message)).toMatchObject(expected);
    expect(requests).toHaveLength(1);
  });

  it('does not know when the connection is cut after the request was read', async () => {
    answer = (request) => request.raw.socket.destroy();

    expect(await client().sendText(message)).toMatchObject({ outcome: 'unknown' });
    expect(requests).toHaveLength(1);
  });

  it('does not know when the answer takes too long', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    answer = async () => {
      await held;
      return {};
    };

    expect(await client({ timeoutMs: 150 }).sendText(message)).toMatchObject({ outcome: 'unknown' });
    release();
  });

  it('knows that nothing was sent to a port that refuses', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    taken.close();
    await once(taken, 'close');

    const outcome = await client({ baseUrl: `http://127.0.0.1:${port}` }).sendText(message);

    expect(outcome).toMatchObject({ outcome: 'not_sent', reason: 'outbound_refused' });
  });

  it.each(['', 'EAA\nplanted', 'EAA é'])(
    'calls nobody with a token that no header can carry: %j',
    async (accessToken) => {
      expect(await client().sendText({ ...message, accessToken })).toMatchObject({
        outcome: 'refused',
        failure: { class: 'auth' },
      });
      expect(requests).toEqual([]);
    },
  );

  it('keeps the phone number id inside its place in the path', async () => {
    answers(200, sent({}));
    await client().sendText({ ...message, phoneNumberId: '1/../2?x=#' });

    expect(requests[0]?.url).toBe('/v26.0/1%2F..%2F2%3Fx%3D%23/messages');
  });
});

describe('GraphClient.markRead', () => {
  const receipt = { phoneNumberId: '200000000000001', accessToken: token, messageId: 'wamid.IN1' };

  it.each([
    [true, { typing_indicator: { type: 'text' } }],
    [false, {}],
  ])('marks as read, typing %s', async (typing, more) => {
    answers(200, { success: true });

    expect(await client().markRead({ ...receipt, typing })).toEqual({ outcome: 'accepted' });
    expect(requests[0]?.body).toEqual({
      messaging_product: 'whatsapp',
      status: 'read',
      message_id: 'wamid.IN1',
      ...more,
    });
  });

  it('tells when Meta does not know the message', async () => {
    answers(400, graphError(131009));

    expect(await client().markRead({ ...receipt, typing: true })).toMatchObject({
      outcome: 'refused',
      failure: { class: 'request', code: 131009 },
    });
  });
});
