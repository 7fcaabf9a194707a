import { Transient, Unexpected } from '@answerline/errors';
import { KnowledgeIndex, LanceKnowledgeIndex, type KnowledgeHits } from '@answerline/knowledge-index';
import {
  Answerer,
  ExtractiveAnswerer,
  type Answer,
  type AnswerRequest,
  type EarlierMessage,
  type FollowUp,
  type RewrittenQuestion,
} from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { changeOwnership, Database, migrateDatabase, newId } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  seedChannel,
  seedConversation,
  seedMessages,
  seedReply,
  tempDir,
  type SeededChannel,
  type SeededConversation,
  type SeedOptions,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { FindPassages } from '../find-passages/find-passages.ts';
import { MakeAnswer } from '../make-answer/make-answer.ts';
import { SyncSource } from '../sync-source/sync-source.ts';
import { AnswerTurn, type TurnEnd } from './answer-turn.ts';
import { commitTurn } from './commit-turn.ts';
import { textCatalogue } from './texts.ts';

let testDatabase: TestDatabase;
let database: Database;
let lance: LanceKnowledgeIndex;
let channel: SeededChannel;
let conversation: SeededConversation;
const logger = createLogger({ app: 'spec', level: 'silent' });

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'answer-spec' });
  lance = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
});
afterAll(async () => {
  await Promise.all([database.close(), lance.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  await database.query('DELETE FROM contacts');
  await begin();
});

async function begin(options: SeedOptions = {}): Promise<void> {
  channel = await seedChannel(database, options);
  conversation = await seedConversation(database, channel);
}

const cost = { model: 'scripted', promptVersion: 'v1', usage: { inputTokens: 3, outputTokens: 5 }, costMicros: 7 };
/** A model of the outside, as a test wants it. */
class ScriptedAnswerer extends Answerer {
  readonly usesModel = true;
  readonly questions: string[] = [];
  readonly histories: (readonly EarlierMessage[])[] = [];
  readonly #script: (request: AnswerRequest, call: number) => Promise<string> | string;

  constructor(script: (request: AnswerRequest, call: number) => Promise<string> | string) {
    super();
    this.#script = script;
  }

  override async rewrite({ question, history }: FollowUp): Promise<RewrittenQuestion> {
    const text = `${history.at(-1)?.text ?? ''} ${question}`;
    return { text, model: 'scripted', usage: { inputTokens: 2, outputTokens: 1 }, costMicros: 3 };
  }

  override async answer(request: AnswerRequest): Promise<Answer> {
    this.questions.push(request.question);
    this.histories.push(request.history);
    const text = await this.#script(request, this.questions.length);
    return { kind: 'answer', text, citedPassageIds: [], ...cost };
  }
}
const says = (text: string): ScriptedAnswerer => new ScriptedAnswerer(() => text);

/** An index whose searches go as a test wants; it can do nothing else. */
class ScriptedIndex extends KnowledgeIndex {
  readonly engine = 'lancedb';
  readonly mapping = 1;
  searches = 0;
  readonly #script: (search: number) => Promise<KnowledgeHits>;

  constructor(script: (search: number) => Promise<KnowledgeHits>) {
    super();
    this.#script = script;
  }

  override search(): Promise<KnowledgeHits> {
    return this.#script((this.searches += 1));
  }

  readonly #unused = async (): Promise<never> => {
    throw new Error('A turn only searches.');
  };
  override ensure = this.#unused;
  override addPassages = this.#unused;
  override rebuild = this.#unused;
  override deleteBySource = this.#unused;
  override deletePassages = this.#unused;
  override count = this.#unused;
  override drop = this.#unused;
  override listVersions = this.#unused;
  override health = this.#unused;
  override close = this.#unused;
}

interface Parts {
  readonly answerer?: Answerer;
  readonly index?: KnowledgeIndex;
  readonly limits?: { answerWithinMs?: number; renewEveryMs?: number };
  readonly retryAfterMs?: number;
}
const worker = ({ answerer = new ExtractiveAnswerer(), index = lance, limits, retryAfterMs = 10 }: Parts = {}) => {
  const makeAnswer = new MakeAnswer({
    findPassages: new FindPassages({ database, index, embedder: null, logger }),
    answerer,
    logger,
    retryAfterMs,
  });
  return new AnswerTurn({ database, makeAnswer, logger, ...limits });
};

/** Claims what is due and answers it. */
async function answer(parts: Parts = {}, signal = new AbortController().signal): Promise<TurnEnd[]> {
  const answerTurn = worker(parts);
  const turns = await answerTurn.claim(50);
  return Promise.all(turns.map((turn) => answerTurn.execute(turn, signal)));
}

/** Starts to answer, does something while the model thinks, and lets it end. */
async function answerWhile(during: () => Promise<unknown>, text = 'An answer.', parts: Parts = {}): Promise<TurnEnd[]> {
  const thinking = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const answerer = new ScriptedAnswerer(async (_, call) => {
    if (call === 1) {
      thinking.resolve();
      await done.promise;
    }
    return text;
  });
  const ends = answer({ answerer, ...parts });
  await thinking.promise;
  await during();
  done.resolve();
  return ends;
}

const ask = (...messages: Parameters<typeof seedMessages>[2][number][]) =>
  seedMessages(database, conversation, messages);
const row = async (where = conversation) =>
  (await database.query('SELECT * FROM conversations WHERE id = $1', [where.conversationId]))[0];
const turns = async (where = conversation): Promise<unknown[][]> =>
  (
    await database.query<{ first_number: number; last_number: number; outcome: string }>(
      'SELECT first_number, last_number, outcome FROM turns WHERE conversation_id = $1 ORDER BY first_number',
      [where.conversationId],
    )
  ).map((turn) => [turn.first_number, turn.last_number, turn.outcome]);
const outcome = async (where = conversation): Promise<unknown> => (await turns(where)).at(-1)?.[2];
interface ReplyRow extends Record<string, unknown> {
  kind: string;
  text: string;
  quote_message_id: string | null;
}
const replies = (where = conversation) =>
  database.query<ReplyRow>('SELECT * FROM replies WHERE conversation_id = $1 ORDER BY id', [where.conversationId]);
const kinds = async (where = conversation): Promise<string[]> => (await replies(where)).map(({ kind }) => kind);
const sends = (where = conversation) =>
  database.query<{ body: string; phase: string; author: string; epoch: number; quote_message_id: string | null }>(
    'SELECT * FROM sends WHERE conversation_id = $1 ORDER BY position',
    [where.conversationId],
  );
const used = async (): Promise<number> =>
  (await database.query<{ used: number }>('SELECT used FROM usage WHERE workspace_id = $1', [channel.workspaceId]))[0]
    ?.used ?? 0;
const change = (sql: string) => database.query(sql, [channel.workspaceId]);

describe('an answer', () => {
  beforeEach(async () => {
    await database.query(
      `INSERT INTO sources (id, workspace_id, chatbot_id, type, title, content, due_at)
       VALUES ($1, $2, $3, 'markdown', 'Visit us', $4, now())`,
      [
        newId(),
        channel.workspaceId,
        channel.chatbotId,
        '## Opening hours\n\nWe are open Tuesday to Friday from **7:00** to 18:00.\n\n## Parking\n\nYou can park in the yard for one hour.',
      ],
    );
    const syncSource = new SyncSource({ database, index: lance, embedder: null, logger });
    for (const source of await syncSource.claim(5)) await syncSource.execute(source, new AbortController().signal);
  });

  it('comes from the knowledge base, with its receipt, one debit, and a send that is due', async () => {
    const [message] = await ask('What are your opening hours on Tuesday?');
    expect(await answer()).toEqual(['committed']);
    expect(await turns()).toEqual([[1, 1, 'replied']]);
    const [reply] = await replies();
    expect(reply).toMatchObject({ kind: 'answer', author: 'ai', quote_message_id: message?.providerMessageId });
    expect(reply?.text).toContain('**7:00**');
    // WhatsApp's own marks, not Markdown's.
    expect((await sends()).map(({ body }) => body).join('')).toContain('from *7:00* to');
    expect(await row()).toMatchObject({
      answered_seq: 1,
      inbound_seq: 1,
      due_at: null,
      lease_until: null,
      first_unanswered_at: null,
      claims: 0,
      send_seq: 1,
    });
    const [receipt] = await database.query('SELECT * FROM receipts WHERE workspace_id = $1', [channel.workspaceId]);
    expect(receipt).toMatchObject({
      reply_id: reply?.['id'],
      question: 'What are your opening hours on Tuesday?',
      model: 'extractive',
      input_tokens: 0,
    });
    const [best] = receipt?.['passages'] as { sha256: string; lexicalRank: number; cited: boolean }[];
    expect(best).toMatchObject({ lexicalRank: 1, cited: true });
    const [passage] = await database.query('SELECT 1 FROM passages WHERE workspace_id = $1 AND sha256 = $2', [
      channel.workspaceId,
      best?.sha256,
    ]);
    expect(passage).toBeDefined();
    expect(receipt?.['timings']).toMatchObject({ searchMs: expect.any(Number), answerMs: expect.any(Number) });
    expect(await used()).toBe(1);
  });

  it('that is not in the knowledge base is not made up, and counts', async () => {
    await ask('Do you repair bicycles made of titanium?');
    await answer();
    expect([await outcome(), await kinds(), await used()]).toEqual(['abstained', ['abstain'], 1]);
    expect((await replies())[0]?.text).toBe(textCatalogue.en.abstain);
  });

  it('is in the language of the question where it is a fixed text', async () => {
    await ask('¿Reparan ustedes también bicicletas eléctricas de otras marcas?');
    await answer();
    expect((await replies())[0]?.text).toBe(textCatalogue.es.abstain);
  });
});

describe('a turn', () => {
  it('is all that waits, in the order of Meta\u2019s time, answered once, quoting the last', async () => {
    const answerer = says('Yes.');
    const [, last] = await ask(
      { text: 'second', sentAgoMs: 2_000 },
      { text: 'third', sentAgoMs: 1_000, place: 1 },
      { text: 'first', sentAgoMs: 3_000 },
    );
    expect(await answer({ answerer })).toEqual(['committed']);
    expect(answerer.questions).toEqual(['first\nsecond\nthird']);
    expect(await turns()).toEqual([[1, 3, 'replied']]);
    expect((await replies()).map((reply) => reply.quote_message_id)).toEqual([last?.providerMessageId]);
  });

  it('quotes nothing when the last message came without an id', async () => {
    await ask({ text: 'hello', id: 'ab'.repeat(32) });
    await answer({ answerer: says('Yes.') });
    expect((await replies())[0]?.quote_message_id).toBeNull();
  });

  it('that is answered with a long text becomes several sends in order, and costs one', async () => {
    const paragraphs = Array.from({ length: 30 }, (_, n) => `Paragraph ${String(n)}. ${'word '.repeat(70).trim()}.`);
    await ask('Tell me everything.');
    await answer({ answerer: says(paragraphs.join('\n\n')) });
    const parts = await sends();
    expect(parts.length).toBeGreaterThan(2);
    for (const { body, phase } of parts) {
      expect(body.length).toBeLessThanOrEqual(4096);
      expect(phase).toBe('pending');
    }
    expect(parts.map(({ quote_message_id: quote }) => quote !== null)).toEqual(parts.map((_, place) => place === 0));
    expect(parts.flatMap(({ body }) => body.match(/Paragraph \d+/g) ?? [])).toEqual(
      paragraphs.map((_, n) => `Paragraph ${String(n)}`),
    );
    expect([await used(), (await row())?.['send_seq']]).toEqual([1, parts.length]);

    await ask('And then?');
    await answer({ answerer: says('That is all.') });
    expect((await sends()).at(-1)?.body).toBe('That is all.');
  });

  it('of media only gets one notice an hour', async () => {
    for (const expected of [['media_notice'], ['media_notice']]) {
      await ask({ type: 'image' });
      await answer();
      expect([await outcome(), await kinds()]).toEqual(['media_notice', expected]);
    }
    await change(`UPDATE contact_notices SET told_at = told_at - interval '61 minutes' WHERE workspace_id = $1`);
    await ask({ type: 'audio' });
    await answer();
    expect([await kinds(), await used()]).toEqual([['media_notice', 'media_notice'], 0]);
  });

  it('with a picture and a question is answered', async () => {
    await ask({ type: 'image' }, 'Do you have this in blue?');
    await answer({ answerer: says('Yes.') });
    expect(await outcome()).toBe('replied');
  });

  it('whose messages were all revoked has nothing to answer; what stands is answered', async () => {
    await ask({ text: 'oops', isRevoked: true });
    await answer();
    expect([await turns(), await kinds()]).toEqual([[[1, 1, 'nothing_to_answer']], []]);
    const answerer = says('Yes.');
    const [stands] = await ask('stands', { text: 'oops', isRevoked: true });
    await answer({ answerer });
    expect(answerer.questions).toEqual(['stands']);
    expect((await replies())[0]?.quote_message_id).toBe(stands?.providerMessageId);
  });

  it.each([
    ['human_held', `UPDATE conversations SET owner = 'human' WHERE workspace_id = $1`],
    ['opted_out', 'UPDATE conversations SET opted_out_at = now() WHERE workspace_id = $1'],
    ['window_closed', 'UPDATE conversations SET window_until = now() WHERE workspace_id = $1'],
    ['channel_off', 'UPDATE channels SET answers = false WHERE workspace_id = $1'],
    ['ai_off', 'UPDATE chatbots SET ai_enabled = false WHERE workspace_id = $1'],
  ])('that ends as %s is silent, whatever it asks', async (expected, sql) => {
    await ask('hello');
    await change(sql);
    const answerer = says('never');
    expect(await answer({ answerer })).toEqual(['committed']);
    expect([await outcome(), await kinds(), answerer.questions, await used()]).toEqual([expected, [], [], 0]);
    expect(await row()).toMatchObject({ answered_seq: 1, due_at: null });
  });
});

describe('a handoff phrase', () => {
  it('mutes the AI for a day, throws away what it was about to say, and the confirmation is the last word', async () => {
    const before = await seedReply(database, conversation, { parts: ['not sent yet'] });
    await ask('Can I talk to a human please?');
    await answer();
    expect(await turns()).toEqual([
      [1, 1, 'replied'],
      [2, 2, 'handed_off'],
    ]);
    const after = await row();
    expect(after).toMatchObject({ owner: 'human', epoch: 2, answered_seq: 2, due_at: null });
    const mutedForMs = Number(after?.['muted_until']) - Date.now();
    expect(Math.abs(mutedForMs - 24 * 3_600_000)).toBeLessThan(60_000);
    expect((await sends()).map(({ phase, author, epoch }) => [phase, author, epoch])).toEqual([
      ['superseded', 'ai', 1],
      ['pending', 'system', 2],
    ]);
    expect(await kinds()).toEqual(['answer', 'handoff_confirmation']);
    // The superseded answer is given back, the confirmation costs nothing.
    const signs = await database.query('SELECT sign FROM usage_entries WHERE turn_id = $1 ORDER BY id', [
      before.turnId,
    ]);
    expect([signs, await used()]).toEqual([[{ sign: 1 }, { sign: -1 }], 0]);
    const [event] = await database.query<{ payload: { data: object } }>(
      `SELECT payload FROM outbox WHERE workspace_id = $1 AND payload ->> 'type' = 'handoff_requested'`,
      [channel.workspaceId],
    );
    expect(event?.payload.data).toEqual({
      conversationId: conversation.conversationId,
      channelId: channel.channelId,
      contactId: conversation.contactId,
      mutedUntil: (after?.['muted_until'] as Date).toISOString(),
    });
  });

  it('on a plan without handoff gets a notice, and the AI goes on', async () => {
    await begin({ plan: 'growth' });
    await ask('talk to a human');
    await answer();
    expect([await outcome(), await kinds(), await used()]).toEqual(['plan_notice', ['plan_notice'], 0]);
    expect(await row()).toMatchObject({ owner: 'ai', epoch: 1 });
  });
});

describe('the quota', () => {
  const use = (count: number) =>
    database.query(
      `INSERT INTO usage (workspace_id, month, used, "limit")
       VALUES ($1, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), $2, 20000)`,
      [channel.workspaceId, count],
    );

  it('of two turns that race for the last reply one is answered, and the other is told kindly', async () => {
    await use(19_999);
    const other = await seedConversation(database, channel);
    await ask('one');
    await seedMessages(database, other, ['two']);
    const waiting: (() => void)[] = [];
    // Both have read that one is left before either commits.
    const answerer = new ScriptedAnswerer(
      () => new Promise((resolve) => waiting.push(() => resolve('Yes.')) === 2 && waiting.forEach((go) => go())),
    );
    expect(await answer({ answerer })).toEqual(['committed', 'committed']);
    expect([await outcome(), await outcome(other)].sort()).toEqual(['over_quota', 'replied']);
    expect([...(await kinds()), ...(await kinds(other))].sort()).toEqual(['answer', 'over_quota']);
    const entries = await database.query('SELECT sign FROM usage_entries WHERE workspace_id = $1', [
      channel.workspaceId,
    ]);
    expect([await used(), entries]).toEqual([20_000, [{ sign: 1 }]]);
  });

  it('that was used up while the answer was made: what is said instead takes as many sends as it needs', async () => {
    const long = JSON.stringify({ en: { over_quota: 'Nobody can answer you here now. '.repeat(200) } });
    await database.query('UPDATE chatbots SET texts = $2 WHERE workspace_id = $1', [channel.workspaceId, long]);
    await use(19_999);
    await ask('What are your opening hours?');
    await answerWhile(() => change('UPDATE usage SET used = 20000 WHERE workspace_id = $1'));
    expect([await kinds(), await used()]).toEqual([['over_quota'], 20_000]);
    const { length } = await sends();
    expect([length, (await row())?.['send_seq']]).toEqual([2, 2]);
  });

  it('that is used up is told once a local day', async () => {
    await change(`UPDATE workspaces SET time_zone = 'Pacific/Kiritimati' WHERE id = $1`);
    await database.query(
      `INSERT INTO usage (workspace_id, month, used, "limit")
       VALUES ($1, to_char(now() AT TIME ZONE 'Pacific/Kiritimati', 'YYYY-MM'), 20000, 20000)`,
      [channel.workspaceId],
    );
    const answerer = says('never');
    for (let n = 0; n < 2; n += 1) {
      await ask('hello');
      await answer({ answerer });
      expect([await outcome(), await kinds()]).toEqual(['over_quota', ['over_quota']]);
    }
    await change(
      `UPDATE contact_notices SET told_at = date_trunc('day', now() AT TIME ZONE 'Pacific/Kiritimati')
                                              AT TIME ZONE 'Pacific/Kiritimati' - interval '1 s' WHERE workspace_id = $1`,
    );
    await ask('a new day');
    await answer({ answerer });
    expect([await kinds(), answerer.questions]).toEqual([['over_quota', 'over_quota'], []]);
  });

  it('has no limit on the biggest plan', async () => {
    await begin({ plan: 'enterprise' });
    await ask('hello');
    await answer({ answerer: says('Yes.') });
    const [usage] = await database.query('SELECT used, "limit" FROM usage WHERE workspace_id = $1', [
      channel.workspaceId,
    ]);
    expect(usage).toEqual({ used: 1, limit: null });
  });
});

describe('what happens while the answer is made', () => {
  it('a further message: read again, one reply to both', async () => {
    await ask('first');
    expect(await answerWhile(() => ask('second'))).toEqual(['committed']);
    expect([await turns(), await kinds(), await used()]).toEqual([[[1, 2, 'replied']], ['answer'], 1]);
    expect(
      (await database.query('SELECT question FROM receipts WHERE workspace_id = $1', [channel.workspaceId]))[0],
    ).toEqual({
      question: 'first\nsecond',
    });
  });

  it('a further message, when the first is 20 s old: it is answered without the new one, which is the next turn', async () => {
    await ask({ text: 'first', receivedAgoMs: 20_500 });
    expect(await answerWhile(() => ask({ text: 'second', receivedAgoMs: 400 }))).toEqual(['committed']);
    expect(await turns()).toEqual([[1, 1, 'replied']]);
    const [message] = await database.query('SELECT received_at FROM messages WHERE text = $1 AND channel_id = $2', [
      'second',
      channel.channelId,
    ]);
    const after = await row();
    expect(after).toMatchObject({ answered_seq: 1, inbound_seq: 2, lease_until: null });
    expect(after?.['first_unanswered_at']).toEqual(message?.['received_at']);
    expect(after?.['due_at']).toBeInstanceOf(Date);
    await answer({ answerer: says('Yes.') });
    expect(await turns()).toEqual([
      [1, 1, 'replied'],
      [2, 2, 'replied'],
    ]);
  });

  it.each([
    ['the AI is switched off', 'UPDATE chatbots SET ai_enabled = false WHERE workspace_id = $1', 'ai_off'],
    ['the channel is switched off', 'UPDATE channels SET answers = false WHERE workspace_id = $1', 'channel_off'],
    ['the window closes', 'UPDATE conversations SET window_until = now() WHERE workspace_id = $1', 'replied'],
  ])('%s', async (_, sql, expected) => {
    await ask('hello');
    expect(await answerWhile(() => change(sql))).toEqual(['committed']);
    // A closed window is seen again when the reply is sent.
    expect([await outcome(), (await kinds()).length, await used()]).toEqual(
      expected === 'replied' ? [expected, 1, 1] : [expected, 0, 0],
    );
  });

  it('a take-over: the AI is silent, and what waited is noted as held by a human', async () => {
    await ask('hello');
    const takeOver = () =>
      database.transaction((sql) =>
        changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null }),
      );
    expect(await answerWhile(takeOver)).toEqual(['stopped']);
    expect([await turns(), await kinds(), await used()]).toEqual([[[1, 1, 'human_held']], [], 0]);
  });

  it('a take-over and a hand-back: the old answer is thrown away all the same', async () => {
    await ask('hello');
    const twice = () =>
      database.transaction(async (sql) => {
        await changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null });
        await changeOwnership(sql, conversation.conversationId, { type: 'hand_back' });
      });
    expect(await answerWhile(twice)).toEqual(['stopped']);
    expect([await kinds(), await used()]).toEqual([[], 0]);
  });

  it('the contact is deleted: nothing is stored, and nothing is an error', async () => {
    await ask('hello');
    expect(
      await answerWhile(() => database.query('DELETE FROM contacts WHERE id = $1', [conversation.contactId])),
    ).toEqual(['stopped']);
    for (const table of ['turns', 'replies', 'sends', 'receipts', 'usage_entries']) {
      expect(await change(`SELECT 1 FROM ${table} WHERE workspace_id = $1`)).toEqual([]);
    }
  });

  it('the contact is deleted by somebody who waits for the commit: what was stored goes with it', async () => {
    await ask('hello');
    const answerTurn = worker();
    const [turn] = await answerTurn.claim(1);
    let deleted: Promise<unknown> | undefined;
    await database.transaction(async (sql) => {
      await sql.query('SELECT 1 FROM conversations WHERE id = $1 FOR UPDATE', [conversation.conversationId]);
      deleted = database.query('DELETE FROM contacts WHERE id = $1', [conversation.contactId]);
      await eventually(
        async () => (await database.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0,
        { what: 'the deletion waits' },
      );
    });
    await deleted;
    if (turn) expect(await answerTurn.execute(turn, new AbortController().signal)).toBe('stopped');
    expect(await change('SELECT 1 FROM replies WHERE workspace_id = $1')).toEqual([]);
  });

  it('the lease lapses and another worker answers: one reply, its own', async () => {
    await ask('hello');
    const ends = await answerWhile(async () => {
      await change(`UPDATE conversations SET lease_until = now() - interval '1 ms' WHERE workspace_id = $1`);
      expect(await answer({ answerer: says('Mine.') })).toEqual(['committed']);
    }, 'Too late.');
    expect(ends).toEqual(['stopped']);
    expect((await replies()).map(({ text }) => text)).toEqual(['Mine.']);
    expect(await used()).toBe(1);
  });

  it.each([
    ['taken over', 'stopped', ['human_held'], true],
    ['written in again', 'committed', ['replied'], false],
  ])(
    'a model call that can no longer be committed is ended when it is noticed: %s',
    async (what, end, outcomes, over) => {
      await ask('hello');
      let aborted = false;
      const answerer = new ScriptedAnswerer((request, call) =>
        call > 1
          ? 'Yes.'
          : new Promise((_, reject) =>
              request.signal.addEventListener('abort', () => {
                aborted = true;
                reject(request.signal.reason as Error);
              }),
            ),
      );
      const ends = answer({ answerer, limits: { renewEveryMs: 50 } });
      await eventually(() => answerer.questions.length === 1, { what: 'the model is asked' });
      if (over) {
        await database.transaction((sql) =>
          changeOwnership(sql, conversation.conversationId, { type: 'take_over', mutedUntil: null }),
        );
      } else {
        await ask('more');
      }
      expect(await ends).toEqual([end]);
      expect(aborted).toBe(true);
      expect((await turns()).map((turn) => turn[2])).toEqual(outcomes);
    },
  );
});

