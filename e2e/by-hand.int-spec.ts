import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Answerer, ExtractiveAnswerer, type Answer, type AnswerRequest } from '@answerline/language-model';
import { type Database } from '@answerline/persistence';
import { type JournalEntry } from '@answerline/sandbox';
import { eventually, type TestSandbox } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { startWholeProduct, type WholeProduct } from './whole-product.ts';

/**
 * Situations on the whole way of a message, each brought about on purpose: gateway, ingest, rag and notifier in one process on a
 * real Postgres and NATS, with the sandbox as Meta.
 */

/** Short, so that tests are quick. */
const QUIET_MS = 300;
/** Two messages 300 ms apart are one turn, on a slow machine too. */
const PATIENT_QUIET_MS = 1_500;
const START_MS = 60_000;

/** The answerer of the product, behind a gate that a test may close. */
class GatedAnswerer extends Answerer {
  readonly usesModel = false;
  readonly #inner = new ExtractiveAnswerer();
  #opened: Promise<void> | undefined;
  #open = (): void => undefined;
  #waiting = 0;

  /** Returns what waits until somebody stands before the closed gate. */
  close(): () => Promise<void> {
    const gate = Promise.withResolvers<void>();
    this.#opened = gate.promise;
    this.#open = gate.resolve;
    const before = this.#waiting;
    return async () => {
      await eventually(() => this.#waiting > before, { what: 'the answer is being made', timeoutMs: 15_000 });
    };
  }

  open(): void {
    this.#open();
    this.#opened = undefined;
  }

  override async rewrite(): Promise<undefined> {}

  override async answer(request: AnswerRequest): Promise<Answer> {
    if (this.#opened) {
      this.#waiting += 1;
      await this.#opened;
    }
    return this.#inner.answer(request);
  }
}

let product: WholeProduct;
let sandbox: TestSandbox;
let database: Database;
let apiKey: string;
let chatbotId: string;
let channelId: string;
const answerer = new GatedAnswerer();
const meta = {
  appId: '1001',
  wabaId: '1002',
  phoneNumberId: '1003',
  accessToken: `EAA${randomBytes(12).toString('hex')}`,
  appSecret: randomBytes(16).toString('hex'),
};
const { phoneNumberId } = meta;

beforeAll(async () => {
  product = await startWholeProduct(answerer);
  ({ sandbox, database } = product);
  await connect();
}, START_MS);

afterAll(async () => {
  answerer.open();
  await product.close();
}, START_MS);

afterEach(async () => {
  answerer.open();
  await sandbox.faults({});
});

async function api<Body>(method: string, path: string, body?: object, key = apiKey): Promise<Body> {
  const answer = await product.call<Body>(key, method, path, body);
  if (answer.status >= 300)
    throw new Error(`${method} ${path}: ${String(answer.status)} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** A bakery on a number of the sandbox, made through the API as a customer would. */
async function connect(): Promise<void> {
  const created = await api<{ apiKey: string }>(
    'POST',
    '/workspaces',
    { name: 'Bakery', plan: 'scale' },
    product.operatorKey,
  );
  ({ apiKey } = created);
  ({ id: chatbotId } = await api<{ id: string }>('POST', '/chatbots', { name: 'Bakery' }));
  const source = await api<{ id: string }>('POST', `/chatbots/${chatbotId}/sources`, {
    type: 'markdown',
    title: 'Visit us',
    text: '## Opening hours\n\nOur opening hours are Tuesday to Friday from **7:00** to 18:00.\n\n## Parking\n\nParking is free for one hour in the yard.',
  });
  await eventually(async () => (await api<{ state: string }>('GET', `/sources/${source.id}`)).state === 'ready', {
    what: 'the source is indexed',
    timeoutMs: 15_000,
  });
  await setQuiet(QUIET_MS);
  const { phoneNumberId: id, ...settings } = meta;
  await sandbox.control('PUT', `/numbers/${id}`, {
    ...settings,
    displayPhoneNumber: '+1 202 555 0199',
    verifiedName: 'Bakery',
  });
  await connectChannel();
  await sandbox.delivery({ paused: false });
}
const setQuiet = (ms: number) => database.query('UPDATE chatbots SET quiet_ms = $1', [ms]);
async function connectChannel(): Promise<void> {
  ({ id: channelId } = await api<{ id: string }>('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, meta));
}

/** A contact of their own for each test. */
const stranger = (): string => `1202555${String(randomInt(10 ** 7, 10 ** 8))}`;
const HOURS = 'What are your opening hours?';
const PARKING = 'Is parking free in the yard?';

async function write(waId: string, message: object | string): Promise<string> {
  const content = typeof message === 'string' ? { text: message } : message;
  const { messageId } = await sandbox.control<{ messageId: string }>('POST', '/messages', {
    phoneNumberId,
    waId,
    ...content,
  });
  return messageId;
}
const callsTo = async (waId: string, kind: JournalEntry['kind'] = 'text'): Promise<JournalEntry[]> =>
  (await sandbox.calls({ phoneNumberId }, kind)).filter((call) =>
    kind === 'text' ? call.to === `+${waId}` : call.contactId === waId,
  );
async function untilAnswered(waId: string, count = 1): Promise<JournalEntry[]> {
  await eventually(async () => (await callsTo(waId)).length >= count, {
    what: `${String(count)} replies are accepted`,
    timeoutMs: 15_000,
  });
  return callsTo(waId);
}
/** Somebody else writes and is answered: what had to happen before that has happened. */
async function untilAllIsQuiet(): Promise<void> {
  const waId = stranger();
  await write(waId, PARKING);
  await untilAnswered(waId);
  await eventually(
    async () =>
      (await database.query('SELECT 1 FROM conversations WHERE due_at IS NOT NULL')).length === 0 &&
      (await database.query(`SELECT 1 FROM sends WHERE phase IN ('pending', 'retry', 'sending')`)).length === 0,
    { what: 'nothing waits', timeoutMs: 15_000 },
  );
}

const conversationOf = async (waId: string): Promise<Record<string, unknown> | undefined> =>
  (
    await database.query(
      `SELECT c.* FROM conversations c JOIN contact_identities i ON i.id = c.reply_to_identity_id WHERE i.value = $1`,
      [waId],
    )
  )[0];
const messagesOf = (waId: string) =>
  database.query<{
    type: string;
    text: string;
    number: number | null;
    history_reason: string | null;
    edited_at: unknown;
  }>(
    `SELECT m.* FROM messages m JOIN conversations c ON c.id = m.conversation_id
     JOIN contact_identities i ON i.id = c.reply_to_identity_id WHERE i.value = $1 ORDER BY m.id`,
    [waId],
  );
const untilStored = (waId: string, count: number) =>
  eventually(async () => (await messagesOf(waId)).length === count, {
    what: 'the messages are stored',
    timeoutMs: 10_000,
  });
const sendsOf = (waId: string) =>
  database.query<{ phase: string; delivery: string | null; failure: string | null; attempts: string[] }>(
    `SELECT s.phase, s.delivery, s.failure,
            (SELECT array_agg(a.phase ORDER BY a.number) FROM attempts a WHERE a.send_id = s.id) AS attempts
     FROM sends s JOIN conversations c ON c.id = s.conversation_id
     JOIN contact_identities i ON i.id = c.reply_to_identity_id WHERE i.value = $1 ORDER BY s.position`,
    [waId],
  );
const used = async (): Promise<number> =>
  (await database.query<{ used: number }>('SELECT used FROM usage'))[0]?.used ?? 0;

describe('several messages', () => {
  it('300 ms apart get one reply, which quotes the second and is written as WhatsApp writes', async () => {
    await setQuiet(PATIENT_QUIET_MS);
    const waId = stranger();
    await write(waId, 'Good morning!');
    // The situation itself.
    await delay(300);
    const second = await write(waId, HOURS);
    const [reply] = await untilAnswered(waId);
    await setQuiet(QUIET_MS);
    expect(reply).toMatchObject({ contextMessageId: second });
    expect(reply?.body).toContain('from *7:00* to 18:00');
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toHaveLength(1);
    expect(await conversationOf(waId)).toMatchObject({ inbound_seq: 2, answered_seq: 2 });
  });

  it('one of which comes while the answer is made get one reply to both', async () => {
    const waId = stranger();
    const isMaking = answerer.close();
    await write(waId, HOURS);
    await isMaking();
    const second = await write(waId, PARKING);
    await untilStored(waId, 2);
    answerer.open();
    const [reply] = await untilAnswered(waId);
    expect(reply).toMatchObject({ contextMessageId: second });
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toHaveLength(1);
    const turns = await database.query(
      `SELECT first_number, last_number, outcome FROM turns WHERE conversation_id = $1`,
      [(await conversationOf(waId))?.['id']],
    );
    expect(turns).toEqual([{ first_number: 1, last_number: 2, outcome: 'replied' }]);
  });
});

describe('what is no question', () => {
  it('a reaction alone is stored, and neither answered nor marked as read', async () => {
    const waId = stranger();
    const asked = await write(waId, HOURS);
    await untilAnswered(waId);
    const ticks = (await callsTo(waId, 'typing')).length;
    await write(waId, { type: 'reaction', text: '👍', targetMessageId: asked });
    await untilStored(waId, 2);
    await untilAllIsQuiet();
    expect(await messagesOf(waId)).toMatchObject([{ number: 1 }, { type: 'reaction', number: null }]);
    expect((await callsTo(waId)).length).toBe(1);
    expect([...(await callsTo(waId, 'read')), ...(await callsTo(waId, 'typing'))]).toHaveLength(ticks);
  });

  it('an edit after the answer is shown, and not answered again', async () => {
    const waId = stranger();
    const asked = await write(waId, HOURS);
    await untilAnswered(waId);
    await write(waId, { type: 'edit', text: PARKING, targetMessageId: asked });
    await untilStored(waId, 2);
    await untilAllIsQuiet();
    const [first] = await messagesOf(waId);
    expect(first).toMatchObject({ text: PARKING, number: 1 });
    expect(first?.edited_at).toBeInstanceOf(Date);
    expect(await callsTo(waId)).toHaveLength(1);
    const { id } = (await conversationOf(waId)) as { id: string };
    const shown = await api<{ items: { text: string }[] }>('GET', `/conversations/${id}/messages`);
    expect(shown.items.map(({ text }) => text)).toContain(PARKING);
  });

  it('a message that was edited before the answer is answered as it stands', async () => {
    const waId = stranger();
    const isMaking = answerer.close();
    const asked = await write(waId, HOURS);
    await isMaking();
    await write(waId, { type: 'edit', text: PARKING, targetMessageId: asked });
    await untilStored(waId, 2);
    answerer.open();
    const [reply] = await untilAnswered(waId);
    expect(reply?.body).toContain('free for one hour');
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toHaveLength(1);
  });

  it('a webhook that is six days late is stored and marked as read, and not answered', async () => {
    const waId = stranger();
    await write(waId, { text: HOURS, timestamp: Math.floor(Date.now() / 1000) - 6 * 86_400 });
    await untilStored(waId, 1);
    await untilAllIsQuiet();
    expect(await messagesOf(waId)).toMatchObject([{ number: null, history_reason: 'too_old' }]);
    expect(await callsTo(waId)).toEqual([]);
    await eventually(async () => (await callsTo(waId, 'read')).length === 1, { what: 'it is marked as read' });
    expect(await callsTo(waId, 'typing')).toEqual([]);
  });
});

describe('a contact who is deleted while their turn runs', () => {
  it('is gone: nothing is said, nothing is stored, nothing is debited, and the product goes on', async () => {
    const waId = stranger();
    const isMaking = answerer.close();
    await write(waId, HOURS);
    await isMaking();
    const before = await used();
    const conversation = await conversationOf(waId);
    await database.query('DELETE FROM contacts WHERE id = $1', [conversation?.['contact_id']]);
    answerer.open();
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toEqual([]);
    expect(await conversationOf(waId)).toBeUndefined();
    // The one of untilAllIsQuiet.
    expect(await used()).toBe(before + 1);

    // Who comes back is new.
    await write(waId, PARKING);
    expect(await untilAnswered(waId)).toHaveLength(1);
    expect((await conversationOf(waId))?.['id']).not.toBe(conversation?.['id']);
  });
});

describe('what Meta delivers again', () => {
  it('the same body within 5 minutes, and the same message in another body, change nothing', async () => {
    const waId = stranger();
    const message = {
      from: waId,
      id: `wamid.${randomBytes(12).toString('hex')}`,
      timestamp: String(Math.floor(Date.now() / 1000)),
      type: 'text',
      text: { body: HOURS },
    };
    const bodyWith = (...messages: object[]) => {
      const metadata = { display_phone_number: '12025550199', phone_number_id: phoneNumberId };
      const changes = [{ field: 'messages', value: { messaging_product: 'whatsapp', metadata, messages } }];
      return { object: 'whatsapp_business_account', entry: [{ id: meta.wabaId, changes }] };
    };
    const deliver = async (body: object): Promise<void> => {
      const { delivered } = await sandbox.control<{ delivered: number }>('GET', '/deliveries');
      await sandbox.control('POST', '/webhooks', { phoneNumberId, body });
      await eventually(
        async () => (await sandbox.control<{ delivered: number }>('GET', '/deliveries')).delivered > delivered,
        { what: 'the body is accepted' },
      );
    };
    await deliver(bodyWith(message));
    await deliver(bodyWith(message));
    await untilAnswered(waId);
    await deliver(bodyWith(message));
    const other = { ...message, id: `${message.id}2`, type: 'sticker', sticker: { id: '1' } };
    await deliver(bodyWith(message, other));
    await untilStored(waId, 2);
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toHaveLength(1);
    expect(await messagesOf(waId)).toMatchObject([
      { type: 'text', number: 1 },
      { type: 'sticker', number: null },
    ]);
    // The stream took the body once; ingest saw the message twice, and stored it once.
    const log = await database.query<{ found: number; stored: number; repeated: number }>(
      `SELECT found, stored, repeated FROM webhook_log
       WHERE received_at > now() - interval '1 minute' AND (found = 2 OR repeated > 0) ORDER BY id`,
    );
    expect(log).toEqual([{ found: 2, stored: 1, repeated: 1 }]);
  });
});

describe('calls of Graph', () => {
  it('a status that comes before the answer of its call settles it; there is one call', async () => {
    const waId = stranger();
    await sandbox.faults({ kinds: ['text'], statusBeforeAnswer: true, latencyMs: 400, forNextCalls: 1 });
    await write(waId, HOURS);
    await eventually(async () => (await sendsOf(waId))[0]?.phase === 'accepted', {
      what: 'the send is accepted',
      timeoutMs: 15_000,
    });
    await eventually(async () => (await sendsOf(waId))[0]?.delivery === 'delivered', { what: 'it is delivered' });
    expect(await sendsOf(waId)).toMatchObject([{ phase: 'accepted', attempts: ['accepted'] }]);
    expect(await callsTo(waId)).toHaveLength(1);
  });

  it('a connection that is cut after Graph took the call is settled by its status; there is one call', async () => {
    const waId = stranger();
    const before = await used();
    await sandbox.faults({ kinds: ['text'], cutAfterAccept: 1, forNextCalls: 1 });
    await write(waId, HOURS);
    await eventually(async () => (await sendsOf(waId))[0]?.delivery === 'delivered', {
      what: 'it is delivered',
      timeoutMs: 15_000,
    });
    expect(await sendsOf(waId)).toMatchObject([{ phase: 'accepted', attempts: ['accepted'] }]);
    await untilAllIsQuiet();
    expect(await callsTo(waId)).toHaveLength(1);
    expect(await used()).toBe(before + 2);
  });

  it('a refused token holds the number; a reconnect by the API lets it go, with new patience for what waited', async () => {
    const waId = stranger();
    await sandbox.faults({ kinds: ['text'], expiredToken: true });
    await write(waId, HOURS);
    const channel = () => api<{ sendHoldCode: string | null; state: string }>('GET', `/channels/${channelId}`);
    await eventually(async () => (await channel()).sendHoldCode === 'token_expired', {
      what: 'the number is on hold',
      timeoutMs: 15_000,
    });
    await eventually(async () => (await sendsOf(waId))[0]?.phase === 'retry', { what: 'the send waits' });
    // It has waited for longer than retries go on.
    await database.query(`UPDATE sends SET retrying_since = now() - interval '11 minutes' WHERE phase = 'retry'`);
    await sandbox.faults({ kinds: ['text'], graphErrorStatus: 503, forNextCalls: 1 });
    await connectChannel();
    expect(await channel()).toMatchObject({ state: 'live', sendHoldCode: null });
    expect(await untilAnswered(waId)).toHaveLength(1);
    await eventually(async () => (await sendsOf(waId))[0]?.phase === 'accepted', { what: 'the send is accepted' });
    expect((await sendsOf(waId))[0]?.attempts).toEqual(['refused', 'refused', 'accepted']);
  });

  it('a number with a dead token receives on and says why; after a reconnect what waits goes out while its window is open', async () => {
    const health = () =>
      api<{ state: string; answers: boolean; reasons: { code: string; severity: string }[] }>(
        'GET',
        `/channels/${channelId}/health`,
      );
    const [late, inTime] = [stranger(), stranger()];
    await sandbox.faults({ kinds: ['text'], expiredToken: true });
    await write(late, HOURS);
    await eventually(async () => (await health()).state === 'broken', { what: 'it is broken', timeoutMs: 15_000 });
    expect(await health()).toMatchObject({
      answers: true,
      reasons: [{ code: 'token_expired', severity: 'broken' }, {}],
    });
    await write(inTime, HOURS);
    await eventually(async () => (await sendsOf(inTime))[0]?.phase === 'pending', {
      what: 'the reply to who writes now waits',
      timeoutMs: 15_000,
    });
    await database.query(
      `UPDATE conversations SET window_until = now() - interval '1 second'
       WHERE reply_to_identity_id = (SELECT id FROM contact_identities WHERE value = $1)`,
      [late],
    );
    await sandbox.faults({});
    await connectChannel();
    expect(await untilAnswered(inTime)).toHaveLength(1);
    await eventually(async () => (await sendsOf(late))[0]?.phase === 'failed', { what: 'the other reply is given up' });
    expect([await callsTo(late), (await sendsOf(late))[0]?.failure]).toEqual([[], 'window_closed']);
    expect((await health()).state).toBe('live');
  });

  it('a health check finds the number live, by a signed delivery of its own that leaves a verdict only', async () => {
    const checked = await api<{
      state: string;
      reasons: { code: string }[];
      delivery: object;
      checks: { status: string }[];
    }>('POST', `/channels/${channelId}/health-checks`);
    expect(checked).toMatchObject({
      state: 'live',
      // Nobody could be told of an alarm here.
      reasons: [{ code: 'mail_not_configured' }],
      delivery: { hop: null, code: null, httpStatus: 200 },
    });
    expect(new Set(checked.checks.map(({ status }) => status))).toEqual(new Set(['ok']));
    const [entry] = (await api<{ items: object[] }>('GET', '/webhook-log?limit=1')).items;
    expect(entry).toMatchObject({ verdict: 'self_test', found: 0, stored: 0 });
  });
});

describe('two numbers of one Meta app', () => {
  it('are both live, each answering on its own, and an app with a foreign callback is left as it was', async () => {
    const second = { ...meta, phoneNumberId: '1004' };
    const { phoneNumberId: _, ...settings } = meta;
    const number = { ...settings, displayPhoneNumber: '+1 202 555 0198', verifiedName: 'Bakery' };
    await sandbox.control('PUT', `/numbers/${second.phoneNumberId}`, number);
    const foreign = {
      ...meta,
      appId: '2001',
      wabaId: '2002',
      phoneNumberId: '2003',
      accessToken: `${meta.accessToken}2`,
    };
    const { phoneNumberId: foreignId, ...ofForeign } = foreign;
    await sandbox.control('PUT', `/numbers/${foreignId}`, { ...number, ...ofForeign });
    const theirs = { callbackUrl: 'https://other.example.com/hook', fields: ['messages'], active: true };
    await sandbox.control('PUT', '/apps/2001', { subscription: { ...theirs, verifyToken: 'theirs' } });

    const path = `/chatbots/${chatbotId}/channels/whatsapp`;
    const { id } = await api<{ id: string }>('PUT', path, second);
    await expect(api('PUT', path, foreign)).rejects.toThrow(/409.*callback_in_use/);
    expect(await sandbox.control('GET', '/apps/2001')).toMatchObject({ subscription: theirs });

    const waId = stranger();
    for (const to of [meta, second]) {
      await sandbox.control('POST', '/messages', { phoneNumberId: to.phoneNumberId, waId, text: HOURS });
    }
    for (const to of [meta, second]) {
      await eventually(async () => (await sandbox.calls(to)).some((call) => call.to === `+${waId}`), {
        what: `${to.phoneNumberId} has answered`,
        timeoutMs: 15_000,
      });
    }
    for (const one of [channelId, id]) {
      await eventually(async () => (await api<{ state: string }>('GET', `/channels/${one}`)).state === 'live', {
        what: 'the channel is live',
        timeoutMs: 15_000,
      });
    }
  });
});

it('every number stands in one turn, every turn has at most one reply, and debits are what was accepted', async () => {
  await untilAllIsQuiet();
  const [odd] = await database.query<{ gaps: number; unanswered: number; debits: number; accepted: number }>(
    `SELECT
       (SELECT count(*)::int FROM (SELECT first_number - lag(last_number, 1, 0) OVER (PARTITION BY conversation_id ORDER BY first_number) AS step
                                   FROM turns) t WHERE step <> 1) AS gaps,
       (SELECT count(*)::int FROM conversations WHERE answered_seq <> inbound_seq) AS unanswered,
       (SELECT coalesce(sum(sign), 0)::int FROM usage_entries WHERE turn_id IN (SELECT id FROM turns)) AS debits,
       (SELECT count(*)::int FROM replies r WHERE kind IN ('answer', 'abstain')
          AND EXISTS (SELECT 1 FROM sends s WHERE s.reply_id = r.id AND s.phase = 'accepted')) AS accepted`,
  );
  expect(odd).toMatchObject({ gaps: 0, unanswered: 0 });
  expect(odd?.debits).toBe(odd?.accepted);
  expect(await product.bus.listDeadLetters({ limit: 10 })).toEqual([]);
});
