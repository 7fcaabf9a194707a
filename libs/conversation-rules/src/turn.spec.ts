import { describe, expect, it } from '@jest/globals';
import {
  decideBeforeModel,
  decideTurn,
  HISTORY_AGE_MS,
  newConversation,
  SERVICE_WINDOW_MS,
  TURN_CLAIMS_MAX,
  TURN_LEASE_MS,
  TURN_PATIENCE_MS,
  type ConversationState,
  type Preflight,
  type TurnDecision,
  type TurnFact,
  type TurnOutcome,
} from './turn.ts';

type FactOf<Type extends TurnFact['type']> = Extract<TurnFact, { type: Type }>;

const T = Date.UTC(2026, 0, 15, 12);
const QUIET = { quietMs: 1_500, quietMaxMs: 6_000 };

const aMessage = (given: Partial<FactOf<'message'>> = {}): FactOf<'message'> => ({
  type: 'message',
  now: T,
  answerable: true,
  sentAt: given.now ?? T,
  ...QUIET,
  ...given,
});

const anEdit = (number: number | null, now = T): TurnFact => ({ type: 'amended', now, number, ...QUIET });

const aCommit = (given: Partial<FactOf<'commit'>> = {}): FactOf<'commit'> => ({
  type: 'commit',
  now: T + 3_000,
  fence: 1,
  epoch: 1,
  read: 1,
  speaks: 'ai',
  firstLeftAt: null,
  ...given,
});

const aConversation = (given: Partial<ConversationState> = {}): ConversationState => ({
  ...newConversation(),
  ...given,
});

/** One message waits since T, and the worker of fence 1 has read it. */
const claimed = (given: Partial<ConversationState> = {}) =>
  after([aMessage(), { type: 'claim', now: T + 2_000 }], given);

function after(facts: readonly TurnFact[], given: Partial<ConversationState> = {}): ConversationState {
  return facts.reduce((state, fact) => decideTurn(state, fact).state, aConversation(given));
}

describe('numbering', () => {
  it('gives each answerable message the next number', () => {
    const first = decideTurn(newConversation(), aMessage());
    const second = decideTurn(first.state, aMessage({ now: T + 300 }));
    expect([first.verdict, second.verdict]).toEqual([
      { type: 'numbered', number: 1 },
      { type: 'numbered', number: 2 },
    ]);
    expect(second.state).toMatchObject({ inboundSeq: 2, answeredSeq: 0 });
  });

  it('touches nothing it was given', () => {
    const before = Object.freeze(newConversation());
    expect(() => decideTurn(before, aMessage())).not.toThrow();
    expect(before).toEqual(newConversation());
  });

  it.each<[string, TurnDecision['verdict'], Partial<ConversationState>, Partial<FactOf<'message'>>]>([
    ['a reaction or sticker', { type: 'history', reason: 'not_answerable' }, {}, { answerable: false }],
    ['what comes while the channel is off', { type: 'history', reason: 'channel_off' }, { channelAnswers: false }, {}],
    ['what comes while a human holds', { type: 'history', reason: 'human_held' }, { owner: 'human' }, {}],
    ['what Meta’s own agent answers', { type: 'history', reason: 'human_held' }, {}, { isOverheard: true }],
    ['what comes after an opt-out', { type: 'history', reason: 'opted_out' }, { optedOutAt: T - 1 }, {}],
    ['what comes while the AI is off', { type: 'history', reason: 'ai_off' }, { aiEnabled: false }, {}],
    [
      'what is older than 24 h by Meta’s clock',
      { type: 'history', reason: 'too_old' },
      {},
      { sentAt: T - HISTORY_AGE_MS - 1 },
    ],
    ['what is exactly 24 h old', { type: 'numbered', number: 1 }, {}, { sentAt: T - HISTORY_AGE_MS }],
    ['what Meta’s clock says is yet to come', { type: 'numbered', number: 1 }, {}, { sentAt: T + 60_000 }],
  ])('decides about %s', (_, verdict, given, fact) => {
    const decided = decideTurn(aConversation(given), aMessage(fact));
    expect(decided.verdict).toEqual(verdict);
    const isNumbered = verdict.type === 'numbered';
    expect(decided.state.inboundSeq).toBe(isNumbered ? 1 : 0);
    expect(decided.state.dueAt === null).toBe(!isNumbered);
    expect(decided.state.firstUnansweredAt === null).toBe(!isNumbered);
  });

  it('names the reason that weighs most when there are several', () => {
    const all = { channelAnswers: false, owner: 'human', optedOutAt: T, aiEnabled: false } as const;
    const old = aMessage({ sentAt: 0 });
    const reasonOf = (given: Partial<ConversationState>, fact = old) => {
      const { verdict } = decideTurn(aConversation(given), fact);
      return verdict.type === 'history' ? verdict.reason : verdict.type;
    };
    expect(reasonOf(all, { ...old, answerable: false })).toBe('not_answerable');
    expect(reasonOf(all)).toBe('channel_off');
    expect(reasonOf({ ...all, channelAnswers: true })).toBe('human_held');
    expect(reasonOf({ optedOutAt: T, aiEnabled: false })).toBe('opted_out');
    expect(reasonOf({ aiEnabled: false })).toBe('ai_off');
    expect(reasonOf({})).toBe('too_old');
  });
});

