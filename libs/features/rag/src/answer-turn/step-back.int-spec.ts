import { KnowledgeIndex, LanceKnowledgeIndex } from '@answerline/knowledge-index';
import { Answerer, type Answer } from '@answerline/language-model';
import { createLogger } from '@answerline/logging';
import { Database, migrateDatabase } from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedMessages,
  tempDir,
  type SeededConversation,
  type TestDatabase,
} from '@answerline/testing';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { FindPassages } from '../find-passages/find-passages.ts';
import { MakeAnswer } from '../make-answer/make-answer.ts';
import { AnswerTurn } from './answer-turn.ts';

let testDatabase: TestDatabase;
let database: Database;
let index: KnowledgeIndex;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'step-back-spec' });
  index = await LanceKnowledgeIndex.open({ folder: await tempDir(), mode: 'write' });
});
afterAll(async () => {
  await Promise.all([database.close(), index.close()]);
  await testDatabase.drop();
});

/** Says what it was asked, and lets something happen the first time. */
class EchoAnswerer extends Answerer {
  readonly usesModel = false;
  readonly #during: () => Promise<unknown>;
  calls = 0;

  constructor(during: () => Promise<unknown>) {
    super();
    this.#during = during;
  }

  override async rewrite(): Promise<undefined> {}

  override async answer({ question }: { question: string }): Promise<Answer> {
    this.calls += 1;
    if (this.calls === 1) await this.#during();
    const usage = { inputTokens: 0, outputTokens: 0 };
    return {
      kind: 'answer',
      text: question,
      citedPassageIds: [],
      model: 'echo',
      promptVersion: null,
      usage,
      costMicros: null,
    };
  }
}

const dueIn = (conversation: SeededConversation, interval: string): Promise<unknown> =>
  database.query(`UPDATE conversations SET due_at = clock_timestamp() + $2::interval WHERE id = $1`, [
    conversation.conversationId,
    interval,
  ]);

it('a burst that comes in disorder while an answer is made is answered as one, in the order of Meta’s time', async () => {
  const conversation = await seedConversation(database, await seedChannel(database));
  await seedMessages(database, conversation, [{ text: 'first', sentAgoMs: 5_000 }]);
  const answerer = new EchoAnswerer(async () => {
    // Of two messages that were sent now, the later one arrives first, and its quiet window begins.
    await seedMessages(database, conversation, [{ text: 'third', sentAgoMs: 1_000 }]);
    await dueIn(conversation, '1 hour');
  });
  const logger = createLogger({ app: 'spec', level: 'silent' });
  const answerTurn = new AnswerTurn({
    database,
    makeAnswer: new MakeAnswer({
      findPassages: new FindPassages({ database, index, embedder: null, logger }),
      answerer,
      logger,
    }),
    logger,
  });
  const execute = async (): Promise<string | undefined> => {
    const [turn] = await answerTurn.claim(1);
    return turn && answerTurn.execute(turn, new AbortController().signal);
  };

  expect(await execute()).toBe('stepped_back');
  expect(await execute()).toBeUndefined();
  await seedMessages(database, conversation, [{ text: 'second', sentAgoMs: 2_000 }]);
  await dueIn(conversation, '-1 second');
  expect(await execute()).toBe('committed');

  expect(
    await database.query('SELECT text FROM replies WHERE conversation_id = $1', [conversation.conversationId]),
  ).toEqual([{ text: 'first\nsecond\nthird' }]);
  const [row] = await database.query<{ claims: number }>('SELECT claims FROM conversations WHERE id = $1', [
    conversation.conversationId,
  ]);
  expect(row?.claims).toBe(0);
});
