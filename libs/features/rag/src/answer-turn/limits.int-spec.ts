import { plans } from '@answerline/contracts';
import { KnowledgeIndex, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import {
  Answerer,
  type Answer,
  type AnswerRequest,
  type ModelUse,
  type RewrittenQuestion,
} from '@answerline/language-model';
import { Transient } from '@answerline/errors';
import { createLogger } from '@answerline/logging';
import { applySendFacts, Database, localCalendar, migrateDatabase, newId } from '@answerline/persistence';
import {
  createTestDatabase,
  eventually,
  seedChannel,
  seedConversation,
  seedMessages,
  tempDir,
  type SeededChannel,
  type SeededConversation,
  type SeedOptions,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { AnswerQuestion } from '../answer-questions/answer-question.ts';
import { FindPassages } from '../find-passages/find-passages.ts';
import { MakeAnswer } from '../make-answer/make-answer.ts';
import { AnswerTurn, type TurnEnd } from './answer-turn.ts';
import { CONTACT_REPLIES_PER_HOUR } from './read-turn.ts';

let testDatabase: TestDatabase;
let database: Database;
let index: KnowledgeIndex;
let channel: SeededChannel;
let conversation: SeededConversation;
const logger = createLogger({ app: 'spec', level: 'silent' });

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'limits-spec', poolSize: 12 });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close()]);
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

type Script = (request: AnswerRequest, call: number) => Promise<string> | string;
/** A model of the outside, as a test wants it. Each answer costs 3 tokens in and 5 out. */
class ScriptedAnswerer extends Answerer {
  readonly usesModel = true;
  calls = 0;
  readonly #script: Script;

  constructor(script: Script) {
    super();
    this.#script = script;
  }

  override async rewrite(): Promise<RewrittenQuestion | undefined> {
    return undefined;
  }

  override async answer(request: AnswerRequest): Promise<Answer> {
    const text = await this.#script(request, (this.calls += 1));
    return { kind: 'answer', text, citedPassageIds: [], promptVersion: 'v1', ...use(3, 5) };
  }
}
const use = (inputTokens: number, outputTokens: number): ModelUse => ({
  model: 'scripted',
  usage: { inputTokens, outputTokens },
  costMicros: inputTokens + outputTokens,
});
const says = (text: string): ScriptedAnswerer => new ScriptedAnswerer(() => text);

const makeAnswer = (answerer: Answerer) =>
  new MakeAnswer({
    findPassages: new FindPassages({ database, index, embedder: null, logger }),
    answerer,
    logger,
    retryAfterMs: 10,
  });
/** Claims what is due and answers it. */
async function answer(answerer: Answerer = says('Yes.'), limits: { answerWithinMs?: number } = {}): Promise<TurnEnd[]> {
  const answerTurn = new AnswerTurn({ database, makeAnswer: makeAnswer(answerer), logger, ...limits });
  const turns = await answerTurn.claim(50);
  return Promise.all(turns.map((turn) => answerTurn.execute(turn, new AbortController().signal)));
}
/** An answerer whose answers all come when `count` of them are asked for: every turn has been read by then. */
const together = (count: number): ScriptedAnswerer => {
  const waiting: (() => void)[] = [];
  return new ScriptedAnswerer(
    () => new Promise((resolve) => waiting.push(() => resolve('Yes.')) === count && waiting.forEach((go) => go())),
  );
};

