import { describe, expect, it } from '@jest/globals';
import { codeOf, goods } from './catalogue.ts';
import {
  judge,
  PROOF_OF_SILENCE_MS,
  type AcceptedCall,
  type Books,
  type SentMessage,
  type Violation,
} from './judge.ts';

const abstainText = 'I do not know.';
const T = Date.UTC(2026, 0, 15, 12);
const phoneNumberId = '100';

/** Messages 1 to `count` of one sender, a second apart, about the goods of their round. */
const written = (count: number, given: Partial<SentMessage> = {}): SentMessage[] =>
  Array.from({ length: count }, (_, index) => ({
    id: `m${String(index + 1)}`,
    waId: '12025560001',
    phoneNumberId,
    shop: 1,
    second: T / 1000 + index,
    place: index,
    ...given,
  }));

/** A reply that quotes message `last` and was made from the `length` messages up to it. */
const reply = (last: number, length = 1, given: Partial<AcceptedCall> = {}): AcceptedCall => ({
  at: new Date(T + last * 1000).toISOString(),
  kind: 'text',
  phoneNumberId,
  to: '12025560001',
  contextMessageId: `m${String(last)}`,
  body: `linen: ${codeOf(1, last - length, length)}`,
  callbackData: `attempt-${String(last)}`,
  ...given,
});

const judged = (sent: SentMessage[], journal: AcceptedCall[], books: Partial<Books> = {}) =>
  judge({ sent, journal, abstainText, books: { debits: journal.length, deadLetters: 0, ...books } });
const rules = (...given: Parameters<typeof judged>): Violation['rule'][] =>
  judged(...given).violations.map(({ rule }) => rule);

describe('a good run', () => {
  it('answers each message once, alone or together with its neighbours', () => {
    const verdict = judged(written(6), [reply(1), reply(3, 2), reply(6, 3)]);
    expect(verdict).toEqual({
      violations: [],
      figures: { messages: 6, replies: 3, answers: 3, abstains: 0, others: 0, joined: 2, doubles: 0 },
    });
  });

  it('may be in the order of any clock but Meta’s', () => {
    expect(rules(written(3).reverse(), [reply(2, 2), reply(3)])).toEqual([]);
  });

  it('abstains where the knowledge base has nothing, which counts like an answer', () => {
    const verdict = judged(written(2, { place: null }), [reply(2, 2, { body: abstainText })]);
    expect(verdict.violations).toEqual([]);
    expect(verdict.figures).toMatchObject({ answers: 0, abstains: 1 });
  });

  it('may hold a fallback, which costs nothing', () => {
    const journal = [reply(1, 1, { body: 'Something is not working.' }), reply(2)];
    expect(rules(written(2), journal, { debits: 1 })).toEqual([]);
  });

  it('may say the same again after the proof of silence; that is counted', () => {
    const at = new Date(T + 1000 + PROOF_OF_SILENCE_MS).toISOString();
    const verdict = judged(written(1), [reply(1), reply(1, 1, { at, callbackData: 'attempt-1b' })], { debits: 1 });
    expect(verdict.violations).toEqual([]);
    expect(verdict.figures.doubles).toBe(1);
  });

  it('is not about ticks and typing', () => {
    expect(rules(written(1), [reply(1), { at: '', kind: 'typing', phoneNumberId }], { debits: 1 })).toEqual([]);
  });

  it('has turns of more messages than there are goods', () => {
    const count = goods.length + 3;
    expect(rules(written(count), [reply(count, count)])).toEqual([]);
  });
});

describe('a bad run', () => {
  const cases: [string, Violation['rule'], SentMessage[], AcceptedCall[], Partial<Books>?][] = [
    ['the last message has no reply', 'not_covered', written(2), [reply(1)]],
    ['nothing has a reply', 'not_covered', written(1), []],
    ['a message in the middle was lost', 'wrong_content', written(3), [reply(1), reply(3)]],
    ['a message was used twice', 'wrong_content', written(2), [reply(1), reply(2, 2)]],
    ['the answer is another sender’s', 'wrong_content', written(1), [reply(1, 1, { body: codeOf(1, 5, 1) })]],
    ['the answer is another shop’s', 'wrong_content', written(1), [reply(1, 1, { body: codeOf(2, 0, 1) })]],
    [
      'two answers in one',
      'wrong_content',
      written(2),
      [reply(2, 2, { body: `${codeOf(1, 0, 1)} ${codeOf(1, 1, 1)}` })],
    ],
    ['an abstention where there is an answer', 'wrong_content', written(1), [reply(1, 1, { body: abstainText })]],
    ['an answer where there is none', 'wrong_content', written(1, { place: null }), [reply(1)]],
    ['a later message was answered first', 'out_of_order', written(2), [reply(2, 2), reply(1)], { debits: 1 }],
    [
      'a second reply at once',
      'answered_twice',
      written(1),
      [reply(1), reply(1, 1, { callbackData: 'b' })],
      { debits: 1 },
    ],
    [
      'a second reply after the proof that says something else',
      'answered_twice',
      written(1),
      [reply(1), reply(1, 1, { at: new Date(T + 200_000).toISOString(), callbackData: 'b', body: 'else' })],
      { debits: 1 },
    ],
    [
      'one attempt called twice',
      'same_attempt_twice',
      written(2),
      [reply(1), reply(2, 1, { callbackData: 'attempt-1' })],
    ],
    ['a call without attempt id', 'no_attempt_id', written(1), [withoutAttempt(reply(1))]],
    [
      'a reply that quotes nothing',
      'quotes_nothing_known',
      [],
      [reply(1, 1, { contextMessageId: 'm9' })],
      { debits: 0 },
    ],
    ['a reply that failed afterwards', 'send_failed', written(1), [reply(1, 1, { failsWith: 131_047 })]],
    ['a debit too many', 'debits_differ', written(1), [reply(1)], { debits: 2 }],
    ['a dead letter', 'dead_letters', written(1), [reply(1)], { deadLetters: 1 }],
  ];
  for (const [name, rule, sent, journal, books] of cases) {
    it(`${name}: ${rule}`, () => expect(rules(sent, journal, books)).toEqual([rule]));
  }

  it.each([{ to: '12025560002' }, { phoneNumberId: '200' }])(
    'a reply to somebody else: wrong_recipient %j',
    (wrong) => {
      expect(rules(written(1), [reply(1, 1, wrong)], { debits: 0 })).toEqual(['wrong_recipient', 'not_covered']);
    },
  );

  it('an answer that leaves out what came while it was made: answered_apart', () => {
    const [first, second] = written(2) as [SentMessage, SentMessage];
    const sent = [first, { ...second, joinsTurnBefore: true }];
    expect(rules(sent, [reply(2, 2)])).toEqual([]);
    expect(rules(sent, [reply(1), reply(2)])).toEqual(['answered_apart']);
  });
});

function withoutAttempt({ callbackData: _, ...call }: AcceptedCall): AcceptedCall {
  return call;
}