describe('the service window', () => {
  it('is open for 24 h from the moment Meta gives for the message', () => {
    expect(after([aMessage({ sentAt: T - 5_000 })]).windowUntil).toBe(T - 5_000 + SERVICE_WINDOW_MS);
  });

  it('is also opened by a message that a human will answer', () => {
    expect(after([aMessage()], { owner: 'human' }).windowUntil).toBe(T + SERVICE_WINDOW_MS);
  });

  it('is not opened by a reaction', () => {
    expect(after([aMessage({ answerable: false })]).windowUntil).toBeNull();
  });

  it('is not shortened by an older message that arrives late', () => {
    const windowUntil = T + SERVICE_WINDOW_MS;
    expect(after([aMessage(), aMessage({ now: T + 1, sentAt: T - 60_000 })]).windowUntil).toBe(windowUntil);
  });

  it('is not lengthened by a clock that runs ahead', () => {
    expect(after([aMessage({ sentAt: T + 3_600_000 })]).windowUntil).toBe(T + SERVICE_WINDOW_MS);
  });
});

describe('the quiet window', () => {
  it.each([
    ['one message is due after the quiet time', [0], 1_500],
    ['each further message starts the quiet time anew', [0, 1_000, 2_000], 3_500],
    ['someone who keeps typing waits no longer than the maximum', [0, 1_400, 2_800, 4_200, 5_600], 6_000],
    ['a message after the maximum does not postpone what is already due', [0, 7_000], 6_000],
  ])('%s', (_, arrivals, expectedMs) => {
    const state = after(arrivals.map((ms) => aMessage({ now: T + ms })));
    expect(state).toMatchObject({ dueAt: T + expectedMs, firstUnansweredAt: T });
  });

  it('counts from arrival, not from Meta’s time', () => {
    expect(after([aMessage({ sentAt: T - 3_600_000 })])).toMatchObject({ dueAt: T + 1_500, firstUnansweredAt: T });
  });

  it('begins anew after an answer', () => {
    const answered = decideTurn(claimed(), aCommit()).state;
    expect(decideTurn(answered, aMessage({ now: T + 60_000 })).state).toMatchObject({
      dueAt: T + 61_500,
      firstUnansweredAt: T + 60_000,
    });
  });
});

