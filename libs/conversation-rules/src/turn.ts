/**
 * The rules of a turn, as a pure function over (state of a conversation, fact).
 *
 * The conversation row is the queue: `dueAt` says when somebody should look, `fence` names the worker that looks,
 * `epoch` says under whose hand (AI or human), `inboundSeq` numbers what came in and `answeredSeq` says how far it was
 * answered. Ingest runs this function under the row's lock; the claim and the commit do the same in SQL, and
 * a test runs both side by side on a real Postgres.
 *
 * Times are milliseconds of the database's clock, but for `sentAt`, which is Meta's.
 */

/** A lease is renewed every 5 s, so three renewals must be missed before another worker takes over. */
export const TURN_LEASE_MS = 15_000;
/** How often a lease is renewed. */
export const TURN_LEASE_RENEWAL_MS = 5_000;
/** Someone who keeps typing is answered once their first message is this old; what comes later is the next turn. */
export const TURN_PATIENCE_MS = 20_000;
/** Meta's customer service window, reopened by each message of the contact (Cloud API, "Send messages"). */
export const SERVICE_WINDOW_MS = 24 * 60 * 60 * 1000;
/** How long the AI is silent after a human was asked for or has spoken; each word of a human begins it anew. */
export const HUMAN_HOLD_MS = 24 * 60 * 60 * 1000;
/** An inbound message that is older by Meta's clock is shown, not answered: its window is closed. */
export const HISTORY_AGE_MS = SERVICE_WINDOW_MS;
/** A turn that its worker did not survive so often ends as `failed`, with the honest fallback. */
export const TURN_CLAIMS_MAX = 5;

/** Why a turn ended. Every turn ends in exactly one. */
export type TurnOutcome =
  | 'replied'
  | 'abstained'
  | 'fallback'
  | 'handed_off'
  | 'media_notice'
  | 'plan_notice'
  | 'over_quota'
  | 'limited'
  | 'opted_out'
  | 'ai_off'
  | 'human_held'
  | 'window_closed'
  | 'channel_off'
  | 'nothing_to_answer'
  | 'failed';

/** Who holds a conversation that our AI does not: people of the business, or Meta's own agent on the same number. */
export type Holder = 'human' | 'meta_agent';

/** What the rules need to know of a conversation, its channel and its chatbot. */
export interface ConversationState {
  readonly owner: 'ai' | 'human';
  /** Null while the AI holds it. */
  readonly heldBy: Holder | null;
  readonly epoch: number;
  readonly fence: number;
  readonly leaseUntil: number | null;
  /** Claims since the last commit. */
  readonly claims: number;
  readonly inboundSeq: number;
  readonly answeredSeq: number;
  readonly dueAt: number | null;
  /** Arrival of the first numbered message that has no outcome yet. */
  readonly firstUnansweredAt: number | null;
  readonly windowUntil: number | null;
  /** Until when a human holds it; null with owner `human` means until they hand it back. */
  readonly mutedUntil: number | null;
  readonly optedOutAt: number | null;
  readonly channelAnswers: boolean;
  readonly aiEnabled: boolean;
}

/** How long to wait for more before answering, of the chatbot. */
export interface QuietWindow {
  readonly quietMs: number;
  readonly quietMaxMs: number;
}

