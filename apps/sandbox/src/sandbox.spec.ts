import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Fastify, { type FastifyInstance } from 'fastify';
import type { DeliveryCounts, JournalEntry, SandboxNumber } from './index.ts';
import { signWebhook } from './signature.ts';
import { startSandbox, type RunningSandbox } from './start-sandbox.ts';
import { until } from './try-sandbox.ts';

type Json = Record<string, unknown>;
interface Received {
  readonly raw: Buffer;
  readonly signature: string;
  readonly body: { entry: { id: string; changes: { value: Json & { messages?: Json[]; statuses?: Json[] } }[] }[] };
}

let dataDir: string;
let business: FastifyInstance;
let sandbox: RunningSandbox;
let number: SandboxNumber;
let received: Received[];
/** Answers of the business to the next webhooks; 200 after that. */
let answers: number[];
let clockMs: number;

async function control<T = Json>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await request(method, `/sandbox${path}`, body);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  return fetch(sandbox.url + path, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
  });
}

async function graph(body: unknown, given: { token?: string; id?: string } = {}) {
  const path = `/v26.0/${given.id ?? number.phoneNumberId}/messages`;
  const authorization = `Bearer ${given.token ?? number.accessToken}`;
  const response = await request('POST', path, body, { authorization });
  return { status: response.status, body: (await response.json()) as Json & { error: Json } };
}

const text = (to: string, body = 'Hello', more: Json = {}) => ({
  messaging_product: 'whatsapp',
  recipient_type: 'individual',
  to,
  type: 'text',
  text: { body },
  ...more,
});

const writeAs = (contactId: string, more: Json = {}) =>
  control<{ messageId: string }>('POST', '/messages', { phoneNumberId: number.phoneNumberId, contactId, ...more });

const allMessages = () =>
  received.flatMap(({ body }) => body.entry.flatMap((e) => e.changes.flatMap((c) => c.value.messages ?? [])));
const allStatuses = () =>
  received.flatMap(({ body }) => body.entry.flatMap((e) => e.changes.flatMap((c) => c.value.statuses ?? [])));

async function start(): Promise<void> {
  sandbox = await startSandbox({ host: '127.0.0.1', port: 0, dataDir, numbers: [number], now: () => clockMs });
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sandbox-'));
  received = [];
  answers = [];
  clockMs = Date.now();
  business = Fastify();
  business.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  business.post('/hook', async (incoming, reply) => {
    const raw = incoming.body as Buffer;
    received.push({
      raw,
      signature: String(incoming.headers['x-hub-signature-256']),
      body: JSON.parse(raw.toString()) as Received['body'],
    });
    return reply.code(answers.shift() ?? 200).send();
  });
  business.get<{ Querystring: Record<string, string> }>('/hook', async ({ query }, reply) =>
    query['hub.verify_token'] === 'verify-me' ? query['hub.challenge'] : reply.code(403).send(),
  );
  const url = await business.listen({ host: '127.0.0.1', port: 0 });
  number = {
    phoneNumberId: '106540000000001',
    displayPhoneNumber: '+1 202-555-0100',
    verifiedName: 'Bakery',
    wabaId: '102290000000001',
    appId: '990000000000001',
    accessToken: 'token-of-the-bakery',
    appSecret: 'secret-of-the-app',
    callbackUrl: `${url}/hook`,
    verifyToken: 'verify-me',
  };
  await start();
});

afterEach(async () => {
  await sandbox.close();
  await business.close();
  await rm(dataDir, { recursive: true });
});

