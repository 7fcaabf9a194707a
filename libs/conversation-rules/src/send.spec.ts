import { describe, expect, it } from '@jest/globals';
import {
  decideSend,
  givesBackDebit,
  isSettled,
  newSend,
  rank,
  RETRY_CAP_MS,
  RETRY_DEADLINE_MS,
  SENDING_LOST_MS,
  UNKNOWN_PROOF_MS,
  type Delivery,
  type SendFact,
  type SendPhase,
  type SendState,
} from './send.ts';

type FactOf<Type extends SendFact['type']> = Extract<SendFact, { type: Type }>;

const T = Date.UTC(2026, 0, 15, 12);
const WINDOW = T + 24 * 60 * 60 * 1000;

const aClaim = (given: Partial<FactOf<'claim'>> = {}): FactOf<'claim'> => ({
  type: 'claim',
  now: T,
  attemptId: 'a1',
  conversationEpoch: 1,
  channelAnswers: true,
  aiEnabled: true,
  windowUntil: WINDOW,
  earlier: 'done',
  ...given,
});
const aSweep = (now: number, given: Partial<FactOf<'sweep'>> = {}): SendFact => ({
  type: 'sweep',
  now,
  windowUntil: WINDOW,
  quiet: false,
  ...given,
});
const aRefusal = (given: Partial<FactOf<'refused'>> = {}): FactOf<'refused'> => ({
  type: 'refused',
  now: T,
  attemptId: 'a1',
  retry: 'backoff',
  code: 'graph_131016',
  ...given,
});
const aStatus = (attemptId: string | null, status: Delivery | 'failed', code?: string): SendFact => ({
  type: 'status',
  attemptId,
  status,
  ...(code === undefined ? {} : { code }),
});
const notSent = (attemptId = 'a1', now = T): SendFact => ({
  type: 'not_sent',
  now,
  attemptId,
  code: 'connection_refused',
});
const unanswered = (attemptId = 'a1'): SendFact => ({ type: 'unanswered', attemptId });
const accepted = (attemptId = 'a1'): SendFact => ({ type: 'accepted', attemptId });
const takeOver: SendFact = { type: 'take_over' };
const calledOff: SendFact = { type: 'called_off', code: 'channel_off' };

const after = (facts: readonly SendFact[], author: SendState['author'] = 'ai'): SendState =>
  facts.reduce((state, fact) => decideSend(state, fact).state, newSend(author, 1, T));
const phases = (state: SendState) => state.attempts.map(({ phase }) => phase);

/** Attempt a1 was not heard of for so long that silence counts as proof. */
const PROVED: readonly SendFact[] = [aClaim(), unanswered(), aSweep(T + UNKNOWN_PROOF_MS, { quiet: true })];
/** … and a2 is being called. */
const SECOND: readonly SendFact[] = [...PROVED, aClaim({ now: T + UNKNOWN_PROOF_MS, attemptId: 'a2' })];

