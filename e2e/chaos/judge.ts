import { codeOf, codesIn } from './catalogue.ts';

/** One message of the sender's list. */
export interface SentMessage {
  /** Meta's id. */
  readonly id: string;
  /** The phone it came from. */
  readonly waId: string;
  readonly phoneNumberId: string;
  readonly shop: number;
  /** Meta's time in seconds; no two of one sender are the same. */
  readonly second: number;
  /** Place in the sender's round of goods; null: asks for what no passage has. */
  readonly place: number | null;
  /** It was stored while the turn of the message before it was being answered, so both must get one answer. */
  readonly joinsTurnBefore?: boolean;
}

/** A line of the sandbox's journal, as far as the judge reads it. */
export interface AcceptedCall {
  readonly at: string;
  readonly kind: string;
  readonly phoneNumberId: string;
  readonly to?: string;
  readonly contextMessageId?: string;
  readonly body?: string;
  readonly callbackData?: string;
  readonly failsWith?: number;
}

/** What the product says of itself at the end. */
export interface Books {
  readonly debits: number;
  readonly deadLetters: number;
}

/** One thing that must not have happened. */
export interface Violation {
  readonly rule:
    | 'not_covered'
    | 'out_of_order'
    | 'answered_twice'
    | 'same_attempt_twice'
    | 'no_attempt_id'
    | 'quotes_nothing_known'
    | 'wrong_recipient'
    | 'wrong_content'
    | 'answered_apart'
    | 'send_failed'
    | 'debits_differ'
    | 'dead_letters';
  /** Last digits of the sender, '' when it is about none. */
  readonly sender: string;
  readonly what: string;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly figures: {
    readonly messages: number;
    readonly replies: number;
    readonly answers: number;
    readonly abstains: number;
    /** Replies that are neither, such as the fallback. */
    readonly others: number;
    /** Replies to more than one message. */
    readonly joined: number;
    /** Second calls of a send whose first one was left unanswered (DESIGN 3.6). */
    readonly doubles: number;
  };
}

/** A send is tried again this long after its attempt, when nothing was heard of it. An earlier second call is a bug. */
export const PROOF_OF_SILENCE_MS = 90_000;

/**
 * Judges a run from the wire alone. A reply quotes the last message of its turn, turns of a sender follow each other without a
 * gap, so a reply covers what lies between the message quoted before and the one it quotes; that it was really made from all of
 * these, and from nothing else, its code tells.
 *
 * @param abstainText what is said when the knowledge base has no answer
 */
export function judge(input: {
  readonly sent: readonly SentMessage[];
  readonly journal: readonly AcceptedCall[];
  readonly books: Books;
  readonly abstainText: string;
}): Verdict {
  const { sent, journal, books, abstainText } = input;
  const violations: Violation[] = [];
  const object = (rule: Violation['rule'], waId: string, what: string): void => {
    violations.push({ rule, sender: waId.slice(-4), what });
  };
  const calls = journal.filter(({ kind }) => kind === 'text');
  const byId = new Map(sent.map((message) => [message.id, message]));
  const senders = Map.groupBy(sent, senderOf);
  const repliesOf = new Map<string, { call: AcceptedCall; message: SentMessage }[]>();
  const figures = { messages: sent.length, replies: 0, answers: 0, abstains: 0, others: 0, joined: 0, doubles: 0 };

  const attempts = new Set<string>();
  for (const call of calls) {
    const message = byId.get(call.contextMessageId ?? '');
    const to = (call.to ?? '').replace(/^\+/, '');
    if (call.callbackData === undefined) object('no_attempt_id', to, `a reply at ${call.at}`);
    else if (attempts.has(call.callbackData)) object('same_attempt_twice', to, `attempt ${call.callbackData}`);
    attempts.add(call.callbackData ?? '');
    if (call.failsWith !== undefined) object('send_failed', to, `accepted, then failed with ${String(call.failsWith)}`);
    if (!message) {
      object('quotes_nothing_known', to, `a reply at ${call.at} quotes ${short(call.contextMessageId ?? 'nothing')}`);
      continue;
    }
    if (message.waId !== to || message.phoneNumberId !== call.phoneNumberId) {
      object('wrong_recipient', to, `got the reply to a message of …${message.waId.slice(-4)}`);
      continue;
    }
    const key = senderOf(message);
    const replies = repliesOf.get(key) ?? [];
    repliesOf.set(key, replies);
    const first = replies.find((reply) => reply.message === message);
    if (!first) {
      replies.push({ call, message });
      continue;
    }
    const apartMs = Date.parse(call.at) - Date.parse(first.call.at);
    const isAllowed = apartMs >= PROOF_OF_SILENCE_MS && call.body === first.call.body;
    if (isAllowed) figures.doubles += 1;
    else object('answered_twice', to, `message ${short(message.id)}, ${String(apartMs)} ms apart`);
  }

  for (const [key, messages] of senders) {
    messages.sort((a, b) => a.second - b.second);
    const replies = repliesOf.get(key) ?? [];
    let covered = 0;
    for (const { call, message } of replies) {
      const until = messages.indexOf(message) + 1;
      if (until <= covered) {
        object('out_of_order', message.waId, `message ${short(message.id)} was answered after a later one`);
        continue;
      }
      const turn = messages.slice(covered, until);
      covered = until;
      figures.replies += 1;
      if (turn.length > 1) figures.joined += 1;
      if (messages[until]?.joinsTurnBefore) {
        const next = short(messages[until].id);
        object('answered_apart', message.waId, `message ${next} came while ${short(message.id)} was being answered`);
      }
      checkContent(call, turn);
    }
    for (const { id, waId } of messages.slice(covered))
      object('not_covered', waId, `message ${short(id)} has no reply`);
  }

  function checkContent(call: AcceptedCall, turn: readonly SentMessage[]): void {
    const [first] = turn;
    if (!first) return;
    const codes = codesIn(call.body ?? '');
    const isAbstain = call.body === abstainText;
    if (codes.length > 0) figures.answers += 1;
    else if (isAbstain) figures.abstains += 1;
    else figures.others += 1;
    if (codes.length === 0 && !isAbstain) return;
    const expected = first.place === null ? 'abstain' : codeOf(first.shop, first.place, turn.length);
    const found = isAbstain ? 'abstain' : codes.join(' ');
    if (found === expected) return;
    const ids = turn.map(({ id }) => short(id)).join(', ');
    object('wrong_content', first.waId, `the reply to ${ids} says ${found}, not ${expected}`);
  }

  const counted = figures.answers + figures.abstains;
  if (books.debits !== counted) {
    object('debits_differ', '', `${String(books.debits)} debits, ${String(counted)} replies that count`);
  }
  if (books.deadLetters > 0) object('dead_letters', '', `${String(books.deadLetters)} dead letters`);
  return { violations, figures };
}

/** Enough of an id to find it in the journal. */
const short = (id: string): string => id.slice(-10);

const senderOf = ({ phoneNumberId, waId }: { phoneNumberId: string; waId: string }): string =>
  `${phoneNumberId} ${waId}`;
