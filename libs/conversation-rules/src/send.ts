/**
 * The rules of a send, as a pure function over (state of a send, fact).
 *
 * A send is one Graph call that must happen once. Meta has no idempotency key, so a call whose answer was lost is
 * `unknown` until a status webhook names its attempt, or until it is certain that no status is on its way.
 *
 * Times are milliseconds of the database's clock.
 */

/** No call starts later than this after its claim: the epoch and the window were checked then. */
export const CALL_START_LIMIT_MS = 5_000;
/** How long a call may take. Graph answers in well under 1 s; 10 s spares a slow one. */
export const CALL_TIMEOUT_MS = 10_000;
/** A `sending` older than this has lost its worker: the call's limits add up to 15 s, the rest is slack. */
export const SENDING_LOST_MS = 20_000;
/** How long gateways must have been accepting webhooks before silence counts as proof that Meta did not take a call. */
export const UNKNOWN_PROOF_MS = 90_000;
/** Retries end this long after the first attempt of their run. */
export const RETRY_DEADLINE_MS = 10 * 60 * 1000;
/** First delay after a refusal that may pass; it doubles up to the cap. */
export const RETRY_FIRST_MS = 1_000;
export const RETRY_CAP_MS = 60_000;
/** Calls whose answer was lost. Each may be a double, so a Graph that never answers is not called for ever. */
export const UNKNOWN_ATTEMPTS_MAX = 3;

export type SendPhase = 'pending' | 'retry' | 'sending' | 'unknown' | 'accepted' | 'failed' | 'superseded';
/** How far Meta says it came; it only moves forward (Cloud API, "Message status webhooks"). */
export type Delivery = 'sent' | 'delivered' | 'read' | 'played';
const DELIVERY_ORDER: readonly Delivery[] = ['sent', 'delivered', 'read', 'played'];

export interface AttemptState {
  readonly id: string;
  readonly phase: 'calling' | 'unknown' | 'not_sent' | 'refused' | 'accepted';
  readonly startedAt: number;
}

export interface SendState {
  /** AI sends are thrown away under a newer epoch; a human's and the system's are not. */
  readonly author: 'ai' | 'human' | 'system';
  readonly epoch: number;
  /** The AI's, and somebody has taken over since: what is under way may still arrive, and nothing is called again. */
  readonly silenced: boolean;
  readonly phase: SendPhase;
  /** When to try next; null while it waits for the channel to be reconnected. */
  readonly dueAt: number | null;
  readonly attempts: readonly AttemptState[];
  readonly delivery: Delivery | null;
  /** Stable code of the last failure, or null. */
  readonly failure: string | null;
  /** Refusals in a row for writing to the same person too fast (131056). */
  readonly pairRefusals: number;
  /** First attempt of the present run of retries; a reconnect or a proof of silence begins a new run. */
  readonly retryingSince: number | null;
}

/** What a refusal by Graph asks for. */
export type Retry = 'never' | 'backoff' | 'pair' | 'after_reconnect';

export type SendFact =
  | {
      readonly type: 'claim';
      readonly now: number;
      readonly attemptId: string;
      readonly conversationEpoch: number;
      /** The channel is on. */
      readonly channelAnswers: boolean;
      readonly aiEnabled: boolean;
      readonly windowUntil: number | null;
      /** The sends before it in the conversation: all done, some not, or an earlier part of the same reply failed or was superseded. */
      readonly earlier: 'done' | 'waiting' | 'part_failed';
    }
  | { readonly type: 'accepted'; readonly attemptId: string }
  | {
      readonly type: 'refused';
      readonly now: number;
      readonly attemptId: string;
      readonly retry: Retry;
      readonly code: string;
      readonly retryAfterMs?: number | undefined;
    }
  /** Known not to have left us: refused connection, or the worker did not call. */
  | { readonly type: 'not_sent'; readonly now: number; readonly attemptId: string; readonly code: string }
  /** The call may or may not have happened: time-out, cut connection, a 5xx without a Graph body. */
  | { readonly type: 'unanswered'; readonly attemptId: string }
  /** The sweep; `quiet` says that 90 s of accepted webhooks have been read without a word about this attempt. */
  | { readonly type: 'sweep'; readonly now: number; readonly windowUntil: number | null; readonly quiet: boolean }
  | {
      readonly type: 'status';
      readonly attemptId: string | null;
      readonly status: Delivery | 'failed';
      readonly code?: string;
    }
  | { readonly type: 'take_over' }
  /** Nothing more is to be said, by anybody: the channel is disconnected, or the contact is being deleted. */
  | { readonly type: 'called_off'; readonly code: string }
  | { readonly type: 'reconnected'; readonly now: number };