describe('the claim of a send', () => {
  it('starts an attempt that is to be called', () => {
    const { state, call } = decideSend(newSend('ai', 1, T), aClaim());
    expect(call).toBe(true);
    expect(state).toMatchObject({
      phase: 'sending',
      dueAt: null,
      attempts: [{ id: 'a1', phase: 'calling', startedAt: T }],
    });
  });

  it('touches nothing it was given', () => {
    const before = Object.freeze(newSend('ai', 1, T));
    decideSend(before, aClaim());
    expect(before).toEqual(newSend('ai', 1, T));
  });

  it('starts a second attempt when a retry is due, and not before', () => {
    const retry = after([aClaim(), aRefusal()]);
    expect(decideSend(retry, aClaim({ now: T + 999, attemptId: 'a2' }))).toEqual({ state: retry, call: false });
    const { state, call } = decideSend(retry, aClaim({ now: T + 1_000, attemptId: 'a2' }));
    expect(call).toBe(true);
    expect(phases(state)).toEqual(['refused', 'calling']);
  });

  it.each<[string, Partial<FactOf<'claim'>>, Partial<SendState>]>([
    ['of an older epoch is superseded', { conversationEpoch: 2 }, { phase: 'superseded', dueAt: null, failure: null }],
    ['of an AI that was switched off is superseded', { aiEnabled: false }, { phase: 'superseded', dueAt: null }],
    [
      'of a channel that is off is superseded',
      { channelAnswers: false },
      { phase: 'superseded', failure: 'channel_off' },
    ],
    ['behind a failed part of the same reply fails', { earlier: 'part_failed' }, { failure: 'earlier_part_failed' }],
    ['fails at the moment the window closes', { now: WINDOW }, { phase: 'failed', failure: 'window_closed' }],
    ['fails when no window is open', { windowUntil: null }, { phase: 'failed', failure: 'window_closed' }],
    ['waits for the sends before it', { earlier: 'waiting' }, { phase: 'pending', dueAt: T }],
    ['waits until it is due', { now: T - 1 }, { phase: 'pending', dueAt: T }],
  ])('of the AI, %s', (_, given, expected) => {
    const { state, call } = decideSend(newSend('ai', 1, T), aClaim(given));
    expect(call).toBe(false);
    expect(state).toMatchObject({ ...expected, attempts: [] });
  });

  it.each(['human', 'system'] as const)('by a %s outlives a new epoch and an AI that is off', (author) => {
    const { call } = decideSend(newSend(author, 1, T), aClaim({ conversationEpoch: 2, aiEnabled: false }));
    expect(call).toBe(true);
  });

  it.each<[SendPhase, readonly SendFact[]]>([
    ['sending', [aClaim()]],
    ['unknown', [aClaim(), unanswered()]],
    ['accepted', [aClaim(), accepted()]],
    ['failed', [aClaim(), aRefusal({ retry: 'never' })]],
    ['superseded', [takeOver]],
  ])('leaves a send that is %s', (phase, facts) => {
    const state = after(facts);
    expect(state.phase).toBe(phase);
    const late = { now: T + 60_000, attemptId: 'a9' };
    expect(decideSend(state, aClaim(late))).toEqual({ state, call: false });
    expect(decideSend(state, aClaim({ ...late, conversationEpoch: 2 }))).toEqual({ state, call: false });
  });

  it('leaves a send that waits for a reconnect', () => {
    const state = after([aClaim(), aRefusal({ retry: 'after_reconnect' })]);
    expect(decideSend(state, aClaim({ now: T + 3_600_000, attemptId: 'a2' }))).toEqual({ state, call: false });
  });
});

describe('the answer to a call', () => {
  it.each<[string, SendFact, Partial<SendState>, string]>([
    ['an id means accepted', accepted(), { phase: 'accepted', dueAt: null, failure: null }, 'accepted'],
    [
      'a refusal for good means failed',
      aRefusal({ retry: 'never', code: 'graph_131047' }),
      { phase: 'failed', dueAt: null, failure: 'graph_131047' },
      'refused',
    ],
    ['a refusal that may pass means later', aRefusal(), { phase: 'retry', dueAt: T + 1_000 }, 'refused'],
    [
      'a dead token means to wait for a reconnect',
      aRefusal({ retry: 'after_reconnect', code: 'graph_190' }),
      { phase: 'retry', dueAt: null, failure: 'graph_190' },
      'refused',
    ],
    ['a refused connection means later', notSent(), { phase: 'retry', dueAt: T + 1_000 }, 'not_sent'],
    ['no answer means unknown, with nothing to do yet', unanswered(), { phase: 'unknown', dueAt: null }, 'unknown'],
  ])('%s', (_, fact, expected, attempt) => {
    const state = after([aClaim(), fact]);
    expect(state).toMatchObject(expected);
    expect(phases(state)).toEqual([attempt]);
  });

  it.each<[string, SendFact, SendPhase]>([
    ['accepted', accepted(), 'accepted'],
    ['refused for good', aRefusal({ retry: 'never' }), 'failed'],
    ['refused for now', aRefusal(), 'retry'],
    ['not sent', notSent(), 'retry'],
    ['unanswered', unanswered(), 'unknown'],
  ])('still counts when it comes after the sweep (%s)', (_, fact, phase) => {
    expect(after([aClaim(), aSweep(T + 21_000), fact]).phase).toBe(phase);
  });

  it('is believed when it says accepted, whatever has become of the send', () => {
    expect(after([aClaim(), unanswered(), takeOver, accepted()]).phase).toBe('accepted');
    expect(after([aClaim(), unanswered(), aSweep(WINDOW), accepted()])).toMatchObject({
      phase: 'accepted',
      failure: null,
    });
    expect(after([...PROVED, accepted()])).toMatchObject({ phase: 'accepted', dueAt: null });
  });

  it.each<[string, SendFact]>([
    ['refused', aRefusal({ retry: 'never' })],
    ['refused for now', aRefusal()],
    ['not sent', notSent()],
    ['unanswered', unanswered()],
  ])('does not take back what a status has said (%s)', (_, fact) => {
    const sent = after([aClaim(), aStatus('a1', 'sent')]);
    expect(decideSend(sent, fact).state).toEqual(sent);
  });

  it.each<[string, SendFact]>([
    ['not sent', notSent()],
    ['refused for good', aRefusal({ retry: 'never' })],
    ['refused for now', aRefusal()],
    ['unanswered', unanswered()],
  ])('of attempt 1 does not disturb attempt 2 (%s)', (_, fact) => {
    const state = after([...SECOND, fact]);
    expect(state).toMatchObject({ phase: 'sending', dueAt: null });
    expect(phases(state)[1]).toBe('calling');
  });

  it('of an attempt that is not known changes nothing', () => {
    const state = after([aClaim()]);
    expect(decideSend(state, notSent('a9')).state).toEqual(state);
    expect(decideSend(state, unanswered('a9')).state).toEqual(state);
    expect(decideSend(state, aRefusal({ attemptId: 'a9', retry: 'never' })).state).toEqual(state);
  });

  it('never wakes what was superseded', () => {
    const state = after([aClaim(), unanswered(), takeOver, notSent()]);
    expect(state).toMatchObject({ phase: 'superseded', dueAt: null });
    expect(phases(state)).toEqual(['not_sent']);
  });
});