describe('a mute', () => {
  const muted = { owner: 'human', epoch: 4, mutedUntil: T } as const;

  it('is over at exactly its moment: the message is numbered under a new epoch of the AI', () => {
    const { state, verdict } = decideTurn(aConversation(muted), aMessage({ now: T }));
    expect(verdict).toEqual({ type: 'numbered', number: 1 });
    expect(state).toMatchObject({ owner: 'ai', epoch: 5, mutedUntil: null });
  });

  it('still holds one millisecond before', () => {
    const { state, verdict } = decideTurn(aConversation(muted), aMessage({ now: T - 1 }));
    expect(verdict).toEqual({ type: 'history', reason: 'human_held' });
    expect(state).toMatchObject({ owner: 'human', epoch: 4, mutedUntil: T });
  });

  it('without an end lasts until the hand-back', () => {
    const held = aConversation({ owner: 'human', epoch: 4 });
    expect(decideTurn(held, aMessage({ now: T + 1e12, sentAt: T + 1e12 })).verdict).toMatchObject({ type: 'history' });
    expect(decideTurn(held, { type: 'hand_back' }).state).toMatchObject({ owner: 'ai', epoch: 5, mutedUntil: null });
  });

  it('that ended does not undo an opt-out', () => {
    const { verdict } = decideTurn(aConversation({ ...muted, optedOutAt: T - 1 }), aMessage({ now: T }));
    expect(verdict).toEqual({ type: 'history', reason: 'opted_out' });
  });
});

describe('an edit or a revoke', () => {
  it('of a message not yet answered raises the number and waits for quiet again', () => {
    const { state, verdict } = decideTurn(after([aMessage()]), anEdit(1, T + 1_000));
    expect(verdict).toEqual({ type: 'numbered', number: 2 });
    expect(state).toMatchObject({ inboundSeq: 2, answeredSeq: 0, dueAt: T + 2_500, firstUnansweredAt: T });
  });

  it('waits no longer than the maximum of the first message', () => {
    expect(decideTurn(after([aMessage()]), anEdit(1, T + 5_500)).state.dueAt).toBe(T + 6_000);
  });

  it('makes the worker that already read the message start over', () => {
    const edited = decideTurn(claimed(), anEdit(1, T + 2_500)).state;
    expect(decideTurn(edited, aCommit()).verdict).toEqual({ type: 'again' });
  });

  it.each([
    ['of an answered message', 1],
    ['of a message that was never numbered', null],
  ])('%s is only shown', (_, number) => {
    const answered = decideTurn(claimed(), aCommit()).state;
    const decided = decideTurn(answered, anEdit(number, T + 9_000));
    expect(decided).toEqual({ state: answered, verdict: { type: 'noted' } });
  });
});

describe('the claim', () => {
  const waiting = after([aMessage()]);

  it('takes a due conversation with the next fence, a lease, and what there is to read', () => {
    const { state, verdict } = decideTurn(waiting, { type: 'claim', now: T + 1_500 });
    expect(verdict).toEqual({ type: 'claimed', fence: 1, epoch: 1, read: 1 });
    expect(state).toMatchObject({ fence: 1, leaseUntil: T + 1_500 + TURN_LEASE_MS, claims: 1, dueAt: T + 1_500 });
  });

  it.each([
    ['that is not due yet', waiting, T + 1_499],
    ['in which nothing waits', newConversation(), T],
    ['that another worker holds', claimed(), T + 2_000 + TURN_LEASE_MS - 1],
  ])('leaves a conversation %s', (_, state, now) => {
    expect(decideTurn(state, { type: 'claim', now })).toEqual({ state, verdict: { type: 'not_due' } });
  });

  it('takes it from a worker whose lease has lapsed, and counts the claims', () => {
    const { state, verdict } = decideTurn(claimed(), { type: 'claim', now: T + 2_000 + TURN_LEASE_MS });
    expect(verdict).toEqual({ type: 'claimed', fence: 2, epoch: 1, read: 1 });
    expect(state.claims).toBe(2);
  });
});