export interface SendDecision {
  readonly state: SendState;
  /** Only after `claim`: whether to call now. */
  readonly call: boolean;
}

/** A send as the turn's commit stores it. */
export function newSend(author: SendState['author'], epoch: number, now: number): SendState {
  return {
    author,
    epoch,
    silenced: false,
    phase: 'pending',
    dueAt: now,
    attempts: [],
    delivery: null,
    failure: null,
    pairRefusals: 0,
    retryingSince: null,
  };
}

/** Whether a send is over for those behind it. `accepted` may still gather statuses. */
export function isSettled(phase: SendPhase): boolean {
  return phase === 'accepted' || phase === 'failed' || phase === 'superseded';
}

/**
 * Whether the debit of a reply goes back: all its sends are over, none was accepted and no attempt may have been.
 */
export function givesBackDebit(sends: readonly Pick<SendState, 'phase' | 'attempts'>[]): boolean {
  return sends.every(
    ({ phase, attempts }) =>
      (phase === 'failed' || phase === 'superseded') &&
      attempts.every((attempt) => attempt.phase === 'not_sent' || attempt.phase === 'refused'),
  );
}

/** Applies one fact. Pure: same input, same output, nothing else touched. */
export function decideSend(state: SendState, fact: SendFact): SendDecision {
  const { state: after, call } = decide(state, fact);
  // Also when a call that was under way at the take-over ends in doubt: what is said now does not wait for its end.
  return { state: after.silenced ? supersede(after, after.failure) : after, call };
}

function decide(state: SendState, fact: SendFact): SendDecision {
  switch (fact.type) {
    case 'claim':
      return claim(state, fact);
    case 'accepted':
      return stay(accept(state, fact.attemptId));
    case 'refused': {
      const noted = withAttempt(state, fact.attemptId, 'refused');
      if (!isCurrent(state, fact.attemptId)) return stay(noted);
      if (fact.retry === 'never') return stay(fail(noted, fact.code));
      if (fact.retry === 'after_reconnect') {
        return stay({ ...noted, phase: 'retry', dueAt: null, failure: fact.code });
      }
      const pairRefusals = fact.retry === 'pair' ? state.pairRefusals + 1 : 0;
      const delay = fact.retry === 'pair' ? pairDelay(state.pairRefusals) : backoff(state.attempts.length);
      const wait = Math.max(delay, fact.retryAfterMs ?? 0);
      return stay(retryAt({ ...noted, pairRefusals }, fact.now, fact.now + wait, fact.code));
    }
    case 'not_sent': {
      const noted = withAttempt(state, fact.attemptId, 'not_sent');
      if (!isCurrent(state, fact.attemptId)) return stay(noted);
      return stay(retryAt(noted, fact.now, fact.now + backoff(state.attempts.length), fact.code));
    }
    case 'unanswered': {
      const noted = withAttempt(state, fact.attemptId, 'unknown');
      return stay(
        state.phase === 'sending' && isCurrent(state, fact.attemptId) ? { ...noted, phase: 'unknown' } : noted,
      );
    }
    case 'sweep':
      return stay(sweep(state, fact));
    case 'status':
      return stay(applyStatus(state, fact));
    case 'take_over':
      return stay(state.author === 'ai' && !state.silenced ? { ...state, silenced: true } : state);
    case 'called_off':
      return stay(supersede(state, fact.code));
    case 'reconnected':
      if (state.phase !== 'retry' || state.dueAt !== null) return stay(state);
      return stay({ ...state, dueAt: fact.now, retryingSince: null });
  }
}

type FactOf<Type extends SendFact['type']> = Extract<SendFact, { type: Type }>;

const stay = (state: SendState): SendDecision => ({ state, call: false });

function claim(state: SendState, fact: FactOf<'claim'>): SendDecision {
  if (state.phase !== 'pending' && state.phase !== 'retry') return stay(state);
  const isSilenced = state.epoch !== fact.conversationEpoch || !fact.aiEnabled;
  if (state.author === 'ai' && isSilenced) return stay({ ...state, phase: 'superseded', dueAt: null });
  if (!fact.channelAnswers) return stay({ ...state, phase: 'superseded', dueAt: null, failure: 'channel_off' });
  if (fact.earlier === 'part_failed') return stay(fail(state, 'earlier_part_failed'));
  if (fact.windowUntil === null || fact.windowUntil <= fact.now) return stay(fail(state, 'window_closed'));
  if (fact.earlier === 'waiting' || state.dueAt === null || state.dueAt > fact.now) return stay(state);
  const attempt: AttemptState = { id: fact.attemptId, phase: 'calling', startedAt: fact.now };
  const retryingSince = state.retryingSince ?? fact.now;
  const attempts = [...state.attempts, attempt];
  return { state: { ...state, phase: 'sending', dueAt: null, attempts, retryingSince }, call: true };
}