describe('the compare-and-set', () => {
  const silent = { outcome: 'nothing_to_answer', reply: null } as const;

  it('stores a turn once, also when its worker did not hear of it and tries again', async () => {
    await ask('hello');
    const [turn] = await worker().claim(1);
    if (!turn) throw new Error('Nothing is due.');
    const result = { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: 'Yes.' } } as const;
    expect(await commitTurn(database, turn, result, null)).toBe('committed');
    expect(await commitTurn(database, turn, result, null)).toBe('stop');
    await ask('next');
    expect(await commitTurn(database, turn, result, null)).toBe('stop');
    expect([await kinds(), await used()]).toEqual([['answer'], 1]);
  });

  it('is all or nothing: a reply that Postgres refuses leaves no turn and no debit', async () => {
    await ask('hello');
    const [turn] = await worker().claim(1);
    if (!turn) throw new Error('Nothing is due.');
    const text = 'a\u0000b';
    const refused = commitTurn(
      database,
      turn,
      { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text } },
      null,
    );
    await expect(refused).rejects.toMatchObject({ code: '22021' });
    expect([await turns(), await used()]).toEqual([[], 0]);
    expect(await commitTurn(database, turn, silent, null)).toBe('committed');
  });

  it('many workers that commit the same turn at once store it once', async () => {
    await ask('hello');
    const [turn] = await worker().claim(1);
    if (!turn) throw new Error('Nothing is due.');
    const verdicts = await Promise.all(Array.from({ length: 5 }, () => commitTurn(database, turn, silent, null)));
    expect(verdicts.sort()).toEqual(['committed', 'stop', 'stop', 'stop', 'stop']);
  });
});