describe('webhooks', () => {
  it('delivers a message of a contact, signed over its exact bytes', async () => {
    const { messageId } = await writeAs('customer-b', { text: '¿A qué hora / día?' });
    const [webhook] = await until('the webhook', () => received.length > 0 && received);
    expect(webhook!.signature).toBe(signWebhook(number.appSecret, webhook!.raw));
    expect(webhook!.raw.toString('latin1')).toContain('\\u00bfA qu\\u00e9 hora \\/ d\\u00eda?');
    expect(webhook!.body).toEqual({
      object: 'whatsapp_business_account',
      entry: [
        {
          id: number.wabaId,
          changes: [
            {
              field: 'messages',
              value: {
                messaging_product: 'whatsapp',
                metadata: { display_phone_number: '12025550100', phone_number_id: number.phoneNumberId },
                contacts: [
                  {
                    profile: { name: 'Customer B' },
                    wa_id: '5215555550102',
                    user_id: 'MX.80412208655302740002',
                  },
                ],
                messages: [
                  {
                    from: '5215555550102',
                    from_user_id: 'MX.80412208655302740002',
                    id: messageId,
                    timestamp: String(Math.floor(clockMs / 1000)),
                    type: 'text',
                    text: { body: '¿A qué hora / día?' },
                  },
                ],
              },
            },
          ],
        },
      ],
    });
  });

  it('leaves phone fields out for a contact with a username only', async () => {
    await writeAs('customer-e', { text: 'Hi' });
    await until('the webhook', () => received.length > 0);
    const { value } = received[0]!.body.entry[0]!.changes[0]!;
    expect(value['contacts']).toEqual([
      { profile: { name: 'Customer E', username: 'customer.e' }, user_id: 'US.80412208655302740005' },
    ]);
    expect(value.messages![0]).not.toHaveProperty('from');
  });

  it('comes again until it is answered 200', async () => {
    answers = [503, 401, 204];
    await control('PUT', '/delivery', { retryDelaysMs: [0, 1] });
    await writeAs('customer-a', { text: 'Hi' });
    const counts = await until('the delivery', async () => {
      const now = await control<DeliveryCounts>('GET', '/deliveries');
      return now.delivered === 1 && now;
    });
    expect(counts).toMatchObject({ refused: 3, retries: 3, attempts: 4, pending: 0 });
    expect(new Set(received.map(({ raw }) => raw.toString())).size).toBe(1);
  });

  it('gives up after the time that is set', async () => {
    answers = Array<number>(100).fill(500);
    await control('PUT', '/delivery', { retryDelaysMs: [0], giveUpAfterMs: 60_000 });
    await writeAs('customer-a');
    await until('the first try', () => received.length > 0);
    clockMs += 60_001;
    await until('giving up', async () => (await control<DeliveryCounts>('GET', '/deliveries')).givenUp === 1);
  });

  it('holds everything back while it is paused', async () => {
    await control('PUT', '/delivery', { paused: true });
    await writeAs('customer-a');
    expect(await control('GET', '/deliveries')).toMatchObject({ pending: 1, attempts: 0 });
    await control('PUT', '/delivery', { paused: false });
    await until('the webhook', () => received.length === 1);
  });

  it('repeats, disorders and batches on request', async () => {
    await control('PUT', '/delivery', { repeatShare: 1, repeatDelayMs: 1, shuffleWithinMs: 30, batchUpTo: 7, seed: 9 });
    const messages = Array.from({ length: 50 }, (_, index) => ({
      phoneNumberId: number.phoneNumberId,
      waId: `120255502${String(index % 10).padStart(2, '0')}`,
      id: `wamid.${index}`,
      text: `${index}`,
    }));
    const { messageIds } = await control<{ messageIds: string[] }>('POST', '/messages', { messages });
    await until('all, twice', async () => (await control<DeliveryCounts>('GET', '/deliveries')).pending === 0);
    const ids = allMessages().map((message) => String(message['id']));
    expect(messageIds).toHaveLength(50);
    expect([...ids].sort()).toEqual([...messageIds, ...messageIds].sort());
    expect(received).toHaveLength(16);
    expect(ids.slice(0, 50)).not.toEqual(messageIds);
  });

  it('delivers a hand-made body as it is and knows its messages afterwards', async () => {
    const message = { id: 'wamid.made', from: '12025550177', timestamp: String(Math.floor(clockMs / 1000)), type: 'x' };
    const value = { metadata: { phone_number_id: number.phoneNumberId }, messages: [message, { odd: true }] };
    const body = {
      object: 'whatsapp_business_account',
      entry: [{ id: '1', changes: [{ field: 'messages', value }] }, {}],
    };
    const { phoneNumberId } = number;
    await control('POST', '/webhooks', { phoneNumberId, body });
    await control('POST', '/webhooks', { phoneNumberId, rawBase64: Buffer.from('{"odd": "ü" }').toString('base64') });
    await until('both', () => received.length === 2);
    expect(received.map(({ raw }) => raw.toString())).toEqual(
      expect.arrayContaining([JSON.stringify(body), '{"odd": "ü" }']),
    );
    expect(await graph(text('+12025550177'))).toMatchObject({ status: 200 });
  });

  it('checks the callback URL as Meta does', async () => {
    const verify = `/numbers/${number.phoneNumberId}/verify-webhook`;
    expect(await control('POST', verify)).toEqual({ verified: true, status: 200, reason: null });
    const { phoneNumberId, ...settings } = number;
    await control('PUT', `/numbers/${phoneNumberId}`, { ...settings, verifyToken: 'other' });
    expect(await control('POST', verify)).toMatchObject({ verified: false, status: 403 });
  });

  it.each([
    ['image', { text: 'Cake' }, { image: expect.objectContaining({ caption: 'Cake', mime_type: 'image/jpeg' }) }],
    ['audio', {}, { audio: expect.objectContaining({ voice: true }) }],
    ['sticker', {}, { sticker: expect.objectContaining({ animated: false }) }],
    ['location', {}, { location: expect.objectContaining({ latitude: expect.any(Number) }) }],
    ['reaction', { text: '👍', targetMessageId: 'wamid.1' }, { reaction: { message_id: 'wamid.1', emoji: '👍' } }],
    ['button', { text: 'Yes' }, { button: { text: 'Yes', payload: 'Yes' } }],
    ['interactive', { content: { type: 'list_reply' } }, { interactive: { type: 'list_reply' } }],
    [
      'edit',
      { text: 'new', targetMessageId: 'wamid.1' },
      { edit: { original_message_id: 'wamid.1', message: { type: 'text', text: { body: 'new' } } } },
    ],
    ['revoke', { targetMessageId: 'wamid.1' }, { revoke: { original_message_id: 'wamid.1' } }],
    [
      'system',
      { newWaId: '12025550199' },
      { system: expect.objectContaining({ wa_id: '12025550199', type: 'user_changed_number' }) },
    ],
    ['text', { text: 'x', extra: { timestamp: 17, id: null } }, { timestamp: 17 }],
  ])('makes a message of type %s', async (type, more, expected) => {
    await writeAs('customer-a', { type, ...more });
    await until('the webhook', () => received.length === 1);
    expect(allMessages()[0]).toMatchObject({ type, ...expected });
  });
});