export type TurnFact =
  /** A message that was really inserted. `answerable` is false for reactions, stickers, system and group messages. */
  | ({
      readonly type: 'message';
      readonly now: number;
      readonly answerable: boolean;
      /** We only hear it: Meta's own agent answers it. */
      readonly isOverheard?: boolean;
      readonly sentAt: number;
    } & QuietWindow)
  /** The contact edited or revoked the message with this number (null: it was never numbered). */
  | ({ readonly type: 'amended'; readonly now: number; readonly number: number | null } & QuietWindow)
  | { readonly type: 'claim'; readonly now: number }
  /** The worker of `fence` asks whether what it works on can still be committed. */
  | {
      readonly type: 'renew';
      readonly now: number;
      readonly fence: number;
      readonly epoch: number;
      readonly read: number;
    }
  | {
      readonly type: 'commit';
      readonly now: number;
      readonly fence: number;
      readonly epoch: number;
      readonly read: number;
      /** Who speaks in it: the AI must be on for the AI, the channel must answer for anybody; silence needs nothing. */
      readonly speaks: 'ai' | 'system' | null;
      /** Arrival of the first message numbered above `read`, or null. */
      readonly firstLeftAt: number | null;
    }
  /** The worker gives the turn back, to be claimed again at `dueAt`. */
  | { readonly type: 'give_back'; readonly fence: number; readonly dueAt: number }
  /** The worker was told `again` and may wait: what came meanwhile can be in disorder until its quiet window is over. */
  | { readonly type: 'step_back'; readonly now: number; readonly fence: number }
  /** Somebody else speaks from now on, a human unless told. While it is held already, the later end of the mute stands. */
  | { readonly type: 'take_over'; readonly mutedUntil: number | null; readonly by?: Holder }
  | { readonly type: 'hand_back' }
  /** Meta's agent gave the conversation up: back to the AI, unless a human has come in between. */
  | { readonly type: 'released' }
  | { readonly type: 'opt_out'; readonly now: number }
  | { readonly type: 'opt_in' }
  | { readonly type: 'ai_enabled'; readonly value: boolean }
  | { readonly type: 'channel_answers'; readonly value: boolean };

/** What became of the fact; the state says the rest. */
export type TurnVerdict =
  /** It waits for its turn under this number. */
  | { readonly type: 'numbered'; readonly number: number }
  /** Stored and shown, never answered. */
  | { readonly type: 'history'; readonly reason: HistoryReason }
  | { readonly type: 'noted' }
  | { readonly type: 'claimed'; readonly fence: number; readonly epoch: number; readonly read: number }
  | { readonly type: 'not_due' }
  | { readonly type: 'keep' }
  /** Nothing of this worker's can be committed any more. */
  | { readonly type: 'stop' }
  /** Same turn, but something changed: read again and start over. */
  | { readonly type: 'again' }
  | { readonly type: 'committed' }
  /** Numbers `first`..`last` will not be answered any more and get this outcome; null: nothing waited. */
  | { readonly type: 'closed'; readonly outcome: TurnOutcome; readonly first: number; readonly last: number }
  | { readonly type: 'nothing_waited' };

export type HistoryReason = 'not_answerable' | 'human_held' | 'ai_off' | 'opted_out' | 'channel_off' | 'too_old';

export interface TurnDecision {
  readonly state: ConversationState;
  readonly verdict: TurnVerdict;
}

/** A conversation nobody has written in. */
export function newConversation(): ConversationState {
  return {
    owner: 'ai',
    heldBy: null,
    epoch: 1,
    fence: 0,
    leaseUntil: null,
    claims: 0,
    inboundSeq: 0,
    answeredSeq: 0,
    dueAt: null,
    firstUnansweredAt: null,
    windowUntil: null,
    mutedUntil: null,
    optedOutAt: null,
    channelAnswers: true,
    aiEnabled: true,
  };
}

/** Whether it is held by somebody whose time is over; the next message is the AI's again. */
export function isMuteOver({ owner, mutedUntil }: ConversationState, now: number): boolean {
  return owner === 'human' && mutedUntil !== null && mutedUntil <= now;
}