describe('the renewal of a lease', () => {
  const renewal: FactOf<'renew'> = { type: 'renew', now: T + 7_000, fence: 1, epoch: 1, read: 1 };

  it('keeps a worker going whose turn can still be committed', () => {
    const { state, verdict } = decideTurn(claimed(), renewal);
    expect(verdict).toEqual({ type: 'keep' });
    expect(state.leaseUntil).toBe(T + 7_000 + TURN_LEASE_MS);
  });

  it('works after the lease lapsed, when nobody else has claimed', () => {
    expect(decideTurn(claimed(), { ...renewal, now: T + 60_000 }).verdict).toEqual({ type: 'keep' });
  });

  it('lets a worker start over, still under its lease, when something newer came', () => {
    const newer = decideTurn(claimed(), aMessage({ now: T + 5_000 })).state;
    const { state, verdict } = decideTurn(newer, renewal);
    expect(verdict).toEqual({ type: 'again' });
    expect(state.leaseUntil).toBe(T + 7_000 + TURN_LEASE_MS);
  });

  it('does not disturb a worker once the first message is 20 s old', () => {
    const newer = decideTurn(claimed(), aMessage({ now: T + 5_000 })).state;
    expect(decideTurn(newer, { ...renewal, now: T + TURN_PATIENCE_MS }).verdict).toEqual({ type: 'keep' });
  });

  it.each<[string, ConversationState]>([
    ['another fence', { ...claimed(), fence: 2 }],
    ['another epoch', { ...claimed(), epoch: 2 }],
  ])('stops a worker under %s and leaves the lease alone', (_, state) => {
    expect(decideTurn(state, renewal)).toEqual({ state, verdict: { type: 'stop' } });
  });
});

describe('the commit', () => {
  it('answers what was read, and nothing waits any more', () => {
    const { state, verdict } = decideTurn(claimed(), aCommit());
    expect(verdict).toEqual({ type: 'committed' });
    expect(state).toMatchObject({
      answeredSeq: 1,
      inboundSeq: 1,
      dueAt: null,
      firstUnansweredAt: null,
      leaseUntil: null,
      claims: 0,
    });
  });

  it('succeeds after the lease lapsed, when nobody else has claimed', () => {
    expect(decideTurn(claimed(), aCommit({ now: T + 60_000 })).verdict).toEqual({ type: 'committed' });
  });

  it.each<[string, TurnDecision['verdict'], Partial<ConversationState>]>([
    ['stops under another fence', { type: 'stop' }, { fence: 2 }],
    ['stops under another epoch', { type: 'stop' }, { epoch: 2 }],
    ['stops under another fence, although something newer came', { type: 'stop' }, { fence: 2, inboundSeq: 2 }],
    ['starts over when something newer came', { type: 'again' }, { inboundSeq: 2 }],
    ['starts over when the channel went off', { type: 'again' }, { channelAnswers: false }],
    ['starts over when the AI went off', { type: 'again' }, { aiEnabled: false }],
  ])('%s, and changes nothing', (_, verdict, given) => {
    const state = { ...claimed(), ...given };
    expect(decideTurn(state, aCommit())).toEqual({ state, verdict });
  });

  it.each<Partial<ConversationState>>([{ channelAnswers: false }, { aiEnabled: false }])(
    'of a silent outcome needs no channel and no AI that is on (%j)',
    (given) => {
      const decided = decideTurn({ ...claimed(), ...given }, aCommit({ speaks: null }));
      expect(decided.verdict).toEqual({ type: 'committed' });
    },
  );

  describe('when something newer came', () => {
    const leftAt = T + 10_000;
    const typing = decideTurn(claimed(), aMessage({ now: leftAt })).state;

    it('starts over until the first message is 20 s old', () => {
      expect(decideTurn(typing, aCommit({ now: T + TURN_PATIENCE_MS - 1 })).verdict).toEqual({ type: 'again' });
    });

    it('answers at exactly 20 s what was read, and the rest is the next turn', () => {
      const { state, verdict } = decideTurn(typing, aCommit({ now: T + TURN_PATIENCE_MS, firstLeftAt: leftAt }));
      expect(verdict).toEqual({ type: 'committed' });
      expect(state).toMatchObject({
        answeredSeq: 1,
        inboundSeq: 2,
        dueAt: typing.dueAt,
        firstUnansweredAt: leftAt,
        leaseUntil: null,
      });
      expect(decideTurn(state, { type: 'claim', now: T + TURN_PATIENCE_MS }).verdict).toMatchObject({ read: 2 });
    });

    it('counts the 20 s of the next turn from its own first message', () => {
      const { state } = decideTurn(typing, aCommit({ now: T + TURN_PATIENCE_MS, firstLeftAt: leftAt }));
      const next = decideTurn(state, { type: 'claim', now: T + TURN_PATIENCE_MS }).state;
      const newer = decideTurn(next, aMessage({ now: T + 21_000 })).state;
      const commit = aCommit({ fence: 2, read: 2, firstLeftAt: T + 21_000 });
      expect(decideTurn(newer, { ...commit, now: leftAt + TURN_PATIENCE_MS - 1 }).verdict).toEqual({ type: 'again' });
      expect(decideTurn(newer, { ...commit, now: leftAt + TURN_PATIENCE_MS }).verdict).toEqual({ type: 'committed' });
    });

    it('stays silent all the same when the AI went off, however old the message is', () => {
      const silenced = { ...typing, aiEnabled: false };
      expect(decideTurn(silenced, aCommit({ now: T + 60_000 })).verdict).toEqual({ type: 'again' });
    });
  });
});