describe('the Graph API', () => {
  it('takes a text, writes it down before it answers, and reports on it', async () => {
    const { messageId } = await writeAs('customer-c', { text: 'Hi' });
    const more = { context: { message_id: messageId }, biz_opaque_callback_data: 'attempt-1' };
    await control('PUT', '/delivery', { autoRead: true, statusDelaysMs: { sent: 1, delivered: 2, read: 3 } });
    const answer = await graph(text('+553155550103', 'Olá', more));
    const journal = await readFile(join(dataDir, 'sandbox-journal.jsonl'), 'utf8');
    const [line] = journal
      .trimEnd()
      .split('\n')
      .map((json) => JSON.parse(json) as JournalEntry);
    expect(answer).toEqual({
      status: 200,
      body: {
        messaging_product: 'whatsapp',
        contacts: [{ input: '+553155550103', wa_id: '553155550103' }],
        messages: [{ id: line!.wamid }],
      },
    });
    expect(line).toEqual({
      n: 1,
      at: new Date(clockMs).toISOString(),
      kind: 'text',
      phoneNumberId: number.phoneNumberId,
      contactId: 'customer-c',
      to: '+553155550103',
      wamid: expect.stringMatching(/^wamid\./),
      contextMessageId: messageId,
      body: 'Olá',
      callbackData: 'attempt-1',
    });
    await until('three statuses', () => allStatuses().length === 3);
    expect(allStatuses().map((status) => status['status'])).toEqual(
      expect.arrayContaining(['sent', 'delivered', 'read']),
    );
    for (const status of allStatuses()) {
      expect(status).toMatchObject({
        id: line!.wamid,
        recipient_id: '553155550103',
        recipient_user_id: 'BR.80412208655302740003',
        biz_opaque_callback_data: 'attempt-1',
      });
    }
  });

  it('takes a BSUID as recipient', async () => {
    await writeAs('customer-e');
    const { to: _, ...call } = text('');
    const recipient = 'US.80412208655302740005';
    const { status, body } = await graph({ ...call, recipient });
    expect(status).toBe(200);
    expect(body['contacts']).toEqual([{ input: recipient, user_id: recipient }]);
    await until('statuses', () => allStatuses().length >= 1);
    expect(allStatuses()[0]).not.toHaveProperty('recipient_id');
  });

  it('marks as read and types', async () => {
    const { messageId } = await writeAs('customer-a');
    const call = { messaging_product: 'whatsapp', status: 'read', message_id: messageId };
    expect(await graph(call)).toEqual({ status: 200, body: { success: true } });
    expect((await graph({ ...call, typing_indicator: { type: 'text' } })).status).toBe(200);
    const { items } = await control<{ items: JournalEntry[] }>('GET', '/journal');
    expect(items.map(({ kind, wamid }) => [kind, wamid])).toEqual([
      ['read', messageId],
      ['typing', messageId],
    ]);
    const thread = await control('GET', `/thread?phoneNumberId=${number.phoneNumberId}&contactId=customer-a`);
    expect(thread).toMatchObject({ messages: [{ ticks: 'read' }], typingUntilMs: clockMs + 25_000 });
  });

  it.each([
    ['a wrong token', text('+12025550101'), { token: 'other' }, 401, { code: 190 }],
    ['an unknown number', text('+12025550101'), { id: '1' }, 400, { code: 100, error_subcode: 33 }],
    ['an unknown recipient', text('+12025550909'), {}, 400, { code: 131030 }],
    ['a Mexican number without +', text('5215555550102'), {}, 400, { code: 131030 }],
    ['an Argentine number without the 9', text('+541155550104'), {}, 400, { code: 131030 }],
    ['a text that is too long', text('+12025550101', 'x'.repeat(4097)), {}, 400, { code: 100 }],
    ['a text without body', text('+12025550101', ''), {}, 400, { code: 100 }],
    ['nobody to send to', { ...text(''), to: undefined }, {}, 400, { code: 100 }],
    ['another product', { ...text('+12025550101'), messaging_product: 'x' }, {}, 400, { code: 100 }],
    ['another type', { ...text('+12025550101'), type: 'image' }, {}, 400, { code: 131051 }],
    ['no object', [], {}, 400, { code: 100 }],
    [
      'read of an unknown message',
      { messaging_product: 'whatsapp', status: 'read', message_id: 'wamid.no' },
      {},
      400,
      { code: 131009 },
    ],
  ])('refuses %s', async (_, body, given, status, error) => {
    const answer = await graph(body, given);
    expect(answer).toMatchObject({ status, body: { error } });
    expect(answer.body.error).toMatchObject({ message: expect.any(String), type: expect.any(String) });
    expect(answer.body.error['fbtrace_id']).toEqual(expect.any(String));
    expect(await control('GET', '/journal')).toEqual({ items: [], last: 0 });
  });

  it('takes the longest text and the other Mexican spelling', async () => {
    await writeAs('customer-b');
    const answer = await graph(text('+525555550102', 'x'.repeat(4096)));
    expect(answer.body['contacts']).toEqual([{ input: '+525555550102', wa_id: '5215555550102' }]);
  });

  it('fails a text by status when the window is closed', async () => {
    const old = Math.floor(clockMs / 1000) - 86_401;
    await writeAs('customer-a', { timestamp: old });
    expect((await graph(text('+12025550101'))).status).toBe(200);
    await until('the status', () => allStatuses().length === 1);
    expect(allStatuses()[0]).toMatchObject({ status: 'failed', errors: [{ code: 131047 }] });
  });

  it('fails a text to nobody by status when told to', async () => {
    await control('PUT', '/limits', { unknownRecipient: 'undeliverable' });
    expect((await graph(text('+12025550909'))).status).toBe(200);
    await until('the status', () => allStatuses().length === 1);
    expect(allStatuses()[0]).toMatchObject({ recipient_id: '12025550909', errors: [{ code: 131026 }] });
  });

  it('keeps the pair rate and the throughput of a number', async () => {
    await writeAs('customer-a');
    await control('PUT', '/limits', { pairBurst: 2 });
    const codes = [];
    for (let call = 0; call < 3; call += 1) codes.push((await graph(text('+12025550101'))).body.error?.['code']);
    expect(codes).toEqual([undefined, undefined, 131056]);
    clockMs += 12_000;
    expect((await graph(text('+12025550101'))).status).toBe(200);
    await control('PUT', '/limits', { pairRate: false, messagesPerSecond: 1 });
    expect((await graph(text('+12025550101'))).status).toBe(200);
    expect((await graph(text('+12025550101'))).body.error['code']).toBe(130429);
  });
});