describe('calling off', () => {
  it.each<[string, readonly SendFact[], SendState['author']]>([
    ['waits', [], 'ai'],
    ['waits, of a human', [], 'human'],
    ['waits, of the system', [], 'system'],
    ['is to be tried again', [aClaim(), aRefusal()], 'human'],
    ['waits for a reconnect', [aClaim(), aRefusal({ retry: 'after_reconnect' })], 'ai'],
    ['has no answer', [aClaim(), unanswered()], 'human'],
  ])('ends what %s, whoever wrote it', (_, facts, author) => {
    const state = after([...facts, calledOff], author);
    expect(state).toMatchObject({ phase: 'superseded', dueAt: null, failure: 'channel_off' });
    expect(decideSend(state, aClaim({ now: T + 60_000, attemptId: 'a9' })).call).toBe(false);
    expect(decideSend(state, { type: 'reconnected', now: T }).state).toEqual(state);
  });

  it('leaves a call under way, and ends what comes back from it', () => {
    const sending = after([aClaim()]);
    expect(decideSend(sending, calledOff).state).toEqual(sending);
    expect(after([aClaim(), calledOff, accepted()]).phase).toBe('accepted');
    expect(after([aClaim(), calledOff, aRefusal(), calledOff]).phase).toBe('superseded');
  });

  it.each<[string, readonly SendFact[]]>([
    ['accepted', [aClaim(), accepted()]],
    ['failed', [aClaim(), aRefusal({ retry: 'never' })]],
    ['superseded', [takeOver]],
  ])('leaves what is %s', (_, facts) => {
    const state = after(facts);
    expect(decideSend(state, calledOff).state).toEqual(state);
  });
});