describe('a failing part', () => {
  const away = () => Promise.reject(new Transient('knowledge_index_unavailable', 'Away.'));
  const limits = { answerWithinMs: 300 };

  it('an index that comes back is asked again, and the answer is given', async () => {
    await ask('hello');
    const index = new ScriptedIndex((search) => (search < 3 ? away() : Promise.resolve({ lexical: [], vector: [] })));
    expect(await answer({ index, answerer: says('Yes.') })).toEqual(['committed']);
    expect([index.searches, await outcome(), await kinds()]).toEqual([3, 'replied', ['answer']]);
  });

  it.each<[string, () => Promise<KnowledgeHits>]>([
    ['stays away', away],
    ['hangs', () => new Promise(() => undefined)],
    ['is broken', () => Promise.reject(new Unexpected('vector_invalid', 'Ours.'))],
  ])('an index that %s: after the deadline the honest fallback, once, and it costs nothing', async (_, script) => {
    await ask('hello');
    const index = new ScriptedIndex(script);
    expect(await answer({ index, limits })).toEqual(['committed']);
    expect([await outcome(), await kinds(), await used()]).toEqual(['fallback', ['fallback'], 0]);
    expect((await replies())[0]?.text).toBe(textCatalogue.en.fallback);
    expect(await answer({ index, limits })).toEqual([]);
  });

  it('a model that throws what nobody expects: the fallback at once', async () => {
    await ask('hello');
    const answerer = new ScriptedAnswerer(() => Promise.reject(new TypeError('a bug')));
    expect(await answer({ answerer })).toEqual(['committed']);
    expect([await outcome(), answerer.questions.length]).toEqual(['fallback', 1]);
  });

  it('a model whose answers cannot be used is paid for three of them, not for as many as fit into the time', async () => {
    await ask('hello');
    const unusable = new Transient('model_answer_unusable', 'Rubbish.');
    const answerer = new ScriptedAnswerer(() => Promise.reject(unusable));
    expect(await answer({ answerer })).toEqual(['committed']);
    expect([await outcome(), answerer.questions.length]).toEqual(['fallback', 3]);
  });

  it('a turn that kills its workers ends as failed after five, with the fallback', async () => {
    await ask('hello');
    for (let crash = 0; crash < 5; crash += 1) {
      expect(await worker().claim(1)).toHaveLength(1);
      await change(`UPDATE conversations SET lease_until = now() - interval '1 ms' WHERE workspace_id = $1`);
    }
    const answerer = says('never');
    expect(await answer({ answerer })).toEqual(['committed']);
    expect([await outcome(), await kinds(), answerer.questions]).toEqual(['failed', ['fallback'], []]);
  });

  it('an answer that cannot be stored is given back, and ends as failed too', async () => {
    await ask('hello');
    const answerer = says('a\u0000b');
    for (let tries = 0; tries < 5; tries += 1) {
      await expect(answer({ answerer })).rejects.toMatchObject({ code: '22021' });
      expect(await row()).toMatchObject({ lease_until: null, answered_seq: 0 });
      expect(await worker().claim(1)).toEqual([]);
      await change(`UPDATE conversations SET due_at = now() WHERE workspace_id = $1`);
    }
    expect(await answer({ answerer })).toEqual(['committed']);
    expect([await outcome(), await kinds()]).toEqual(['failed', ['fallback']]);
  });

  it('a process that stops gives its turn back, to be answered at once by another', async () => {
    await ask('hello');
    const stopping = new AbortController();
    const hanging = new ScriptedAnswerer(
      (request) =>
        new Promise((_, reject) =>
          request.signal.addEventListener('abort', () => reject(request.signal.reason as Error)),
        ),
    );
    const ends = answer({ answerer: hanging }, stopping.signal);
    await eventually(() => hanging.questions.length === 1, { what: 'the model is asked' });
    stopping.abort();
    expect(await ends).toEqual(['given_back']);
    expect([await turns(), await kinds()]).toEqual([[], []]);
    expect(await answer({ answerer: says('Yes.') })).toEqual(['committed']);
    expect(await outcome()).toBe('replied');
  });
});