/** Applies one fact. Pure: same input, same output, nothing else touched. */
export function decideTurn(state: ConversationState, fact: TurnFact): TurnDecision {
  switch (fact.type) {
    case 'message':
      return receive(state, fact);
    case 'amended':
      return amend(state, fact);
    case 'claim': {
      const due = state.dueAt !== null && state.dueAt <= fact.now;
      const free = state.leaseUntil === null || state.leaseUntil <= fact.now;
      if (!due || !free) return { state, verdict: { type: 'not_due' } };
      const fence = state.fence + 1;
      return {
        state: { ...state, fence, leaseUntil: fact.now + TURN_LEASE_MS, claims: state.claims + 1 },
        verdict: { type: 'claimed', fence, epoch: state.epoch, read: state.inboundSeq },
      };
    }
    case 'renew': {
      const isOver = state.leaseUntil === null;
      if (isOver || fact.fence !== state.fence || fact.epoch !== state.epoch)
        return { state, verdict: { type: 'stop' } };
      const renewed = { ...state, leaseUntil: fact.now + TURN_LEASE_MS };
      return { state: renewed, verdict: { type: mustStartOver(state, fact) ? 'again' : 'keep' } };
    }
    case 'commit': {
      if (fact.fence !== state.fence || fact.epoch !== state.epoch) return { state, verdict: { type: 'stop' } };
      const silenced = (fact.speaks !== null && !state.channelAnswers) || (fact.speaks === 'ai' && !state.aiEnabled);
      if (silenced || mustStartOver(state, fact)) return { state, verdict: { type: 'again' } };
      const newerWaits = state.inboundSeq > fact.read;
      return {
        state: {
          ...state,
          answeredSeq: fact.read,
          leaseUntil: null,
          claims: 0,
          dueAt: newerWaits ? state.dueAt : null,
          firstUnansweredAt: newerWaits ? fact.firstLeftAt : null,
        },
        verdict: { type: 'committed' },
      };
    }
    case 'give_back': {
      if (fact.fence !== state.fence) return { state, verdict: { type: 'stop' } };
      // A take-over may have closed the turn meanwhile: then nothing waits, and nothing must become due.
      const waits = state.inboundSeq > state.answeredSeq;
      return { state: { ...state, leaseUntil: null, dueAt: waits ? fact.dueAt : null }, verdict: { type: 'noted' } };
    }
    case 'step_back': {
      if (fact.fence !== state.fence) return { state, verdict: { type: 'stop' } };
      if (state.dueAt === null || state.dueAt <= fact.now) return { state, verdict: { type: 'again' } };
      // Its worker is well, so this claim does not count against the turn.
      const claims = Math.max(0, state.claims - 1);
      return { state: { ...state, leaseUntil: null, claims }, verdict: { type: 'noted' } };
    }
    case 'take_over': {
      const held = { owner: 'human', heldBy: state.heldBy === 'human' ? 'human' : (fact.by ?? 'human') } as const;
      return close(
        { ...state, ...held, epoch: state.epoch + 1, mutedUntil: muteAfter(state, fact.mutedUntil) },
        'human_held',
      );
    }
    case 'hand_back':
      if (state.owner === 'ai') return { state, verdict: { type: 'noted' } };
      return { state: returnToAi(state), verdict: { type: 'noted' } };
    case 'released':
      return { state: state.heldBy === 'meta_agent' ? returnToAi(state) : state, verdict: { type: 'noted' } };
    case 'opt_out':
      // The same fence as a take-over: what the AI was about to say must not reach someone who said stop.
      return close({ ...state, epoch: state.epoch + 1, optedOutAt: fact.now }, 'opted_out');
    case 'opt_in':
      return { state: { ...state, optedOutAt: null }, verdict: { type: 'noted' } };
    case 'ai_enabled':
      return { state: { ...state, aiEnabled: fact.value }, verdict: { type: 'noted' } };
    case 'channel_answers':
      return { state: { ...state, channelAnswers: fact.value }, verdict: { type: 'noted' } };
  }
}

type FactOf<Type extends TurnFact['type']> = Extract<TurnFact, { type: Type }>;

function receive(before: ConversationState, fact: FactOf<'message'>): TurnDecision {
  let state = isMuteOver(before, fact.now) ? returnToAi(before) : before;
  // A clock that runs ahead at Meta must not hold the window open longer than 24 h from now.
  const opened = Math.min(fact.sentAt, fact.now) + SERVICE_WINDOW_MS;
  if (fact.answerable) state = { ...state, windowUntil: Math.max(state.windowUntil ?? 0, opened) };

  const reason = historyReason(state, fact);
  if (reason) return { state, verdict: { type: 'history', reason } };
  const number = state.inboundSeq + 1;
  return { state: schedule({ ...state, inboundSeq: number }, fact), verdict: { type: 'numbered', number } };
}