describe('retries', () => {
  /** Claims and refuses until the send is over; the delays that lay between. */
  function delaysOf(refuse: (attemptId: string, now: number) => SendFact): { delaysMs: number[]; end: SendState } {
    let state = newSend('ai', 1, T);
    let now = T;
    const delaysMs: number[] = [];
    for (let n = 1; !isSettled(state.phase); n += 1) {
      const attemptId = `a${String(n)}`;
      state = decideSend(decideSend(state, aClaim({ now, attemptId })).state, refuse(attemptId, now)).state;
      if (state.dueAt !== null) delaysMs.push(state.dueAt - now);
      now = state.dueAt ?? now;
    }
    return { delaysMs, end: state };
  }

  it.each<[string, (attemptId: string, now: number) => SendFact]>([
    ['refused', (attemptId, now) => aRefusal({ attemptId, now })],
    ['not sent', notSent],
  ])('double from 1 s to 60 s and end after 10 minutes (%s)', (_, refuse) => {
    const { delaysMs, end } = delaysOf(refuse);
    expect(delaysMs.slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, RETRY_CAP_MS, RETRY_CAP_MS]);
    const totalMs = delaysMs.reduce((sum, ms) => sum + ms, 0);
    expect(totalMs).toBeLessThanOrEqual(RETRY_DEADLINE_MS);
    expect(totalMs).toBeGreaterThan(RETRY_DEADLINE_MS - RETRY_CAP_MS);
    expect(end).toMatchObject({ phase: 'failed', dueAt: null });
  });

  it('wait 1, 4, 16, 64 and 256 s for a pair that is too fast, and then give up', () => {
    const { delaysMs, end } = delaysOf((attemptId, now) => aRefusal({ attemptId, now, retry: 'pair', code: 'pair' }));
    expect(delaysMs).toEqual([1_000, 4_000, 16_000, 64_000, 256_000]);
    expect(end).toMatchObject({ phase: 'failed', failure: 'pair' });
  });

  it('begin the pair’s delays anew after another refusal', () => {
    const facts = (['pair', 'pair', 'backoff', 'pair'] as const).flatMap((retry, index): SendFact[] => {
      const now = T + index * 60_000;
      const attemptId = `a${String(index)}`;
      return [aClaim({ now, attemptId }), aRefusal({ now, attemptId, retry })];
    });
    expect(after(facts).dueAt).toBe(T + 180_000 + 1_000);
  });

  it('wait as long as Graph asks for, when that is longer', () => {
    expect(after([aClaim(), aRefusal({ retryAfterMs: 30_000 })]).dueAt).toBe(T + 30_000);
    expect(after([aClaim(), aRefusal({ retryAfterMs: 10 })]).dueAt).toBe(T + 1_000);
  });

  it('may start exactly 10 minutes after the first attempt, and not a millisecond later', () => {
    expect(after([aClaim(), aRefusal({ retryAfterMs: RETRY_DEADLINE_MS })]).phase).toBe('retry');
    expect(after([aClaim(), aRefusal({ retryAfterMs: RETRY_DEADLINE_MS + 1 })]).phase).toBe('failed');
  });

  it('go on when the channel was reconnected', () => {
    const dead = after([aClaim(), aRefusal({ retry: 'after_reconnect' })]);
    const { state } = decideSend(dead, { type: 'reconnected', now: T + 3_600_000 });
    expect(state).toMatchObject({ phase: 'retry', dueAt: T + 3_600_000 });
    expect(decideSend(state, aClaim({ now: T + 3_600_000, attemptId: 'a2' })).call).toBe(true);
  });

  it.each<[string, readonly SendFact[]]>([
    ['pending', []],
    ['due later', [aClaim(), aRefusal({ retryAfterMs: 60_000 })]],
    ['unknown', [aClaim(), unanswered()]],
    ['superseded', [takeOver]],
  ])('are not hurried by a reconnect when they do not wait for one (%s)', (_, facts) => {
    const state = after(facts);
    expect(decideSend(state, { type: 'reconnected', now: T + 5 }).state).toEqual(state);
  });
});