describe('faults', () => {
  const send = () => graph(text('+12025550101')).catch(() => 'cut' as const);
  const accepted = async () => (await control<{ last: number }>('GET', '/journal')).last;

  beforeEach(async () => {
    await writeAs('customer-a');
    await control('PUT', '/delivery', { statusDelaysMs: { sent: 0, delivered: 0, read: 0 } });
  });

  it('answers with a status, with and without a Graph body', async () => {
    await control('PUT', '/faults', { graphErrorStatus: 503 });
    expect(await send()).toMatchObject({ status: 503, body: { error: { code: 2, is_transient: true } } });
    await control('PUT', '/faults', { graphErrorStatus: 429, errorCode: 130429 });
    expect(await send()).toMatchObject({ status: 429, body: { error: { code: 130429 } } });
    await control('PUT', '/faults', { graphErrorStatus: 502, graphErrorBody: false, forNextCalls: 1 });
    const bare = await request('POST', `/v26.0/${number.phoneNumberId}/messages`, text('+12025550101'));
    expect([bare.status, await bare.text()]).toEqual([502, '<html>Bad gateway</html>']);
    expect(await accepted()).toBe(0);
    expect(await send()).toMatchObject({ status: 200 });
  });

  it('expires the token for the calls it is set for', async () => {
    await control('PUT', '/faults', { expiredToken: true, kinds: ['text'] });
    expect(await send()).toMatchObject({ status: 401, body: { error: { code: 190, error_subcode: 463 } } });
    await control('DELETE', '/faults');
    expect(await send()).toMatchObject({ status: 200 });
  });

  it('cuts the connection before or after it took the call', async () => {
    await control('PUT', '/faults', { cutBeforeAccept: 1 });
    expect([await send(), await accepted()]).toEqual(['cut', 0]);
    await control('PUT', '/faults', { cutAfterAccept: 1 });
    expect([await send(), await accepted()]).toEqual(['cut', 1]);
    await until('the status of the call that got no answer', () => allStatuses().length >= 2);
  });

  it('delivers the status before it answers', async () => {
    await control('PUT', '/faults', { statusBeforeAnswer: true });
    await until('the message', () => received.length === 1);
    await control('PUT', '/delivery', { shuffleWithinMs: 60_000, batchUpTo: 1000 });
    expect(await send()).toMatchObject({ status: 200 });
    expect(allStatuses()).toMatchObject([{ status: 'sent' }]);
    await control('PUT', '/delivery', { shuffleWithinMs: 0, batchUpTo: 1 });
    await send();
    await until('both accounts', () => allStatuses().length >= 3);
    expect(allStatuses().filter((status) => status['status'] === 'sent')).toHaveLength(2);
  });

  it('hits a share of the calls, the same for the same seed', async () => {
    await control('PUT', '/limits', { pairRate: false });
    await control('PUT', '/faults', { graphErrorStatus: 500, share: 0.5 });
    const run = async () => {
      await control('PUT', '/delivery', { seed: 42 });
      const statuses = [];
      for (let call = 0; call < 20; call += 1) statuses.push((await graph(text('+12025550101'))).status);
      return statuses;
    };
    const first = await run();
    expect(new Set(first)).toEqual(new Set([200, 500]));
    expect(await run()).toEqual(first);
  });
});