const ask = (text: string, where = conversation) => seedMessages(database, where, [text]);
/** Another number of the workspace, and the same contact's conversation there. */
async function onAnotherNumber(): Promise<SeededConversation> {
  const [channelId, conversationId] = [newId(), newId()];
  await database.query(
    `INSERT INTO channels (id, workspace_id, chatbot_id, webhook_key_id, type, state, phone_number_id)
     SELECT $2, workspace_id, chatbot_id, webhook_key_id, type, state, phone_number_id || '7' FROM channels WHERE id = $1`,
    [channel.channelId, channelId],
  );
  await database.query(
    `INSERT INTO conversations (id, workspace_id, channel_id, contact_id, window_until)
     SELECT $2, workspace_id, $3, contact_id, window_until FROM conversations WHERE id = $1`,
    [conversation.conversationId, conversationId, channelId],
  );
  return { ...conversation, channelId, conversationId };
}
const column = async <Value>(sql: string): Promise<Value[]> =>
  (await database.query<{ value: Value }>(sql, [channel.workspaceId])).map(({ value }) => value);
const kinds = (): Promise<string[]> =>
  column('SELECT kind AS value FROM replies WHERE workspace_id = $1 ORDER BY created_at, id');
const outcomes = (): Promise<string[]> =>
  column('SELECT outcome AS value FROM turns WHERE workspace_id = $1 ORDER BY created_at, id');
const change = (sql: string) => database.query(sql, [channel.workspaceId]);
const useUp = (used: number, month = 'now()') =>
  change(
    `INSERT INTO usage (workspace_id, month, used, "limit")
     SELECT id, to_char(${month} AT TIME ZONE time_zone, 'YYYY-MM'), ${String(used)}, 20000 FROM workspaces WHERE id = $1
     ON CONFLICT (workspace_id, month) DO UPDATE SET used = excluded.used`,
  );
const used = async (): Promise<number | undefined> =>
  (await column<number>('SELECT used AS value FROM usage WHERE workspace_id = $1'))[0];
const month = async (): Promise<string> =>
  (await column<string>(`SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS value WHERE $1 <> ''`))[0] ?? '';
const events = () =>
  column<object>(
    `SELECT payload -> 'data' AS value FROM outbox WHERE workspace_id = $1 AND payload ->> 'type' = 'quota_reached' ORDER BY id`,
  );
const mails = () =>
  column<string>(
    `SELECT kind || ' ' || (about ->> 'percent') AS value FROM mails WHERE workspace_id = $1 ORDER BY created_at, id`,
  );

describe('the owner is warned', () => {
  it('at 80 and 100 % of the month, once each, by event and by mail', async () => {
    for (const [before, warnings] of [
      [15_998, []],
      [15_999, [80]],
      [16_000, [80]],
      [19_998, [80]],
      [19_999, [80, 100]],
    ] as const) {
      await useUp(before);
      await ask('hello');
      await answer();
      expect([await used(), await mails()]).toEqual([
        before + 1,
        warnings.map((percent) => `quota ${String(percent)}`),
      ]);
      const stored = warnings.map(async (percent) => ({ month: await month(), percent, limit: 20_000 }));
      expect(await events()).toEqual(await Promise.all(stored));
    }
    // Given back, and used again.
    await useUp(19_999);
    await ask('hello');
    await answer();
    expect([(await events()).length, (await mails()).length]).toEqual([2, 2]);
  });

  it('once when many replies cross the line at the same time', async () => {
    await useUp(15_995);
    const others = await Promise.all(Array.from({ length: 9 }, () => seedConversation(database, channel)));
    for (const where of [conversation, ...others]) await ask('hello', where);
    await answer(together(10));
    expect([await used(), await mails(), (await events()).length]).toEqual([16_005, ['quota 80'], 1]);
  });

  it('not when the reply is not stored, and not on a plan without a limit', async () => {
    await useUp(15_999);
    await ask('hello');
    await expect(answer(says('a\u0000b'))).rejects.toMatchObject({ code: '22021' });
    expect([await used(), await mails(), await events()]).toEqual([15_999, [], []]);

    await begin({ plan: 'enterprise' });
    await useUp(99_999);
    await ask('hello');
    await answer();
    expect([await used(), await mails(), await events()]).toEqual([100_000, [], []]);
  });

  it('again of the same share when the limit is another one', async () => {
    await useUp(15_999);
    await ask('hello');
    await answer();
    await change(`UPDATE workspaces SET plan = 'growth' WHERE id = $1`);
    await useUp(3_999);
    await ask('hello');
    await answer();
    expect([await mails(), (await events()).length]).toEqual([['quota 80', 'quota 80'], 2]);
  });
});