function sweep(state: SendState, fact: FactOf<'sweep'>): SendState {
  const current = state.attempts.at(-1);
  const windowClosed = fact.windowUntil === null || fact.windowUntil <= fact.now;
  switch (state.phase) {
    case 'sending':
      if (!current || fact.now - current.startedAt <= SENDING_LOST_MS) return state;
      return { ...withAttempt(state, current.id, 'unknown'), phase: 'unknown' };
    case 'unknown':
      if (windowClosed) return fail(state, 'window_closed');
      if (!fact.quiet || !current || fact.now - current.startedAt < UNKNOWN_PROOF_MS) return state;
      return tryAgain(withAttempt(state, current.id, 'not_sent'), fact.now);
    case 'pending':
    case 'retry':
      return windowClosed ? fail(state, 'window_closed') : state;
    case 'accepted':
    case 'failed':
    case 'superseded':
      return state;
  }
}

function applyStatus(state: SendState, fact: FactOf<'status'>): SendState {
  // Any word about an attempt, a failure too, means that Graph had taken the call.
  const taken = fact.attemptId === null ? state : accept(state, fact.attemptId);
  if (fact.status === 'failed') {
    // A later attempt that was accepted is not undone by what became of an earlier one.
    const isNewest = fact.attemptId === null || fact.attemptId === state.attempts.at(-1)?.id;
    return isNewest && (taken.delivery === null || taken.delivery === 'sent')
      ? { ...taken, failure: fact.code ?? 'failed' }
      : taken;
  }
  const isFurther = taken.delivery === null || rank(fact.status) > rank(taken.delivery);
  return isFurther ? { ...taken, delivery: fact.status } : taken;
}

/** Position of a delivery state: a later one never gives way to an earlier one. */
export function rank(delivery: Delivery): number {
  return DELIVERY_ORDER.indexOf(delivery);
}

function accept(state: SendState, attemptId: string): SendState {
  const noted = withAttempt(state, attemptId, 'accepted');
  return noted.phase === 'accepted' ? noted : { ...noted, phase: 'accepted', dueAt: null, failure: null };
}

function withAttempt(state: SendState, attemptId: string, phase: AttemptState['phase']): SendState {
  // Accepted is a fact about the world; what a slow answer or a sweep believes later does not change it.
  const changes = ({ id, phase: before }: AttemptState): boolean =>
    id === attemptId && before !== 'accepted' && before !== phase;
  if (!state.attempts.some(changes)) return state;
  return { ...state, attempts: state.attempts.map((attempt) => (changes(attempt) ? { ...attempt, phase } : attempt)) };
}

/** It was silent for so long that the call cannot have been taken. */
function tryAgain(state: SendState, now: number): SendState {
  if (state.attempts.length >= UNKNOWN_ATTEMPTS_MAX) return fail(state, 'no_answer');
  return { ...state, phase: 'retry', dueAt: now, failure: 'no_answer', retryingSince: null };
}

/** Whether the attempt's own worker still speaks for the send. */
function isCurrent(state: SendState, attemptId: string): boolean {
  const isLatest = state.attempts.at(-1)?.id === attemptId;
  return isLatest && (state.phase === 'sending' || state.phase === 'unknown');
}

/** What has not left is not sent any more. A call under way cannot be taken back, and one whose answer was lost is not made again. */
function supersede(state: SendState, failure: string | null): SendState {
  if (state.phase !== 'pending' && state.phase !== 'retry' && state.phase !== 'unknown') return state;
  return { ...state, phase: 'superseded', dueAt: null, failure };
}

function fail(state: SendState, code: string): SendState {
  return { ...state, phase: 'failed', dueAt: null, failure: code };
}

function retryAt(state: SendState, now: number, dueAt: number, code: string): SendState {
  const isOver = state.retryingSince !== null && dueAt - state.retryingSince > RETRY_DEADLINE_MS;
  return isOver ? fail(state, code) : { ...state, phase: 'retry', dueAt: Math.max(dueAt, now), failure: code };
}

/** 1 s, 2 s, 4 s … 60 s. */
function backoff(attempts: number): number {
  return Math.min(RETRY_FIRST_MS * 2 ** Math.max(0, attempts - 1), RETRY_CAP_MS);
}

/** Meta: "retry after 4^X seconds, X starting at 0" (About the platform, pair rate limits). */
function pairDelay(refusals: number): number {
  return 4 ** refusals * 1000;
}