describe('a turn that is given back', () => {
  it('is claimed again at the time given', () => {
    const { state, verdict } = decideTurn(claimed(), { type: 'give_back', fence: 1, dueAt: T + 9_000 });
    expect(verdict).toEqual({ type: 'noted' });
    expect(state).toMatchObject({ leaseUntil: null, dueAt: T + 9_000, claims: 1 });
    expect(decideTurn(state, { type: 'claim', now: T + 8_999 }).verdict).toEqual({ type: 'not_due' });
    expect(decideTurn(state, { type: 'claim', now: T + 9_000 }).verdict).toMatchObject({ type: 'claimed', fence: 2 });
  });

  it('by a worker that lost it stays with the other', () => {
    const state = { ...claimed(), fence: 2 };
    const fact = { type: 'give_back', fence: 1, dueAt: T } as const;
    expect(decideTurn(state, fact)).toEqual({ state, verdict: { type: 'stop' } });
  });

  it('makes nothing due after a take-over closed it', () => {
    const held = decideTurn(claimed(), { type: 'take_over', mutedUntil: null }).state;
    expect(decideTurn(held, { type: 'give_back', fence: 1, dueAt: T + 9_000 }).state.dueAt).toBeNull();
  });
});

describe('a turn that its worker steps back from', () => {
  const stepBack = { type: 'step_back', now: T + 3_000, fence: 1 } as const;

  it('is claimed when the window of what came meanwhile is over, and that claim does not count twice', () => {
    const newer = decideTurn(claimed(), aMessage({ now: T + 2_500 })).state;
    const { state, verdict } = decideTurn(newer, stepBack);
    expect(verdict).toEqual({ type: 'noted' });
    expect(state).toEqual({ ...newer, leaseUntil: null, claims: 0 });
    expect(decideTurn(state, { type: 'claim', now: state.dueAt ?? 0 }).verdict).toMatchObject({
      type: 'claimed',
      read: 2,
    });
  });

  it('is started over at once when the window is over already', () => {
    const state = { ...claimed(), dueAt: T + 3_000 };
    expect(decideTurn(state, stepBack)).toEqual({ state, verdict: { type: 'again' } });
  });

  it('by a worker that lost it stays with the other', () => {
    const state = { ...claimed(), fence: 2, dueAt: T + 9_000 };
    expect(decideTurn(state, stepBack)).toEqual({ state, verdict: { type: 'stop' } });
  });
});