describe('the phone', () => {
  const thread = () =>
    control<{ messages: Json[] }>('GET', `/thread?phoneNumberId=${number.phoneNumberId}&contactId=customer-a`);

  it('reads what waited when it is opened, and tells what happens', async () => {
    await writeAs('customer-a', { text: 'Hi' });
    await control('PUT', '/delivery', { statusDelaysMs: { sent: 0, delivered: 0, read: 0 } });
    await graph(text('+12025550101', 'Hello'));
    await until('two statuses', () => allStatuses().length === 2);
    const stream = await request('GET', `/sandbox/stream?phoneNumberId=${number.phoneNumberId}&contactId=customer-a`);
    await until('read', () => allStatuses().some((status) => status['status'] === 'read'));
    await writeAs('customer-a', { text: 'One more' });
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    let told = '';
    while (!told.includes('One more')) told += (await reader.read()).value ?? '';
    await reader.cancel();
  });

  it('shows changes of a message in their place', async () => {
    const { messageId } = await writeAs('customer-a', { text: 'Hi' });
    await writeAs('customer-a', { type: 'edit', targetMessageId: messageId, text: 'Hi there' });
    await writeAs('customer-a', { type: 'reaction', targetMessageId: messageId, text: '👍' });
    expect((await thread()).messages).toMatchObject([{ text: 'Hi there', edited: true, reaction: '👍' }]);
  });

  it('keeps its chats over a restart, past a line that was cut off', async () => {
    const { messageId } = await writeAs('customer-a', { text: 'Hi' });
    clockMs += 1;
    await graph({ messaging_product: 'whatsapp', status: 'read', message_id: messageId });
    clockMs += 1;
    await graph(text('+12025550101', 'Hello'));
    await control('POST', '/messages', { phoneNumberId: number.phoneNumberId, waId: '12025550177', text: 'Me too' });
    await until('no work left', async () => (await control<DeliveryCounts>('GET', '/deliveries')).pending === 0);
    const before = await thread();
    await sandbox.close();
    await writeFile(join(dataDir, 'sandbox-journal.jsonl'), '{"n":3,"at":"20', { flag: 'a' });
    await start();
    expect(await thread()).toEqual(before);
    expect((await graph(text('+12025550177'))).status).toBe(200);
    const { items } = await control<{ items: JournalEntry[] }>('GET', '/journal?after=1');
    expect(items.map(({ n, body }) => [n, body])).toEqual([
      [2, 'Hello'],
      [3, 'Hello'],
    ]);
    await sandbox.close();
    await start();
    expect(await control('GET', '/journal')).toMatchObject({ last: 3 });
  });

  it('names the file and line that it cannot read', async () => {
    await sandbox.close();
    await writeFile(join(dataDir, 'sandbox-inbound.jsonl'), '{}\nodd\n');
    await expect(start()).rejects.toMatchObject({ problems: [expect.stringContaining('line 2')] });
  });

  it('is served with its files', async () => {
    const page = await request('GET', '/');
    expect(page.headers.get('content-type')).toContain('text/html');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  });
});