describe('the sweep', () => {
  it('makes a call unknown whose worker has been silent for more than 20 s', () => {
    const sending = after([aClaim()]);
    expect(decideSend(sending, aSweep(T + SENDING_LOST_MS)).state).toEqual(sending);
    const lost = decideSend(sending, aSweep(T + SENDING_LOST_MS + 1)).state;
    expect(lost.phase).toBe('unknown');
    expect(phases(lost)).toEqual(['unknown']);
  });

  it('never sends a lost call again by itself, however long and quiet it was', () => {
    expect(after([aClaim(), aSweep(T + 120_000, { quiet: true })]).phase).toBe('unknown');
  });

  it('sends an unknown again when 90 s of accepting gateways have said nothing of it', () => {
    const state = after(PROVED);
    expect(state).toMatchObject({ phase: 'retry', dueAt: T + UNKNOWN_PROOF_MS, failure: 'no_answer' });
    expect(phases(state)).toEqual(['not_sent']);
  });

  it.each<[string, SendFact]>([
    ['silence is no proof yet', aSweep(T + UNKNOWN_PROOF_MS + 60_000, { quiet: false })],
    ['90 s are not over', aSweep(T + UNKNOWN_PROOF_MS - 1, { quiet: true })],
  ])('leaves an unknown while %s', (_, sweep) => {
    const unknown = after([aClaim(), unanswered()]);
    expect(decideSend(unknown, sweep).state).toEqual(unknown);
  });

  it('counts the 90 s from the last attempt', () => {
    const secondAt = T + UNKNOWN_PROOF_MS;
    const unknown = after([...SECOND, unanswered('a2')]);
    expect(decideSend(unknown, aSweep(secondAt + UNKNOWN_PROOF_MS - 1, { quiet: true })).state.phase).toBe('unknown');
    expect(decideSend(unknown, aSweep(secondAt + UNKNOWN_PROOF_MS, { quiet: true })).state.phase).toBe('retry');
  });

  it.each<[string, readonly SendFact[]]>([
    ['pending', []],
    ['retry', [aClaim(), aRefusal({ retry: 'after_reconnect' })]],
    ['unknown', [aClaim(), unanswered()]],
  ])('fails what is %s when the window closes, even when silence is proved', (_, facts) => {
    const open = after(facts);
    expect(decideSend(open, aSweep(WINDOW - 1)).state.phase).toBe(open.phase);
    const closed = decideSend(open, aSweep(WINDOW, { quiet: true })).state;
    expect(closed).toMatchObject({ phase: 'failed', dueAt: null, failure: 'window_closed' });
    expect(decideSend(open, aSweep(T, { windowUntil: null })).state.phase).toBe('failed');
  });

  it('does not say of an unknown that failed with its window that it was never sent', () => {
    expect(phases(after([aClaim(), unanswered(), aSweep(WINDOW)]))).toEqual(['unknown']);
  });

  it.each<[SendPhase, readonly SendFact[]]>([
    ['accepted', [aClaim(), accepted()]],
    ['failed', [aClaim(), aRefusal({ retry: 'never' })]],
    ['superseded', [aClaim(), unanswered(), takeOver]],
  ])('leaves what is %s', (_, facts) => {
    const state = after(facts);
    expect(decideSend(state, aSweep(WINDOW + 1, { quiet: true })).state).toEqual(state);
  });
});

describe('a status', () => {
  it.each<[string, readonly SendFact[]]>([
    ['before the HTTP answer', [aClaim()]],
    ['after the answer was lost', [aClaim(), unanswered()]],
    ['after the worker was lost', [aClaim(), aSweep(T + 21_000)]],
    ['after silence was taken for proof', PROVED],
    ['of attempt 1 while attempt 2 is called', SECOND],
    ['after a take-over', [aClaim(), unanswered(), takeOver]],
    ['after the window closed', [aClaim(), unanswered(), aSweep(WINDOW)]],
  ])('%s settles the send as accepted', (_, facts) => {
    const state = after([...facts, aStatus('a1', 'delivered')]);
    expect(state).toMatchObject({ phase: 'accepted', delivery: 'delivered', dueAt: null, failure: null });
    expect(phases(state)[0]).toBe('accepted');
  });

  it('that says failed means accepted by Graph, and keeps why', () => {
    const state = after([aClaim(), unanswered(), aStatus('a1', 'failed', 'graph_131026')]);
    expect(state).toMatchObject({ phase: 'accepted', failure: 'graph_131026', delivery: null });
    expect(decideSend(state, accepted()).state).toEqual(state);
  });

  it('that fails without a code has one all the same', () => {
    expect(after([aClaim(), accepted(), aStatus('a1', 'failed')]).failure).toBe('failed');
  });

  it.each<[Delivery, Delivery, Delivery]>([
    ['sent', 'delivered', 'delivered'],
    ['delivered', 'sent', 'delivered'],
    ['delivered', 'read', 'read'],
    ['read', 'delivered', 'read'],
    ['read', 'played', 'played'],
    ['played', 'read', 'played'],
    ['played', 'sent', 'played'],
    ['read', 'read', 'read'],
  ])('only moves the delivery forward: %s, then %s is %s', (first, second, end) => {
    expect(after([aClaim(), accepted(), aStatus('a1', first), aStatus('a1', second)]).delivery).toBe(end);
  });

  it('known by its message id alone still moves the delivery', () => {
    expect(after([aClaim(), accepted(), aStatus(null, 'read')])).toMatchObject({ phase: 'accepted', delivery: 'read' });
    expect(after([aClaim(), accepted(), aStatus(null, 'failed', 'late')]).failure).toBe('late');
  });

  it('of failure after delivery is not believed', () => {
    expect(after([aClaim(), aStatus('a1', 'delivered'), aStatus('a1', 'failed', 'late')])).toMatchObject({
      delivery: 'delivered',
      failure: null,
    });
  });

  it('of a late failure of attempt 1 does not undo attempt 2', () => {
    const state = after([...SECOND, accepted('a2'), aStatus('a2', 'sent'), aStatus('a1', 'failed', 'graph_131026')]);
    expect(state).toMatchObject({ phase: 'accepted', delivery: 'sent', failure: null });
    expect(phases(state)).toEqual(['accepted', 'accepted']);
  });

  it('orders the four delivery states', () => {
    expect((['sent', 'delivered', 'read', 'played'] as const).map(rank)).toEqual([0, 1, 2, 3]);
  });
});

