import { setTimeout as delay } from 'node:timers/promises';
import { Answerer, type Answer, type AnswerRequest } from '@answerline/language-model';
import { createRandom, eventually } from '@answerline/testing';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { openOffice, type Office } from './handoff/office.ts';

/**
 * Handoffs, human replies, take-overs and turns of the AI race in the same conversations, over two rag and two notifier. Triggers note the
 * order of the commits: a claim of a send and a change of an epoch both hold the lock of the conversation from before what they
 * note until their commit.
 */

const START_MS = 60_000;
const CONTACTS = 25;
const RACING = 200;
const SEED = 20_261_123;
const CONFIRMATION = 'Connecting you to a human agent…';

/** A model of which each answer takes its own time. */
class UnevenModel extends Answerer {
  readonly usesModel = true;
  readonly #random = createRandom(SEED);

  override async rewrite(): Promise<undefined> {}

  override async answer({ question, signal }: AnswerRequest): Promise<Answer> {
    await delay(this.#random.between(0, 150), undefined, { signal });
    const made = { model: 'uneven', promptVersion: null, usage: { inputTokens: 1, outputTokens: 1 }, costMicros: null };
    return { kind: 'answer', text: `You asked: ${question}`, citedPassageIds: [], ...made };
  }
}

const NOTING = [
  'CREATE TABLE noted (n bigserial, conversation_id uuid, send_id uuid, epoch integer, author text)',
  `CREATE FUNCTION note_epoch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     INSERT INTO noted (conversation_id, epoch) VALUES (new.id, new.epoch);
     RETURN new;
   END $$`,
  `CREATE TRIGGER note_epoch AFTER UPDATE ON conversations FOR EACH ROW WHEN (old.epoch <> new.epoch)
     EXECUTE FUNCTION note_epoch()`,
  `CREATE FUNCTION note_call() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     INSERT INTO noted (conversation_id, send_id, epoch, author) VALUES (new.conversation_id, new.id, new.epoch, new.author);
     RETURN new;
   END $$`,
  `CREATE TRIGGER note_call AFTER UPDATE ON sends FOR EACH ROW WHEN (new.phase = 'sending' AND old.phase <> 'sending')
     EXECUTE FUNCTION note_call()`,
];

let office: Office;
beforeAll(async () => {
  office = await openOffice(new UnevenModel(), 2);
  for (const statement of NOTING) await office.database.query(statement);
}, START_MS);
afterAll(() => office.close(), START_MS);

interface Noted {
  readonly n: number;
  readonly conversation_id: string;
  readonly send_id: string | null;
  readonly epoch: number;
  readonly author: string | null;
}

it('the AI never speaks under an epoch that is over, and the confirmation is the last bubble', async () => {
  const random = createRandom(SEED);
  const contacts = Array.from({ length: CONTACTS }, () => office.stranger());
  await Promise.all(contacts.map((waId) => office.write(waId, 'Good morning!')));
  for (const waId of contacts) await office.untilBubbles(waId, 1);
  await office.untilQuiet();
  const ids = new Map<string, string>();
  for (const waId of contacts) ids.set(waId, (await office.conversation(waId)).id);

  // Nothing leaves in the first half, so that replies wait while somebody takes over; later some answers of Meta are lost, so
  // that others are in doubt.
  const hold = (code: string | null) => office.database.query('UPDATE channels SET send_hold_code = $1', [code]);
  await hold('held_by_test');
  await office.sandbox.faults({
    kinds: ['text'],
    share: 0.2,
    latencyMs: 80,
    latencyJitterMs: 200,
    cutAfterAccept: 0.5,
  });
  const humanWords: string[] = [];
  const act = async (n: number): Promise<void> => {
    const waId = random.pick(contacts);
    const path = `/conversations/${ids.get(waId) ?? ''}`;
    const chance = random.next();
    await delay(random.between(0, 3_000));
    if (chance < 0.45) await office.write(waId, `Question ${String(n)}?`);
    else if (chance < 0.65) await office.write(waId, 'human please');
    else if (chance < 0.8) {
      const text = `Human word ${String(n)}.`;
      const { status } = await office.call('POST', `${path}/messages`, { text });
      expect(status).toBe(201);
      humanWords.push(text);
    } else if (chance < 0.88) await office.call('POST', `${path}/handoff`, { action: 'take_over' });
    else expect((await office.call('POST', `${path}/handoff`, { action: 'hand_back' })).status).toBe(200);
  };
  let done = 0;
  await Promise.all(
    Array.from({ length: RACING }, async (_, n) => {
      await act(n);
      done += 1;
      if (done === RACING / 2) await hold(null);
    }),
  );
  await office.untilQuiet();
  await office.sandbox.faults({});
  await eventually(
    async () => {
      const counts = await office.sandbox.control<{ pending: number }>('GET', '/deliveries');
      return counts.pending === 0;
    },
    { what: 'all is delivered', timeoutMs: 20_000 },
  );
  await office.untilQuiet();

  const noted = await office.database.query<Noted & Record<string, unknown>>('SELECT * FROM noted ORDER BY n');
  const epochNow = new Map<string, number>();
  const late = noted.filter(({ conversation_id: id, send_id: sendId, epoch, author }) => {
    if (sendId === null) epochNow.set(id, epoch);
    return sendId !== null && author === 'ai' && epoch < (epochNow.get(id) ?? 1);
  });
  expect(late).toEqual([]);
  const epochs = noted.filter(({ send_id: sendId }) => sendId === null).length;
  expect(epochs).toBeGreaterThan(CONTACTS);

  // At Meta: after a confirmation, or a human's word, no text that the AI made before it.
  const sends = await office.database.query<{
    attempt: string;
    author: string;
    epoch: number;
    kind: string;
    body: string;
  }>(
    `SELECT a.id AS attempt, s.author, s.epoch, r.kind, s.body FROM attempts a JOIN sends s ON s.id = a.send_id JOIN replies r ON r.id = s.reply_id`,
  );
  const byAttempt = new Map(sends.map((send) => [send.attempt, send]));
  let confirmations = 0;
  for (const waId of contacts) {
    let spokenUnder = 0;
    for (const { callbackData, body } of await office.bubbles(waId)) {
      const send = byAttempt.get(callbackData ?? '');
      expect(send).toBeDefined();
      if (!send) continue;
      expect([waId, body, send.author === 'ai' && send.epoch < spokenUnder]).toEqual([waId, body, false]);
      if (send.author !== 'ai') spokenUnder = Math.max(spokenUnder, send.epoch);
      if (send.kind === 'handoff_confirmation') {
        expect(body).toBe(CONFIRMATION);
        confirmations += 1;
      }
    }
  }
  // Each handoff: one turn, one confirmation, one mail, one event.
  const [handoffs] = await office.database.query(
    `SELECT (SELECT count(*)::int FROM turns WHERE outcome = 'handed_off') AS turns,
            (SELECT count(*)::int FROM mails WHERE kind = 'handoff') AS mails`,
  );
  expect(confirmations).toBeGreaterThan(5);
  expect(handoffs).toEqual({ turns: confirmations, mails: confirmations });
  // What humans wrote has come, each once.
  const said = (await office.sandbox.calls(office)).map(({ body }) => body).filter((body) => body?.startsWith('Human'));
  expect(said.toSorted()).toEqual(humanWords.toSorted());
  // Something was at stake: answers that were thrown away before their commit, and after it.
  const [thrownAway] = await office.database.query<{ turns: number; sends: number }>(
    `SELECT (SELECT count(*)::int FROM turns WHERE outcome = 'human_held') AS turns,
            (SELECT count(*)::int FROM sends WHERE author = 'ai' AND phase = 'superseded') AS sends`,
  );
  expect(thrownAway?.turns).toBeGreaterThan(0);
  expect(thrownAway?.sends).toBeGreaterThan(0);
}, 180_000);