describe('over the quota', () => {
  it('a contact is told once a day, on whichever number they write', async () => {
    const other = await onAnotherNumber();
    await useUp(20_000);
    const answerer = says('never');
    for (const where of [conversation, other, other, conversation]) {
      await ask('hello', where);
      await answer(answerer);
    }
    expect([await kinds(), answerer.calls]).toEqual([['over_quota'], 0]);
    expect(new Set(await outcomes())).toEqual(new Set(['over_quota']));
    const stranger = await seedConversation(database, channel);
    await ask('hello', stranger);
    await answer(answerer);
    expect(await kinds()).toEqual(['over_quota', 'over_quota']);
  });

  it('a contact who writes on two numbers at the same moment is told once', async () => {
    for (let round = 0; round < 5; round += 1) {
      await begin();
      const other = await onAnotherNumber();
      await useUp(20_000);
      await Promise.all([ask('hello'), ask('hello', other)]);
      expect(await answer()).toEqual(['committed', 'committed']);
      expect([await kinds(), await outcomes()]).toEqual([['over_quota'], ['over_quota', 'over_quota']]);
      expect(
        await column('SELECT send_seq AS value FROM conversations WHERE workspace_id = $1 ORDER BY send_seq'),
      ).toEqual([0, 1]);
    }
  });

  it('that came while the answers were made: one answer, and one word for the same contact on two numbers', async () => {
    const [other, third] = [await onAnotherNumber(), await seedConversation(database, channel)];
    await useUp(19_999);
    for (const where of [conversation, other, third]) await ask('hello', where);
    expect(await answer(together(3))).toEqual(['committed', 'committed', 'committed']);
    const said = await kinds();
    expect(said.filter((kind) => kind === 'answer')).toHaveLength(1);
    // Whoever got the answer, nobody is told twice.
    expect(await column('SELECT contact_id AS value FROM contact_notices WHERE workspace_id = $1')).toHaveLength(
      said.length - 1,
    );
    expect([await used(), (await outcomes()).sort()]).toEqual([20_000, ['over_quota', 'over_quota', 'replied']]);
  });

  it('the contact is gone from the notices with the conversation', async () => {
    await useUp(20_000);
    await ask('hello');
    await answer();
    await database.query('DELETE FROM contacts WHERE id = $1', [conversation.contactId]);
    for (const table of ['contact_notices', 'conversation_tokens']) {
      expect(await change(`SELECT FROM ${table} WHERE workspace_id = $1`)).toEqual([]);
    }
  });

  it('a new month begins with nothing used', async () => {
    await useUp(20_000, `(now() - interval '32 days')`);
    await ask('hello');
    await answer();
    expect(await kinds()).toEqual(['answer']);
    expect(await column('SELECT used AS value FROM usage WHERE workspace_id = $1 ORDER BY month')).toEqual([20_000, 1]);
  });

  it('a smaller plan stops at once, a larger one answers at once', async () => {
    await useUp(6_000);
    await change(`UPDATE workspaces SET plan = 'growth' WHERE id = $1`);
    const answerer = says('Yes.');
    await ask('hello');
    await answer(answerer);
    expect([await kinds(), await used(), answerer.calls]).toEqual([['over_quota'], 6_000, 0]);
    await change(`UPDATE workspaces SET plan = 'scale' WHERE id = $1`);
    await ask('hello');
    await answer(answerer);
    expect([await kinds(), await used()]).toEqual([['over_quota', 'answer'], 6_001]);
  });
});