describe('control', () => {
  it('says what is wrong with a request', async () => {
    const answer = await request('PUT', '/sandbox/delivery', { repeatShare: 2, x: 1 });
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringContaining('repeatShare'),
    });
    expect((await request('POST', '/sandbox/messages', { phoneNumberId: 'no', waId: '12025550177' })).status).toBe(404);
  });

  it('shows numbers without their secrets', async () => {
    const shown = JSON.stringify(await control('GET', '/numbers'));
    expect(shown).toContain(number.phoneNumberId);
    for (const secret of [number.accessToken, number.appSecret, number.verifyToken])
      expect(shown).not.toContain(secret);
  });

  it('forgets everything but its numbers on reset', async () => {
    await writeAs('customer-a');
    await graph(text('+12025550101'));
    await control('POST', '/reset');
    expect(await control('GET', '/journal')).toEqual({ items: [], last: 0 });
    expect(await readFile(join(dataDir, 'sandbox-inbound.jsonl'), 'utf8')).toBe('');
    await writeAs('customer-a');
    expect((await graph(text('+12025550101'))).status).toBe(200);
  });

  it('never starts in production', async () => {
    await expect(startSandbox({ host: '127.0.0.1', port: 0, dataDir, production: true })).rejects.toMatchObject({
      problems: [expect.stringContaining('does not start in production')],
    });
  });

  it('says that its port is taken', async () => {
    const { port } = new URL(sandbox.url);
    await expect(startSandbox({ host: '127.0.0.1', port: Number(port), dataDir })).rejects.toMatchObject({
      problems: [expect.stringContaining('SANDBOX_PORT')],
    });
  });
});