describe('a take-over', () => {
  it('closes what waited as human_held, under a new epoch, and nothing is due', () => {
    const waiting = after([aMessage(), aMessage({ now: T + 300 }), { type: 'claim', now: T + 2_000 }]);
    const { state, verdict } = decideTurn(waiting, { type: 'take_over', mutedUntil: T + 60_000 });
    expect(verdict).toEqual({ type: 'closed', outcome: 'human_held', first: 1, last: 2 });
    expect(state).toMatchObject({
      owner: 'human',
      epoch: 2,
      mutedUntil: T + 60_000,
      answeredSeq: 2,
      dueAt: null,
      firstUnansweredAt: null,
      leaseUntil: null,
      claims: 0,
    });
  });

  it('closes only what was not answered before', () => {
    const waiting = after([aMessage({ now: T + 9_000 })], { inboundSeq: 3, answeredSeq: 3 });
    expect(decideTurn(waiting, { type: 'take_over', mutedUntil: null }).verdict).toMatchObject({ first: 4, last: 4 });
  });

  it('of a conversation in which nothing waited closes no turn', () => {
    const { state, verdict } = decideTurn(newConversation(), { type: 'take_over', mutedUntil: null });
    expect(verdict).toEqual({ type: 'nothing_waited' });
    expect(state).toMatchObject({ owner: 'human', epoch: 2, mutedUntil: null });
  });

  it('throws away the answer that is being made', () => {
    const held = decideTurn(claimed(), { type: 'take_over', mutedUntil: null }).state;
    expect(decideTurn(held, aCommit()).verdict).toEqual({ type: 'stop' });
    const back = decideTurn(held, { type: 'hand_back' }).state;
    expect(decideTurn(back, aCommit()).verdict).toEqual({ type: 'stop' });
  });

  it.each<[string, number | null, number | null, number | null]>([
    ['begins its mute anew', T, T + 60_000, T + 60_000],
    ['never makes it shorter', T + 60_000, T, T + 60_000],
    ['can take its end away', T, null, null],
    ['keeps it without an end', null, T, null],
  ])('of a held conversation %s', (_what, before, said, mutedUntil) => {
    const held = aConversation({ owner: 'human', heldBy: 'human', epoch: 2, mutedUntil: before });
    const { state } = decideTurn(held, { type: 'take_over', mutedUntil: said });
    expect(state).toMatchObject({ owner: 'human', heldBy: 'human', epoch: 3, mutedUntil });
  });

  it('by a human stands above that of Meta’s agent, whoever came first', () => {
    const byAgent: TurnFact = { type: 'take_over', mutedUntil: T, by: 'meta_agent' };
    const byHuman: TurnFact = { type: 'take_over', mutedUntil: T };
    expect(after([byAgent])).toMatchObject({ owner: 'human', heldBy: 'meta_agent' });
    expect(after([byAgent, byHuman]).heldBy).toBe('human');
    expect(after([byHuman, byAgent]).heldBy).toBe('human');
  });
});

describe('a release by Meta’s agent', () => {
  const byAgent: TurnFact = { type: 'take_over', mutedUntil: T, by: 'meta_agent' };

  it('gives the conversation back to the AI, under a new epoch', () => {
    expect(after([byAgent, { type: 'released' }])).toMatchObject({
      owner: 'ai',
      heldBy: null,
      epoch: 3,
      mutedUntil: null,
    });
  });

  it('says nothing when a human holds it, or the AI does', () => {
    const held = after([byAgent, { type: 'take_over', mutedUntil: T }]);
    expect(decideTurn(held, { type: 'released' }).state).toEqual(held);
    expect(decideTurn(newConversation(), { type: 'released' }).state).toEqual(newConversation());
  });
});

describe('a hand-back', () => {
  it('of what the AI already holds changes nothing', () => {
    const state = claimed();
    expect(decideTurn(state, { type: 'hand_back' })).toEqual({ state, verdict: { type: 'noted' } });
  });
});

describe('an opt-out', () => {
  it('closes what waited as opted_out, under a new epoch', () => {
    const { state, verdict } = decideTurn(claimed(), { type: 'opt_out', now: T + 2_500 });
    expect(verdict).toEqual({ type: 'closed', outcome: 'opted_out', first: 1, last: 1 });
    expect(state).toMatchObject({ owner: 'ai', epoch: 2, optedOutAt: T + 2_500, dueAt: null, answeredSeq: 1 });
    expect(decideTurn(state, aCommit()).verdict).toEqual({ type: 'stop' });
  });

  it('is undone by an opt-in, for what comes from then on', () => {
    const state = after([{ type: 'opt_out', now: T }, aMessage(), { type: 'opt_in' }]);
    expect(state).toMatchObject({ optedOutAt: null, inboundSeq: 0 });
    expect(decideTurn(state, aMessage()).verdict).toEqual({ type: 'numbered', number: 1 });
  });
});