function historyReason(state: ConversationState, fact: FactOf<'message'>): HistoryReason | undefined {
  if (!fact.answerable) return 'not_answerable';
  if (!state.channelAnswers) return 'channel_off';
  if (state.owner === 'human' || fact.isOverheard === true) return 'human_held';
  if (state.optedOutAt !== null) return 'opted_out';
  if (!state.aiEnabled) return 'ai_off';
  if (fact.now - fact.sentAt > HISTORY_AGE_MS) return 'too_old';
  return undefined;
}

function amend(state: ConversationState, fact: FactOf<'amended'>): TurnDecision {
  if (fact.number === null || fact.number <= state.answeredSeq) return { state, verdict: { type: 'noted' } };
  const number = state.inboundSeq + 1;
  return { state: schedule({ ...state, inboundSeq: number }, fact), verdict: { type: 'numbered', number } };
}

function schedule(state: ConversationState, fact: { readonly now: number } & QuietWindow): ConversationState {
  const firstUnansweredAt = state.firstUnansweredAt ?? fact.now;
  const dueAt = Math.min(fact.now + fact.quietMs, firstUnansweredAt + fact.quietMaxMs);
  return { ...state, firstUnansweredAt, dueAt };
}

function mustStartOver(state: ConversationState, fact: { readonly now: number; readonly read: number }): boolean {
  const isPatient = state.firstUnansweredAt === null || fact.now - state.firstUnansweredAt < TURN_PATIENCE_MS;
  return state.inboundSeq !== fact.read && isPatient;
}

function returnToAi(state: ConversationState): ConversationState {
  return { ...state, owner: 'ai', heldBy: null, epoch: state.epoch + 1, mutedUntil: null };
}

/** A mute that runs never becomes shorter; one without an end stays so until it is handed back. */
function muteAfter(state: ConversationState, mutedUntil: number | null): number | null {
  if (state.owner === 'ai') return mutedUntil;
  return state.mutedUntil === null || mutedUntil === null ? null : Math.max(state.mutedUntil, mutedUntil);
}

function close(state: ConversationState, outcome: TurnOutcome): TurnDecision {
  const closed = {
    ...state,
    answeredSeq: state.inboundSeq,
    dueAt: null,
    firstUnansweredAt: null,
    leaseUntil: null,
    claims: 0,
  };
  if (state.inboundSeq === state.answeredSeq) return { state: closed, verdict: { type: 'nothing_waited' } };
  return {
    state: closed,
    verdict: { type: 'closed', outcome, first: state.answeredSeq + 1, last: state.inboundSeq },
  };
}

/** What is known when a turn was claimed and read, before any model is asked. */
export interface Preflight {
  readonly now: number;
  readonly conversation: Pick<
    ConversationState,
    'owner' | 'optedOutAt' | 'windowUntil' | 'channelAnswers' | 'aiEnabled' | 'claims'
  >;
  /** Messages of the turn that still stand (revoked ones are gone). */
  readonly standing: number;
  /** Those of them that say something the AI can read. */
  readonly readable: number;
  readonly asksForHuman: boolean;
  readonly planHasHandoff: boolean;
  readonly quotaLeft: boolean;
  readonly contactLimited: boolean;
  readonly budgetLeft: boolean;
}

/**
 * The outcome that a turn gets without asking any model, or undefined: answer it.
 * The order is part of the contract: who may speak at all, then what was asked, then what it may cost.
 */
export function decideBeforeModel(facts: Preflight): TurnOutcome | undefined {
  const { conversation } = facts;
  if (!conversation.channelAnswers) return 'channel_off';
  if (conversation.owner === 'human') return 'human_held';
  if (conversation.optedOutAt !== null) return 'opted_out';
  if (conversation.windowUntil === null || conversation.windowUntil <= facts.now) return 'window_closed';
  if (facts.standing === 0) return 'nothing_to_answer';
  if (facts.asksForHuman) return facts.planHasHandoff ? 'handed_off' : 'plan_notice';
  if (!conversation.aiEnabled) return 'ai_off';
  if (facts.readable === 0) return 'media_notice';
  if (!facts.quotaLeft) return 'over_quota';
  if (facts.contactLimited) return 'limited';
  if (!facts.budgetLeft) return 'limited';
  if (conversation.claims > TURN_CLAIMS_MAX) return 'failed';
  return undefined;
}