describe('a take-over', () => {
  it.each<[string, SendPhase, readonly SendFact[]]>([
    ['pending', 'superseded', []],
    ['retry', 'superseded', [aClaim(), aRefusal()]],
    ['waiting for a reconnect', 'superseded', [aClaim(), aRefusal({ retry: 'after_reconnect' })]],
    ['unknown', 'superseded', [aClaim(), unanswered()]],
    ['sending', 'sending', [aClaim()]],
    ['accepted', 'accepted', [aClaim(), accepted()]],
    ['failed', 'failed', [aClaim(), aRefusal({ retry: 'never' })]],
  ])('finds an AI send %s and leaves it %s', (_, phase, facts) => {
    const { state, call } = decideSend(after(facts), takeOver);
    expect({ phase: state.phase, dueAt: state.dueAt, call }).toEqual({ phase, dueAt: null, call: false });
  });

  it.each(['human', 'system'] as const)('leaves what a %s has to say', (author) => {
    for (const facts of [[], [aClaim(), aRefusal()], [aClaim(), unanswered()]]) {
      const state = after(facts, author);
      expect(decideSend(state, takeOver).state).toEqual(state);
    }
  });

  it.each<[string, SendFact]>([
    ['was refused and would be tried again', aRefusal()],
    ['waits for a reconnect', aRefusal({ retry: 'after_reconnect' })],
    ['is known not to have left', notSent()],
    ['was lost', unanswered()],
    ['was never heard of again', aSweep(T + SENDING_LOST_MS + 1)],
  ])('ends the send whose call was under way as soon as that call %s: nobody waits behind it', (_how, fact) => {
    const state = after([aClaim(), takeOver, fact]);
    expect(state).toMatchObject({ phase: 'superseded', dueAt: null });
    expect(decideSend(state, aClaim({ now: T + 1_000, attemptId: 'a2', conversationEpoch: 2 })).call).toBe(false);
    // It may have arrived all the same.
    expect(decideSend(state, aStatus('a1', 'delivered')).state).toMatchObject({
      phase: 'accepted',
      delivery: 'delivered',
    });
  });

  it('lets a call under way be accepted', () => {
    expect(after([aClaim(), takeOver]).phase).toBe('sending');
    expect(after([aClaim(), takeOver, accepted()]).phase).toBe('accepted');
  });
});

describe('the debit of a reply', () => {
  const pending = newSend('ai', 1, T);
  const refused = after([aClaim(), aRefusal({ retry: 'never' })]);
  const behind = after([aClaim({ earlier: 'part_failed' })]);
  const gone = after([takeOver]);
  const ok = after([aClaim(), accepted()]);

  it.each<[string, boolean, readonly SendState[]]>([
    ['goes back when every part was refused', true, [refused, behind]],
    ['goes back when it was superseded unsent', true, [gone, gone]],
    ['goes back when its silence was proved and then it was superseded', true, [after([...PROVED, takeOver])]],
    ['stays while a part is still to come', false, [refused, pending]],
    ['stays while a call is under way', false, [after([aClaim()])]],
    ['stays when a part was accepted', false, [ok, refused]],
    ['stays when it was accepted and failed later', false, [after([aClaim(), aStatus('a1', 'failed', 'x')])]],
    ['stays when a superseded attempt may have been accepted', false, [after([aClaim(), unanswered(), takeOver])]],
    ['stays when a failed attempt may have been accepted', false, [after([aClaim(), unanswered(), aSweep(WINDOW)])]],
  ])('%s', (_, expected, sends) => {
    expect(givesBackDebit(sends)).toBe(expected);
  });
});

describe('a settled send', () => {
  it.each<[SendPhase, boolean]>([
    ['pending', false],
    ['retry', false],
    ['sending', false],
    ['unknown', false],
    ['accepted', true],
    ['failed', true],
    ['superseded', true],
  ])('is over for those behind it: %s is %s', (phase, settled) => {
    expect(isSettled(phase)).toBe(settled);
  });
});