describe('switching the AI or the channel', () => {
  it.each<[string, TurnFact, TurnFact]>([
    ['AI', { type: 'ai_enabled', value: false }, { type: 'ai_enabled', value: true }],
    ['channel', { type: 'channel_answers', value: false }, { type: 'channel_answers', value: true }],
  ])('leaves what waits due, so that it gets its outcome (%s)', (_, off, on) => {
    const waiting = after([aMessage()]);
    const { state, verdict } = decideTurn(waiting, off);
    expect(verdict).toEqual({ type: 'noted' });
    expect(decideTurn(state, { type: 'claim', now: T + 1_500 }).verdict).toMatchObject({ type: 'claimed' });
    expect(decideTurn(state, on).state).toEqual(waiting);
  });
});

describe('the checks before any model call', () => {
  const fine: Preflight = {
    now: T,
    conversation: { ...newConversation(), windowUntil: T + 1, claims: 1 },
    standing: 1,
    readable: 1,
    asksForHuman: false,
    planHasHandoff: true,
    quotaLeft: true,
    contactLimited: false,
    budgetLeft: true,
  };
  const holding = (given: Partial<ConversationState>) => (facts: Preflight) => ({
    ...facts,
    conversation: { ...facts.conversation, ...given },
  });
  const and = (given: Partial<Preflight>) => (facts: Preflight) => ({ ...facts, ...given });

  const inOrder: [name: string, outcome: TurnOutcome, breaking: (facts: Preflight) => Preflight][] = [
    ['channel', 'channel_off', holding({ channelAnswers: false })],
    ['human', 'human_held', holding({ owner: 'human' })],
    ['opt-out', 'opted_out', holding({ optedOutAt: T })],
    ['window', 'window_closed', holding({ windowUntil: T })],
    ['nothing left', 'nothing_to_answer', and({ standing: 0 })],
    ['handoff phrase', 'handed_off', and({ asksForHuman: true })],
    ['AI on', 'ai_off', holding({ aiEnabled: false })],
    ['only media', 'media_notice', and({ readable: 0 })],
    ['quota', 'over_quota', and({ quotaLeft: false })],
    ['contact limit', 'limited', and({ contactLimited: true })],
    ['token budget', 'limited', and({ budgetLeft: false })],
    ['claims', 'failed', holding({ claims: TURN_CLAIMS_MAX + 1 })],
  ];
  const pairs = inOrder.slice(1).map((later, index) => [inOrder[index] ?? later, later] as const);

  it('let a turn through in which nothing is wrong', () => {
    expect(decideBeforeModel(fine)).toBeUndefined();
  });

  it.each(inOrder)('end a turn on %s', (_, outcome, breaking) => {
    expect(decideBeforeModel(breaking(fine))).toBe(outcome);
  });

  it.each(pairs.map(([earlier, later]) => [earlier[0], later[0], earlier, later] as const))(
    'look at %s before %s',
    (_, __, [, outcome, breakEarlier], [, , breakLater]) => {
      expect(decideBeforeModel(breakLater(breakEarlier(fine)))).toBe(outcome);
    },
  );

  it('answer a handoff phrase with a notice when the plan has no handoff', () => {
    expect(decideBeforeModel({ ...fine, asksForHuman: true, planHasHandoff: false })).toBe('plan_notice');
  });

  it('find the window closed when it was never opened', () => {
    expect(decideBeforeModel(holding({ windowUntil: null })(fine))).toBe('window_closed');
  });

  it('still let the fifth claim try', () => {
    expect(decideBeforeModel(holding({ claims: TURN_CLAIMS_MAX })(fine))).toBeUndefined();
  });
});
