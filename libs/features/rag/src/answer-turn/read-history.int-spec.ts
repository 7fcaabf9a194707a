import { LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, type Answer, type AnswerRequest, type FollowUp } from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedMessages,
  seedReply,
  tempDir,
  type SeededChannel,
  type SeededConversation,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { FindPassages } from '../find-passages/find-passages.ts';
import { MakeAnswer } from '../make-answer/make-answer.ts';
import { AnswerTurn } from './answer-turn.ts';

let testDatabase: TestDatabase;
let database: Database;
let index: LanceKnowledgeIndex;
let channel: SeededChannel;
let conversation: SeededConversation;
let answerer: Recorder;
let answerTurn: AnswerTurn;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'history-spec' });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close()]);
  await testDatabase.drop();
});
beforeEach(async () => {
  channel = await seedChannel(database);
  conversation = await seedConversation(database, channel);
  answerer = new Recorder();
  const logger = createLogger({ app: 'spec', level: 'silent' });
  answerTurn = new AnswerTurn({
    database,
    makeAnswer: new MakeAnswer({
      findPassages: new FindPassages({ database, index, embedder: null, logger }),
      answerer,
      logger,
    }),
    logger,
  });
});

/** A model that keeps what it was given, and rewrites a follow-up by naming what it follows. */
class Recorder extends Answerer {
  readonly usesModel = true;
  readonly requests: AnswerRequest[] = [];
  readonly followUps: FollowUp[] = [];

  override async rewrite(followUp: FollowUp) {
    this.followUps.push(followUp);
    const text = `${followUp.question} (after ${followUp.history.at(-1)?.text ?? 'nothing'})`;
    return { text, model: 'recorder', usage: { inputTokens: 20, outputTokens: 10 }, costMicros: 3 };
  }

  override async answer(request: AnswerRequest): Promise<Answer> {
    this.requests.push(request);
    const usage = { inputTokens: 100, outputTokens: 50 };
    const made = { model: 'recorder', promptVersion: 'p1', usage, costMicros: 4 };
    return { kind: 'answer', text: `To: ${request.question}`, citedPassageIds: [], ...made };
  }
}

async function exchange(text: string, where = conversation): Promise<void> {
  await seedMessages(database, where, [text]);
  await answerAll();
}

async function answerAll(): Promise<void> {
  const turns = await answerTurn.claim(20);
  for (const turn of turns) expect(await answerTurn.execute(turn, new AbortController().signal)).toBe('committed');
}

const told = () => answerer.requests.at(-1)?.history.map(({ author, text }) => `${author}: ${text}`);

it('the first turn has no history and is searched for as it was asked; a follow-up has both', async () => {
  await exchange('Do you sell rye bread?');
  expect(answerer.followUps).toEqual([]);
  expect(told()).toEqual([]);
  await exchange('And how much is it?');
  expect(told()).toEqual(['contact: Do you sell rye bread?', 'ai: To: Do you sell rye bread?']);
  expect(answerer.followUps).toMatchObject([{ question: 'And how much is it?' }]);

  const receipts = await database.query(
    `SELECT question, rewritten_question, prompt_version, model, input_tokens, output_tokens, cost_micros::int, timings
     FROM receipts WHERE workspace_id = $1 ORDER BY id`,
    [channel.workspaceId],
  );
  expect(receipts).toMatchObject([
    { rewritten_question: null, prompt_version: 'p1', input_tokens: 100, output_tokens: 50, cost_micros: 4 },
    {
      question: 'And how much is it?',
      rewritten_question: 'And how much is it? (after To: Do you sell rye bread?)',
      input_tokens: 120,
      output_tokens: 60,
      cost_micros: 7,
      timings: { rewriteMs: expect.any(Number), searchMs: expect.any(Number), answerMs: expect.any(Number) },
    },
  ]);
});

it('the tenth turn back is told, the eleventh is not', async () => {
  for (let turn = 1; turn <= 12; turn += 1) await exchange(`Question number ${String(turn)}`);
  const history = told() ?? [];
  expect(history).toHaveLength(20);
  expect(history[0]).toBe('contact: Question number 2');
  expect(history.at(-1)).toBe('ai: To: Question number 11');
});

it('several messages in a row and all their bubbles are one turn', async () => {
  await seedMessages(database, conversation, [
    { text: 'later by Meta’s time', sentAgoMs: 1_000 },
    { text: 'earlier by Meta’s time', sentAgoMs: 2_000 },
  ]);
  await answerAll();
  await exchange('next');
  expect(told()).toEqual([
    'contact: earlier by Meta’s time',
    'contact: later by Meta’s time',
    'ai: To: earlier by Meta’s time\nlater by Meta’s time',
  ]);
});

it('a colleague counts as one who replied; what was revoked, is a day old or reached nobody is left out', async () => {
  await seedMessages(database, conversation, [
    { text: 'a day old', sentAgoMs: 25 * 3_600_000, receivedAgoMs: 25 * 3_600_000, isNumbered: false },
    { text: 'taken back', isRevoked: true, isNumbered: false },
    { text: 'May I speak to someone?', isNumbered: false },
  ]);
  await seedReply(database, conversation, { author: 'human', kind: 'human', parts: ['This is the bakery.'] });
  const lost = await seedReply(database, conversation, { parts: ['Nobody got this.'] });
  await database.query(`UPDATE sends SET phase = 'failed' WHERE reply_id = $1`, [lost.replyId]);
  await exchange('Thank you');
  const history = told() ?? [];
  expect(history[0]).toBe('contact: May I speak to someone?');
  expect(history[1]).toMatch(/^human: /);
  expect(history).toHaveLength(2);
});

it('an edited message is told in its last form', async () => {
  await exchange('Is it open on Sunday?');
  await database.query(
    `UPDATE messages SET text = 'Is it open on Monday?', edited_at = now() WHERE conversation_id = $1`,
    [conversation.conversationId],
  );
  await exchange('And at noon?');
  expect(told()?.[0]).toBe('contact: Is it open on Monday?');
});

it('two conversations answered at once never mix, and no name or number is told', async () => {
  const other = await seedConversation(database, channel);
  await exchange('mine: rye?');
  await exchange('other: cake?', other);
  await seedMessages(database, conversation, ['mine: and spelt?']);
  await seedMessages(database, other, ['other: and pie?']);
  await answerAll();
  const [mine, others] = ['mine', 'other'].map((whose) =>
    JSON.stringify(answerer.requests.filter(({ question }) => question.startsWith(`${whose}: and`))),
  );
  expect(mine).not.toContain('other:');
  expect(others).not.toContain('mine:');
  for (const { address } of [conversation, other]) expect(`${mine ?? ''}${others ?? ''}`).not.toContain(address);
});