describe('months and days', () => {
  it.each([
    ['2026-10-31T23:59:59Z', 'UTC', '2026-10', '2026-10-31', '2026-10-31T00:00:00.000Z', '2026-11-01T00:00:00.000Z'],
    ['2026-11-01T00:00:00Z', 'UTC', '2026-11', '2026-11-01', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    [
      '2026-10-31T23:00:00Z',
      'Europe/Madrid',
      '2026-11',
      '2026-11-01',
      '2026-10-31T23:00:00.000Z',
      '2026-11-30T23:00:00.000Z',
    ],
    [
      '2026-11-01T05:30:00Z',
      'America/New_York',
      '2026-11',
      '2026-11-01',
      '2026-11-01T04:00:00.000Z',
      '2026-12-01T05:00:00.000Z',
    ],
    [
      '2026-12-31T10:00:00Z',
      'Pacific/Kiritimati',
      '2027-01',
      '2027-01-01',
      '2026-12-31T10:00:00.000Z',
      '2027-01-31T10:00:00.000Z',
    ],
    // 23 hours long, and 25.
    [
      '2026-03-29T21:59:59Z',
      'Europe/Madrid',
      '2026-03',
      '2026-03-29',
      '2026-03-28T23:00:00.000Z',
      '2026-03-31T22:00:00.000Z',
    ],
    [
      '2026-10-25T22:59:59Z',
      'Europe/Madrid',
      '2026-10',
      '2026-10-25',
      '2026-10-24T22:00:00.000Z',
      '2026-10-31T23:00:00.000Z',
    ],
  ])('%s is in %s in %s', async (at, zone, ofMonth, day, dayStartedAt, monthEndsAt) => {
    const [row] = await database.query(`SELECT local.* FROM ${localCalendar('$1::timestamptz', '$2::text')} AS local`, [
      at,
      zone,
    ]);
    expect(row).toMatchObject({
      month: ofMonth,
      day,
      day_started_at: new Date(dayStartedAt),
      month_ends_at: new Date(monthEndsAt),
    });
  });
});

describe('a contact who asks a lot', () => {
  const replied = (count: number, agoMinutes: number, where = conversation) =>
    database.query(
      `INSERT INTO replies (id, workspace_id, channel_id, conversation_id, author, kind, text, created_at)
       SELECT gen_random_uuid(), $1, $2, $3, 'ai', 'answer', '', now() - $4 * interval '1 minute' FROM generate_series(1, $5::int)`,
      [where.workspaceId, where.channelId, where.conversationId, agoMinutes, count],
    );

  it('gets 20 replies an hour, then one word, then silence until the hour is over', async () => {
    const answerer = says('Yes.');
    await replied(CONTACT_REPLIES_PER_HOUR - 1, 30);
    for (const outcome of ['replied', 'limited', 'limited']) {
      await ask('hello');
      await answer(answerer);
      expect((await outcomes()).at(-1)).toBe(outcome);
    }
    expect([(await kinds()).slice(-2), answerer.calls]).toEqual([['answer', 'limited'], 1]);
    const stranger = await seedConversation(database, channel);
    await ask('hello', stranger);
    await answer(answerer);
    expect((await outcomes()).at(-1)).toBe('replied');

    await change(`UPDATE replies SET created_at = created_at - interval '40 minutes' WHERE workspace_id = $1`);
    await ask('hello');
    await answer(answerer);
    expect([(await outcomes()).at(-1), answerer.calls]).toEqual(['replied', 3]);
  });

  it('is the same one on another number', async () => {
    const other = await onAnotherNumber();
    await replied(12, 10);
    await replied(8, 10, other);
    await ask('hello', other);
    await ask('hello');
    await answer(says('never'));
    expect([await outcomes(), (await kinds()).filter((kind) => kind === 'limited')]).toEqual([
      ['limited', 'limited'],
      ['limited'],
    ]);
  });

  it('is not limited by what a human or the system said', async () => {
    await replied(30, 10);
    await change(`UPDATE replies SET author = 'human', kind = 'human' WHERE workspace_id = $1`);
    await ask('hello');
    await answer();
    expect(await outcomes()).toEqual(['replied']);
  });
});

describe('media', () => {
  it('gets one notice an hour on all numbers, and what is asked beside it or later is answered', async () => {
    const other = await onAnotherNumber();
    for (const where of [conversation, other, conversation]) {
      await seedMessages(database, where, [{ type: 'image' }]);
      await answer();
    }
    expect([await kinds(), await outcomes()]).toEqual([
      ['media_notice'],
      ['media_notice', 'media_notice', 'media_notice'],
    ]);
    await seedMessages(database, conversation, [{ type: 'image' }, 'Do you have this in blue?']);
    await answer();
    await ask('And in red?');
    await answer();
    expect([await kinds(), await used()]).toEqual([['media_notice', 'answer', 'answer'], 2]);
  });

  it('with a caption is a question', async () => {
    const asked: string[] = [];
    await seedMessages(database, conversation, [{ type: 'image', text: 'How much is this one?' }]);
    await answer(
      new ScriptedAnswerer(({ question }) => {
        asked.push(question);
        return 'Four.';
      }),
    );
    expect([asked, await kinds()]).toEqual([['How much is this one?'], ['answer']]);
  });
});

describe('tokens of a day', () => {
  const spent = async (): Promise<unknown> =>
    (
      await database.query(
        `SELECT input_tokens::int AS input, output_tokens::int AS output, cost_micros::int AS cost FROM token_usage WHERE workspace_id = $1`,
        [channel.workspaceId],
      )
    )[0];
  const ofConversations = () =>
    column<number>('SELECT tokens::int AS value FROM conversation_tokens WHERE workspace_id = $1 ORDER BY 1');
  const spend = (tokens: number) =>
    change(
      `INSERT INTO token_usage (workspace_id, day, input_tokens, output_tokens)
       SELECT id, to_char(now() AT TIME ZONE time_zone, 'YYYY-MM-DD'), ${String(tokens)}, 0 FROM workspaces WHERE id = $1`,
    );
  const spendOnContact = (tokens: number) =>
    change(
      `INSERT INTO conversation_tokens (conversation_id, workspace_id, day, tokens)
       SELECT c.id, c.workspace_id, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ${String(tokens)}
       FROM conversations c WHERE workspace_id = $1 AND contact_id = '${conversation.contactId}' ORDER BY c.id LIMIT 1`,
    );

  it('are counted by workspace and contact', async () => {
    const other = await seedConversation(database, channel);
    await ask('hello');
    await answer();
    await ask('hello', other);
    await answer();
    await ask('hello', other);
    await answer();
    expect([await spent(), await ofConversations()]).toEqual([{ input: 9, output: 15, cost: 24 }, [8, 16]]);
  });

  it('count tries that came to nothing, in the receipt too', async () => {
    await ask('hello');
    const answerer = new ScriptedAnswerer(({ onWasted }, call) => {
      if (call === 3) return 'Yes.';
      onWasted?.(use(100, 10));
      throw new Transient('model_answer_unusable', 'Rubbish.');
    });
    await answer(answerer);
    const [receipt] = await database.query(
      'SELECT input_tokens, output_tokens, cost_micros::int AS cost FROM receipts WHERE workspace_id = $1',
      [channel.workspaceId],
    );
    expect(receipt).toEqual({ input_tokens: 203, output_tokens: 25, cost: 228 });
    expect([await spent(), await ofConversations()]).toEqual([{ input: 203, output: 25, cost: 228 }, [228]]);
  });

  it('count when all tries came to nothing', async () => {
    await ask('hello');
    const answerer = new ScriptedAnswerer(({ onWasted }) => {
      onWasted?.(use(100, 10));
      throw new Transient('model_answer_unusable', 'Rubbish.');
    });
    await answer(answerer);
    expect([await kinds(), await spent()]).toEqual([['fallback'], { input: 300, output: 30, cost: 330 }]);
  });

  it('count when the answer was thrown away, because the customer wrote on or a human took over', async () => {
    await ask('first');
    const answerer = new ScriptedAnswerer(async (_, call) => {
      if (call === 1) await ask('second');
      return 'Yes.';
    });
    await answer(answerer);
    expect([await kinds(), await spent()]).toEqual([['answer'], { input: 6, output: 10, cost: 16 }]);
    await ask('third');
    await answer(
      new ScriptedAnswerer(async () => {
        await change('UPDATE conversations SET epoch = epoch + 1 WHERE workspace_id = $1');
        return 'never';
      }),
    );
    expect([await kinds(), await spent()]).toEqual([['answer'], { input: 9, output: 15, cost: 24 }]);
  });

  it('of a workspace that are used up: nobody is answered, and told once a day that nobody can answer', async () => {
    await spend(plans.scale.tokensPerDay.workspace);
    const answerer = says('never');
    for (let n = 0; n < 2; n += 1) {
      await ask('hello');
      await answer(answerer);
    }
    expect([await kinds(), answerer.calls]).toEqual([['over_quota'], 0]);
    await change(`UPDATE token_usage SET day = '2020-01-01' WHERE workspace_id = $1`);
    await ask('a new day');
    await answer();
    expect(await kinds()).toEqual(['over_quota', 'answer']);
  });

  it('of a contact that are used up, on whichever number: they alone have to wait', async () => {
    const other = await onAnotherNumber();
    await spendOnContact(plans.scale.tokensPerDay.contact);
    const answerer = says('Yes.');
    await ask('hello', other);
    await ask('hello');
    await answer(answerer);
    expect([await kinds(), await outcomes(), answerer.calls]).toEqual([['limited'], ['limited', 'limited'], 0]);
    const stranger = await seedConversation(database, channel);
    await ask('hello', stranger);
    await answer(answerer);
    expect((await kinds()).at(-1)).toBe('answer');
    await change(`UPDATE conversation_tokens SET day = '2020-01-01' WHERE workspace_id = $1`);
    await ask('a new day');
    await answer(answerer);
    expect((await kinds()).at(-1)).toBe('answer');
  });

  it('questions by API count for the workspace, and have to wait until tomorrow when its tokens are used up', async () => {
    const questions = new AnswerQuestion({ database, makeAnswer: makeAnswer(says('Yes.')) });
    const { workspaceId, chatbotId } = channel;
    const put = () =>
      questions.execute(
        { workspaceId, chatbotId, question: 'Open?', history: [] },
        new AbortController().signal,
        () => undefined,
      );
    expect(await put()).toMatchObject({ kind: 'answer' });
    expect([await spent(), await ofConversations()]).toEqual([{ input: 3, output: 5, cost: 8 }, []]);
    await change(
      `UPDATE token_usage SET input_tokens = ${String(plans.scale.tokensPerDay.workspace)} WHERE workspace_id = $1`,
    );
    const refused = await put().catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'tokens_used_up', kind: 'transient' });
    const retryAfterMs = (refused as Transient).retryAfterMs ?? 0;
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(24 * 60 * 60 * 1000);
  });
});

describe('a debit that is given back', () => {
  it('leaves room for another reply', async () => {
    await useUp(19_999);
    await ask('hello');
    await answer();
    const [sendId = ''] = await column<string>('SELECT id AS value FROM sends WHERE workspace_id = $1');
    await database.transaction((sql) => applySendFacts(sql, [{ sendId, fact: { type: 'take_over' } }]));
    await eventually(async () => (await used()) === 19_999, { what: 'the debit is back' });
    await ask('hello');
    await answer();
    expect([await used(), (await kinds()).length, await mails()]).toEqual([20_000, 2, ['quota 100']]);
  });
});
