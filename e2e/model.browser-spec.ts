import { randomBytes } from 'node:crypto';
import { migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  startStubOpenAi,
  type StubBehaviour,
  type StubOpenAi,
  type StubRequestBody,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { call } from './chaos/http.ts';
import { openPhonePage, type PhonePage } from './phone/phone-page.ts';
import { callApi, startStandalone, type DemoFile, type StandaloneProcess } from './running-standalone.ts';

/** The shortest there is, so that a model that hangs costs the test a second. */
const MODEL_TIMEOUT_MS = '1000';
const fallback = 'something is not working on our side';
const abstained = 'Sorry, I could not find that in the information I have.';
/** A turn gives up 25 s after its claim. */
const FALLBACK_TEST_MS = 60_000;

let testDatabase: TestDatabase;
let database: pg.Client;
let stub: StubOpenAi;
let standalone: StandaloneProcess;
let demo: DemoFile;
let phone: PhonePage;
/** What only the knowledge base of another workspace says. */
const foreign = `foreign-${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = new pg.Client({ connectionString: testDatabase.url });
  await database.connect();
  stub = await startStubOpenAi();
  const started = await startStandalone({
    env: {
      DATABASE_URL: testDatabase.url,
      OPENAI_BASE_URL: stub.url,
      CHAT_MODEL: 'stub-chat',
      CHAT_MODEL_INPUT_PRICE: '2',
      CHAT_MODEL_OUTPUT_PRICE: '8',
      EMBEDDING_MODEL: 'stub-embedding',
      MODEL_TIMEOUT_MS,
    },
  });
  standalone = started;
  demo = started.demo;
  phone = await openPhonePage(demo);
  // These tests write faster than Meta lets one person be answered.
  await call('PUT', `${demo.sandboxUrl}/sandbox/limits`, { body: { pairRate: false } });

  const other = await callApi<{ apiKey: string }>({ ...demo, apiKey: demo.operatorKey }, 'POST', '/workspaces', {
    name: 'Another shop',
    plan: 'scale',
  });
  const otherShop = { ...demo, apiKey: other.apiKey };
  const { id: chatbotId } = await callApi<{ id: string }>(otherShop, 'POST', '/chatbots', { name: 'Another shop' });
  const { id } = await callApi<{ id: string }>(otherShop, 'POST', `/chatbots/${chatbotId}/sources`, {
    type: 'text',
    title: `Opening hours ${foreign}`,
    text: `We are open on Sunday, and a loaf of sourdough costs ${foreign}.`,
  });
  await eventually(
    async () => (await callApi<{ state: string }>(otherShop, 'GET', `/sources/${id}`)).state === 'ready',
    { what: 'the other shop has its source', timeoutMs: 20_000 },
  );
}, 120_000);

afterAll(async () => {
  await phone?.close();
  await standalone?.stop();
  await stub?.close();
  await database?.end();
  await testDatabase?.drop();
}, 60_000);
afterEach(() => stub.clear());

const contentOf = (chat: StubRequestBody): string => (chat.messages ?? []).map(({ content }) => content).join('\n');
/** The requests that want an answer; the others rewrite a follow-up. */
const answering = () => stub.chats().filter((chat) => contentOf(chat).includes('<question-'));
/** The question that a request is about: the block that only it has. */
const asked = (chat: StubRequestBody): string =>
  /<question-[0-9a-f]+>\n([\s\S]*?)\n<\/question-/.exec(chat.messages?.at(-1)?.content ?? '')?.[1] ?? '';
const count = async (sql: string): Promise<number> =>
  Number(((await database.query<{ n: string }>(sql)).rows[0] ?? { n: NaN }).n);
const books = async () => ({
  turns: await count('SELECT count(*) AS n FROM turns'),
  replies: await count('SELECT count(*) AS n FROM replies'),
  debits: await count('SELECT coalesce(sum(sign), 0) AS n FROM usage_entries'),
});
/** Waits until nothing is on its way any more. */
const untilQuiet = () =>
  eventually(
    async () =>
      (await count('SELECT count(*) AS n FROM conversations WHERE due_at IS NOT NULL')) === 0 &&
      (await count(`SELECT count(*) AS n FROM sends WHERE phase NOT IN ('accepted', 'failed', 'superseded')`)) === 0,
    { what: 'nothing is on its way', timeoutMs: 30_000 },
  );

describe('with a chat model and an embedding model', () => {
  it('answers a question that needs two passages, and a follow-up', async () => {
    await phone.open('customer-a');
    const both = await phone.ask('How much is a whole loaf of the house sourdough, and may dogs sit on the terrace?');
    expect(both).toContain('6.50 euros');
    expect(both).toContain('Dogs are welcome there');
    expect(both).not.toMatch(/\[\d\]/);
    expect(await phone.ask('And half a loaf?')).toContain('3.40');
    await phone.picture('model-two-passages');

    const [first, second] = answering();
    expect(first?.model).toBe('stub-chat');
    expect(contentOf(first ?? {})).toContain('Speak only about the bakery.');
    expect(contentOf(first ?? {})).toContain('A whole loaf costs 6.50 euros');
    expect(first?.messages).toHaveLength(2);
    // The follow-up has the history and was searched for as it was rewritten.
    expect(second?.messages?.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(contentOf(second ?? {})).toContain('may dogs sit on the terrace?');
    expect(stub.chats()).toHaveLength(3);
    const { rows } = await database.query<Record<string, unknown>>(
      `SELECT question, rewritten_question, search_mode, model, prompt_version, input_tokens, output_tokens, cost_micros::int
       FROM receipts ORDER BY id`,
    );
    expect(rows).toMatchObject([
      { rewritten_question: null, search_mode: 'hybrid', model: 'stub-chat' },
      { question: 'And half a loaf?', search_mode: 'hybrid', prompt_version: expect.any(String) },
    ]);
    expect(rows[1]?.['rewritten_question']).toContain('sourdough');
    for (const row of rows)
      expect(row['cost_micros']).toBe(Number(row['input_tokens']) * 2 + Number(row['output_tokens']) * 8);
  }, 60_000);

  it('tells the model no name, no number and nothing of another workspace, and shows the receipt by API', async () => {
    await phone.open('customer-a');
    expect(await phone.ask('When are you open on Sunday, and what does sourdough cost?')).toContain('8:00 to 14:00');
    const { items: contacts } = (await (await fetch(`${demo.sandboxUrl}/sandbox/contacts`)).json()) as {
      items: { waId: string | null; name: string; bsuid?: string | null }[];
    };
    const sentOut = JSON.stringify(stub.requests);
    expect(contacts.length).toBeGreaterThan(3);
    for (const { waId, name, bsuid } of contacts) {
      for (const personal of [waId, name, bsuid])
        if (personal) expect([personal, sentOut.includes(personal)]).toEqual([personal, false]);
    }
    for (const own of [demo.phoneNumberId, demo.apiKey, demo.operatorKey]) expect(sentOut).not.toContain(own);
    expect(sentOut).not.toContain(foreign);

    const conversations = await callApi<{ items: { id: string }[] }>(demo, 'GET', '/conversations');
    const messages = await callApi<{ items: { id: string; kind: string | null; text: string }[] }>(
      demo,
      'GET',
      `/conversations/${conversations.items[0]?.id ?? ''}/messages`,
    );
    const reply = messages.items.findLast(({ kind, text }) => kind === 'answer' && text.includes('8:00 to 14:00'));
    const receipt = await callApi<{ passages: { cited: boolean; vectorRank: number | null; sha256: string }[] }>(
      demo,
      'GET',
      `/messages/${reply?.id ?? ''}/receipt`,
    );
    expect(receipt).toMatchObject({ searchMode: 'hybrid', model: 'stub-chat' });
    expect(receipt.passages.filter(({ cited }) => cited)).not.toEqual([]);
    expect(receipt.passages.some(({ vectorRank }) => vectorRank !== null)).toBe(true);
  }, 60_000);

  it('says that it does not know, and what is no question gets a short courtesy', async () => {
    await phone.open('customer-b');
    expect(await phone.ask('Do you repair violins?')).toContain(abstained);
    expect(await phone.ask('hello')).toContain('How can I help you?');
  }, 60_000);

  it('the tenth turn back is told to the model, the eleventh is not', async () => {
    await phone.open('customer-c');
    stub.behave(({ path }) => (path === '/chat/completions' ? { text: 'They are [1].' } : undefined));
    for (let turn = 1; turn <= 12; turn += 1) await phone.ask(`Are the opening hours of day${String(turn)}x the same?`);
    const last = answering().find((chat) => asked(chat).includes('day12x'));
    const told = contentOf(last ?? {});
    expect(told).toContain('day11x');
    expect(told).toContain('day2x');
    expect(told).not.toContain('day1x');
  }, 120_000);

  it('two who write at the same time never mix', async () => {
    stub.behave(() => ({ delayMs: 700 }));
    const [left, right] = ['customer-d', 'customer-e'] as const;
    const write = async (contact: string, text: string) => {
      await phone.open(contact);
      await phone.write(text);
    };
    const rounds = ['one', 'two', 'three'];
    for (const round of rounds) {
      await write(left, `left${round}: when are you open?`);
      await write(right, `right${round}: what does delivery cost?`);
      for (const contact of [left, right]) {
        await phone.open(contact);
        const [side] = contact === left ? ['left'] : ['right'];
        const { id } = await phone.written(`${String(side)}${round}`);
        await phone.replyTo(id).waitFor({ timeout: 30_000 });
      }
    }
    const requests = answering();
    expect(requests.length).toBeGreaterThanOrEqual(2 * rounds.length);
    for (const chat of requests) {
      const isLeft = asked(chat).startsWith('left');
      expect(contentOf(chat)).not.toContain(isLeft ? 'right' + 'one' : 'left' + 'one');
    }
    await phone.open(left);
    expect((await phone.chat()).map(({ text }) => text).join(' ')).not.toContain('right');
  }, 120_000);
});

describe('a model that fails', () => {
  const answer = '8:00 to 14:00';
  let asked = 0;
  /** Asks the same in other words each time, so that no reply is taken for another's. */
  const askAgain = () => phone.ask(`When are you open on Sunday (${String((asked += 1))})?`);

  it.each<[string, StubBehaviour]>([
    ['hangs', { fault: 'hang' }],
    ['is busy', { status: 429, headers: { 'retry-after': '1' } }],
    ['has an error', { status: 500 }],
    ['is behind a broken proxy', { status: 502, body: '<html>Bad gateway</html>' }],
    ['says nothing', { text: '' }],
    ['sends nothing', { fault: 'empty_body' }],
    ['answers rubbish', { text: '\uFFFD\uFFFD\uFFFD\u0003\uFFFD' }],
    ['answers no JSON', { fault: 'not_json' }],
    ['has no choice', { fault: 'no_choices' }],
    ['is cut off in its answer', { fault: 'cut_answer' }],
    ['cuts the connection', { fault: 'cut_connection' }],
  ])(
    'and %s is asked again: one reply, one debit',
    async (_, behaviour) => {
      await phone.open('customer-b');
      const before = await books();
      let failed = 0;
      stub.behave(({ path, body }) => {
        const wants = path === '/chat/completions' && contentOf(body).includes('<question-') && failed === 0;
        if (wants) failed += 1;
        return wants ? behaviour : undefined;
      });
      expect(await askAgain()).toContain(answer);
      await untilQuiet();
      expect(failed).toBe(1);
      expect(await books()).toEqual({
        turns: before.turns + 1,
        replies: before.replies + 1,
        debits: before.debits + 1,
      });
    },
    60_000,
  );

  it.each<[string, StubBehaviour]>([
    ['hangs on and on', { fault: 'hang' }],
    ['refuses for good', { status: 401 }],
    ['is busy for longer than a customer waits', { status: 429, headers: { 'retry-after': '120' } }],
  ])(
    'and %s: the honest fallback, once, and it costs nothing',
    async (_, behaviour) => {
      await phone.open('customer-b');
      const before = await books();
      stub.behave(({ path }) => (path === '/chat/completions' ? behaviour : undefined));
      expect(await askAgain()).toContain(fallback);
      await untilQuiet();
      expect(await books()).toEqual({ ...before, turns: before.turns + 1, replies: before.replies + 1 });
    },
    FALLBACK_TEST_MS,
  );

  it('an embedding model that fails costs the vectors and not the answer', async () => {
    await phone.open('customer-b');
    stub.behave(({ path }) => (path === '/embeddings' ? { status: 500 } : undefined));
    expect(await askAgain()).toContain(answer);
    const { rows } = await database.query<{ search_mode: string }>(
      'SELECT search_mode FROM receipts ORDER BY id DESC LIMIT 1',
    );
    expect(rows).toEqual([{ search_mode: 'lexical' }]);
  }, 60_000);

  it('did all this without an error in the page', () => {
    expect(phone.troubles).toEqual([]);
  });
});
