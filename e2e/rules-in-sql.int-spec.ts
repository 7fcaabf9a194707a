import { webhookSubject } from '@answerline/contracts';
import {
  decideSend,
  decideTurn,
  givesBackDebit,
  isMuteOver,
  isSettled,
  type Holder,
  type QuietWindow,
  type ConversationState,
  type SendFact,
  type SendState,
  type TurnFact,
} from '@answerline/conversation-rules';
import { StoreWebhooks } from '@answerline/feature-ingest';
import { createLogger } from '@answerline/logging';
import { type Delivery } from '@answerline/messaging';
import {
  changeOwnership,
  Database,
  lockConversations,
  lockSends,
  migrateDatabase,
  newId,
  type OwnershipFact,
} from '@answerline/persistence';
import {
  createTestDatabase,
  seedChannel,
  seedConversation,
  seedReply,
  type SeededChannel,
  type SeededConversation,
  type SeededReply,
  type TestDatabase,
} from '@answerline/testing';
import { SecretBox } from '@answerline/secrets';
import { classifyGraphError, type SendOutcome } from '@answerline/whatsapp';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { claimSends, type ClaimedSend } from '../libs/features/notifier/src/send-reply/claim-sends.ts';
import { storeNotCalled, storeOutcomes } from '../libs/features/notifier/src/send-reply/store-outcomes.ts';
import { settleSends } from '../libs/features/notifier/src/settle-sends/settle-sends.ts';
import { claimTurns, giveBack, renewLease } from '../libs/features/rag/src/answer-turn/claim-turns.ts';
import { commitTurn } from '../libs/features/rag/src/answer-turn/commit-turn.ts';
import { type TurnResult } from '../libs/features/rag/src/answer-turn/decide-turn.ts';
import { readTurns, type Turn } from '../libs/features/rag/src/answer-turn/read-turn.ts';

/**
 * The rules are two pure functions; SQL does what they say. Random facts go through the product's own functions on a real
 * Postgres, and after each step the rows are what the rules make of the rows before it. Time passes by moving the
 * timestamps of the rows into the past.
 */

/** A slow machine gets through fewer. */
const BOUNDS = { numRuns: 60, interruptAfterTimeLimit: 10_000 };
const STEPS = 25;
const SECOND = 1_000;

let testDatabase: TestDatabase;
let database: Database;
let storeWebhooks: StoreWebhooks;
let sequence = 0;

beforeAll(async () => {
  testDatabase = await createTestDatabase(migrateDatabase);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'rules-spec' });
  const logger = createLogger({ app: 'spec', level: 'silent' });
  const fingerprints = new SecretBox([{ id: 'k1', key: Buffer.alloc(32) }]).fingerprints('spec');
  storeWebhooks = new StoreWebhooks(database, logger, fingerprints);
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

/** A webhook of one message or one status. */
async function receive(channel: SeededChannel, value: object, field = 'messages'): Promise<void> {
  const { workspaceId, keyId, phoneNumberId } = channel;
  const metadata = { display_phone_number: '1', phone_number_id: phoneNumberId };
  const changes = [{ field, value: { messaging_product: 'whatsapp', metadata, ...value } }];
  const body = { object: 'whatsapp_business_account', entry: [{ id: '1', changes }] };
  const delivery: Delivery = {
    subject: webhookSubject(workspaceId, keyId),
    data: Buffer.from(JSON.stringify(body)),
    messageId: null,
    headers: {},
    streamSequence: (sequence += 1),
    deliveryCount: 1,
    publishedAt: new Date(),
  };
  await storeWebhooks.execute([delivery]);
}
const unixSeconds = (ms: number): string => String(Math.floor(ms / SECOND));

function choose<Item>(items: readonly Item[], pick: number): Item | undefined {
  return items.length === 0 ? undefined : items[pick % items.length];
}

/** Weighted steps, each with a number that chooses among what is there. */
function stepsOf<Name extends string>(
  weights: Readonly<Record<Name, number>>,
): fc.Arbitrary<{ name: Name; pick: number }[]> {
  const names = Object.entries<number>(weights).map(([name, weight]) => ({
    weight,
    arbitrary: fc.constant(name as Name),
  }));
  const step = fc.record({ name: fc.oneof(...names), pick: fc.nat(1_000) });
  return fc.array(step, { minLength: STEPS - 5, maxLength: STEPS + 5, size: 'max' });
}

/** A bound may have fallen between the clock's reading before the step and after it, so the rules are asked at both. */
function expectOneOf(actual: unknown, ...expected: readonly unknown[]): void {
  const fits = expected.some((each) => JSON.stringify(each) === JSON.stringify(actual));
  if (!fits) expect(actual).toEqual(expected[0]);
}

/** How often each situation came up: a property that never meets its case proves nothing. */
const reached = new Map<string, number>();
const reach = (situation: string): void => void reached.set(situation, (reached.get(situation) ?? 0) + 1);

const TIMES = ['leaseUntil', 'dueAt', 'firstUnansweredAt', 'windowUntil', 'mutedUntil', 'optedOutAt'] as const;

/** The state with its times as what they are close to in another one, so that the rest can be compared exactly. */
function near(state: ConversationState, other: ConversationState, slackMs: number): ConversationState {
  const times = TIMES.map((name) => {
    const [mine, theirs] = [state[name], other[name]];
    const isNear = mine !== null && theirs !== null && Math.abs(mine - theirs) <= slackMs;
    return [name, isNear ? theirs : mine] as const;
  });
  return { ...state, ...Object.fromEntries(times) };
}

class TurnWorld {
  readonly #channel: SeededChannel;
  readonly #quiet: QuietWindow;
  #state!: ConversationState;
  #now!: number;
  #conversationId: string | undefined;
  readonly #messageIds: string[] = [];
  #workers: Turn[] = [];

  constructor(channel: SeededChannel, quiet: QuietWindow) {
    this.#channel = channel;
    this.#quiet = quiet;
  }

  async begin(): Promise<void> {
    await receive(this.#channel, { messages: [this.#text(Date.now())] });
    const [row] = await database.query<{ id: string }>('SELECT id FROM conversations WHERE channel_id = $1', [
      this.#channel.channelId,
    ]);
    this.#conversationId = row?.id;
    ({ state: this.#state, now: this.#now } = await this.#read());
    expect(this.#state).toMatchObject({ inboundSeq: 1, epoch: 1, owner: 'ai' });
  }

  async run({ name, pick }: { name: keyof typeof TURN_STEPS; pick: number }): Promise<void> {
    await this[name](pick);
    await this.#checkTurns();
  }

  // What the contact does.

  async message(pick: number): Promise<void> {
    const sentAt = pick % 9 === 0 ? this.#now - 25 * 3_600 * SECOND : this.#now;
    // The clock of the wire has whole seconds.
    const wireAt = Math.floor(sentAt / SECOND) * SECOND;
    await this.#expect(
      () => receive(this.#channel, { messages: [this.#text(sentAt)] }),
      (now) => [{ type: 'message', now, answerable: true, sentAt: wireAt, ...this.#quiet }],
    );
  }

  async reaction(): Promise<void> {
    const message = { type: 'reaction', reaction: { message_id: choose(this.#messageIds, 0), emoji: '👍' } };
    await this.#expect(
      () => receive(this.#channel, { messages: [this.#message(message, this.#now)] }),
      (now) => [{ type: 'message', now, answerable: false, sentAt: now, ...this.#quiet }],
    );
  }

  edit(pick: number): Promise<void> {
    return this.#amend(pick, (original) => ({
      type: 'edit',
      edit: { original_message_id: original, message: { type: 'text', text: { body: 'edited' } } },
    }));
  }

  revoke(pick: number): Promise<void> {
    return this.#amend(pick, (original) => ({ type: 'revoke', revoke: { original_message_id: original } }));
  }

  async #amend(pick: number, change: (original: string) => object): Promise<void> {
    const original = choose(this.#messageIds, pick) ?? '';
    const [row] = await database.query<{ number: number | null }>(
      'SELECT number FROM messages WHERE channel_id = $1 AND provider_message_id = $2',
      [this.#channel.channelId, original],
    );
    const number = row?.number ?? null;
    if (number !== null && number > this.#state.answeredSeq) reach('an edit before the answer');
    await this.#expect(
      () => receive(this.#channel, { messages: [this.#message(change(original), this.#now)] }),
      (now) => [
        { type: 'message', now, answerable: false, sentAt: now, ...this.#quiet },
        { type: 'amended', now, number, ...this.#quiet },
      ],
    );
  }

  // What rag does.

  async claim(): Promise<void> {
    let claimed: Turn | undefined;
    const verdicts = await this.#expect(
      async () => {
        [claimed] = await readTurns(database, await claimTurns(database, 1));
      },
      (now) => [{ type: 'claim', now }],
    );
    const isClaimed = claimed !== undefined;
    expect(verdicts.map(({ type }) => type === 'claimed')).toContain(isClaimed);
    if (!claimed) return;
    expect(claimed).toMatchObject({
      fence: this.#state.fence,
      epoch: this.#state.epoch,
      first: this.#state.answeredSeq + 1,
      read: this.#state.inboundSeq,
    });
    if (this.#workers.length > 0) reach('a second worker while a slow one lives');
    this.#workers.push(claimed);
  }

  async renew(pick: number): Promise<void> {
    const worker = choose(this.#workers, pick);
    if (!worker) return;
    let standing = '';
    const { fence, epoch, read } = worker;
    const verdicts = await this.#expect(
      async () => {
        standing = await renewLease(database, worker);
      },
      (now) => [{ type: 'renew', now, fence, epoch, read }],
    );
    expect(verdicts.map(({ type }) => type)).toContain(standing);
    reach(`renewed: ${standing}`);
    if (standing === 'again') await this.#readAgain(worker);
    if (standing === 'stop') this.#forget(worker);
  }

  async commit(pick: number): Promise<void> {
    const worker = choose(this.#workers, pick);
    if (!worker) return;
    const result = choose(RESULTS, pick) ?? RESULTS[0];
    const speaks = result.reply?.author === 'ai' ? 'ai' : result.reply?.author === 'system' ? 'system' : null;
    const { fence, epoch, read } = worker;
    const [left] = await database.query<{ at: number | null }>(
      `SELECT (extract(epoch FROM min(received_at)) * 1000)::float8 AS at FROM messages
       WHERE conversation_id = $1 AND number > $2`,
      [this.#conversationId, read],
    );
    const before = this.#state;
    const isItsTurn = before.answeredSeq + 1 === worker.first;
    let verdict = '';
    const verdicts = await this.#expect(
      async () => {
        verdict = await commitTurn(database, worker, result, null);
      },
      (now) => {
        const fact: TurnFact = { type: 'commit', now, fence, epoch, read, speaks, firstLeftAt: left?.at ?? now };
        // A commit of which the worker did not hear: its turn is answered, and the key of the turn stops it.
        if (before.fence === fence && before.epoch === epoch && !isItsTurn) return [];
        const { verdict: expected } = decideTurn(before, fact);
        const handsOff = expected.type === 'committed' && result.outcome === 'handed_off';
        return handsOff ? [fact, { type: 'take_over', mutedUntil: worker.now + 24 * 3_600 * SECOND }] : [fact];
      },
    );
    if (!isItsTurn) expect(verdict).toBe('stop');
    else expect(verdicts.map(({ type }) => type)).toContain(verdict);
    reach(`commit: ${verdict}`);
    if (verdict === 'committed' && before.inboundSeq > read) reach('someone who keeps typing is answered');
    if (verdict === 'again') await this.#readAgain(worker);
    // Now and then the worker did not hear of its commit, and tries again.
    else if (verdict === 'stop' || pick % 4 !== 0) this.#forget(worker);
  }

  async giveBack(pick: number): Promise<void> {
    const worker = choose(this.#workers, pick);
    if (!worker) return;
    this.#forget(worker);
    const inMs = (pick % 3) * SECOND;
    const before = this.#state;
    await this.#expect(
      () => giveBack(database, worker, inMs),
      (now) => [{ type: 'give_back', fence: worker.fence, dueAt: Math.max(before.dueAt ?? 0, now + inMs) }],
    );
  }

  async crash(pick: number): Promise<void> {
    const worker = choose(this.#workers, pick);
    if (worker) this.#forget(worker);
  }

  // Who speaks.

  takeOver(pick: number): Promise<void> {
    const mutedUntil = pick % 3 === 0 ? null : this.#now + (pick % 5) * 10 * SECOND;
    return this.#change({ type: 'take_over', mutedUntil, by: pick % 4 === 0 ? 'meta_agent' : 'human' });
  }

  /** Somebody answers on the phone of the business. */
  async echo(): Promise<void> {
    const wireAt = Math.floor(this.#now / SECOND) * SECOND;
    const { from: to, ...echo } = this.#message({ type: 'text', text: { body: 'I will call you.' } }, wireAt);
    reach(`an echo while held by ${this.#state.heldBy ?? 'nobody'}`);
    await this.#expect(
      () => receive(this.#channel, { message_echoes: [{ ...echo, to }] }, 'smb_message_echoes'),
      (now) => this.#takenOver('human', wireAt, now),
    );
  }

  /** A message that Meta's own agent will answer. */
  async standby(): Promise<void> {
    const wireAt = Math.floor(this.#now / SECOND) * SECOND;
    await this.#expect(
      () => receive(this.#channel, { standby: { messages: [this.#text(wireAt)] } }, 'standby'),
      (now) => [
        ...this.#takenOver('meta_agent', wireAt, now),
        { type: 'message', now, answerable: true, sentAt: wireAt, ...this.#quiet },
      ],
    );
  }

  #takenOver(by: Holder, saidAt: number, now: number): TurnFact[] {
    const taken: TurnFact = { type: 'take_over', mutedUntil: saidAt + 24 * 3_600 * SECOND, by };
    return isMuteOver(this.#state, now) ? [{ type: 'hand_back' }, taken] : [taken];
  }

  /** … who gives it up, a moment before what was said last: what it says from then on takes it again. */
  async release(): Promise<void> {
    reach(`released while held by ${this.#state.heldBy ?? 'nobody'}`);
    const value = {
      recipient: { phone_number_id: this.#channel.phoneNumberId },
      sender: { phone_number: '12025550101' },
      timestamp: unixSeconds(this.#now - 10 * SECOND),
      control_passed: { previous_owner_app_role: 'meta_business_agent', metadata: newId() },
    };
    await this.#expect(
      () => receive(this.#channel, value, 'messaging_handovers'),
      () => [{ type: 'released' }],
    );
  }

  async stopWord(): Promise<void> {
    const wireAt = Math.floor(this.#now / SECOND) * SECOND;
    const isFirst = this.#state.optedOutAt === null;
    await this.#expect(
      () => receive(this.#channel, { messages: [this.#message({ type: 'text', text: { body: 'Stop!' } }, wireAt)] }),
      (now) => [
        ...(isFirst ? [{ type: 'opt_out', now } as const] : []),
        { type: 'message', now, answerable: true, sentAt: wireAt, ...this.#quiet },
      ],
    );
  }

  async startWord(): Promise<void> {
    const wireAt = Math.floor(this.#now / SECOND) * SECOND;
    const isOut = this.#state.optedOutAt !== null;
    if (isOut) reach('START after STOP');
    await this.#expect(
      () => receive(this.#channel, { messages: [this.#message({ type: 'text', text: { body: 'ALTA' } }, wireAt)] }),
      (now) => [
        { type: 'message', now, answerable: true, sentAt: wireAt, ...this.#quiet },
        ...(isOut ? [{ type: 'opt_in' } as const] : []),
      ],
    );
  }
  handBack(): Promise<void> {
    return this.#change({ type: 'hand_back' });
  }
  optOut(): Promise<void> {
    return this.#change({ type: 'opt_out', now: this.#now });
  }
  optIn(): Promise<void> {
    return this.#change({ type: 'opt_in' });
  }
  async #change(fact: OwnershipFact): Promise<void> {
    if (this.#workers.length > 0 && fact.type === 'take_over') reach('a take-over while the answer is made');
    await this.#expect(
      async () => {
        await database.transaction((sql) => changeOwnership(sql, this.#conversationId ?? '', fact));
      },
      () => [fact],
    );
  }

  aiOff(): Promise<void> {
    return this.#switch('chatbots SET ai_enabled = false', { type: 'ai_enabled', value: false });
  }
  aiOn(): Promise<void> {
    return this.#switch('chatbots SET ai_enabled = true', { type: 'ai_enabled', value: true });
  }
  channelOff(): Promise<void> {
    return this.#switch('channels SET answers = false', { type: 'channel_answers', value: false });
  }
  channelOn(): Promise<void> {
    return this.#switch('channels SET answers = true', { type: 'channel_answers', value: true });
  }
  async #switch(change: string, fact: TurnFact): Promise<void> {
    await this.#expect(
      async () => {
        await database.query(`UPDATE ${change} WHERE workspace_id = $1`, [this.#channel.workspaceId]);
      },
      () => [fact],
    );
  }

  async wait(pick: number): Promise<void> {
    const ms = [700, 1_600, 5_000, 16_000, 21_000][pick % 5] ?? 0;
    const earlier = (column: string): string => `${column} = ${column} - ${String(ms)} * interval '1 ms'`;
    const columns = ['lease_until', 'due_at', 'first_unanswered_at', 'window_until', 'muted_until', 'opted_out_at'];
    await database.query(`UPDATE conversations SET ${columns.map(earlier).join(', ')} WHERE id = $1`, [
      this.#conversationId,
    ]);
    await database.query(
      `UPDATE messages SET ${earlier('received_at')}, ${earlier('sent_at')} WHERE conversation_id = $1`,
      [this.#conversationId],
    );
    this.#workers = this.#workers.map((worker) => ({ ...worker, now: worker.now - ms }));
    ({ state: this.#state, now: this.#now } = await this.#read());
  }

  /** Lets the product do something, and compares what became of the row with what the rules say. Returns their verdicts. */
  async #expect(
    act: () => Promise<void>,
    factsAt: (now: number) => readonly TurnFact[],
  ): Promise<ReturnType<typeof decideTurn>['verdict'][]> {
    const before = this.#state;
    const { now: startedAt } = await this.#read();
    await act();
    const { state: after, now: endedAt } = await this.#read();
    const decided = [startedAt, endedAt].map((now) =>
      factsAt(now).reduce((decision, fact) => decideTurn(decision.state, fact), {
        state: before,
        verdict: { type: 'noted' },
      } as ReturnType<typeof decideTurn>),
    );
    const slackMs = endedAt - startedAt + 2;
    expectOneOf(after, ...decided.map(({ state }) => near(state, after, slackMs)));
    this.#state = after;
    this.#now = endedAt;
    const first = [startedAt, endedAt].map((now) => {
      const [fact] = factsAt(now);
      return fact ? decideTurn(before, fact).verdict : ({ type: 'stop' } as const);
    });
    return first;
  }

  /** Each number up to the answered one stands in exactly one turn, and a turn has at most one reply. */
  async #checkTurns(): Promise<void> {
    const turns = await database.query<{ first_number: number; last_number: number; replies: number }>(
      `SELECT first_number, last_number, (SELECT count(*)::int FROM replies r WHERE r.turn_id = t.id) AS replies
       FROM turns t WHERE conversation_id = $1 ORDER BY first_number`,
      [this.#conversationId],
    );
    let next = 1;
    for (const turn of turns) {
      expect(turn.first_number).toBe(next);
      expect(turn.replies).toBeLessThanOrEqual(1);
      next = turn.last_number + 1;
    }
    expect(next - 1).toBe(this.#state.answeredSeq);
  }

  async #readAgain(worker: Turn): Promise<void> {
    this.#forget(worker);
    const [again] = await readTurns(database, [worker]);
    if (again && again.read >= again.first) this.#workers.push(again);
  }

  #forget(worker: Turn): void {
    this.#workers = this.#workers.filter((each) => each !== worker);
  }

  async #read(): Promise<{ state: ConversationState; now: number }> {
    const id = this.#conversationId ?? '';
    const { now, conversations } = await lockConversations(database, [id]);
    const state = conversations.get(id)?.state;
    if (!state) throw new Error('The conversation is gone.');
    return { state, now };
  }

  #text(sentAt: number): object {
    const message = this.#message({ type: 'text', text: { body: 'hello' } }, sentAt);
    this.#messageIds.push(message.id);
    return message;
  }
  #message(content: object, sentAt: number): { from: string; id: string; timestamp: string } {
    const id = `wamid.${newId()}`;
    return { ...content, ...{ from: '12025550101', id, timestamp: unixSeconds(sentAt) } };
  }
}

const RESULTS: readonly [TurnResult, ...TurnResult[]] = [
  { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: 'Yes.' } },
  { outcome: 'abstained', reply: { kind: 'abstain', author: 'ai', text: 'I do not know.' } },
  { outcome: 'nothing_to_answer', reply: null },
  { outcome: 'replied', reply: { kind: 'answer', author: 'ai', text: 'Yes.' } },
  { outcome: 'plan_notice', reply: { kind: 'plan_notice', author: 'system', text: 'No.' } },
  { outcome: 'handed_off', reply: { kind: 'handoff_confirmation', author: 'system', text: 'One moment.' } },
];

const TURN_STEPS = {
  message: 16,
  reaction: 1,
  edit: 3,
  revoke: 2,
  claim: 18,
  renew: 12,
  commit: 16,
  giveBack: 3,
  crash: 2,
  takeOver: 3,
  handBack: 5,
  echo: 1,
  standby: 1,
  release: 3,
  stopWord: 1,
  startWord: 4,
  optOut: 1,
  optIn: 4,
  aiOff: 1,
  aiOn: 5,
  channelOff: 1,
  channelOn: 5,
  wait: 10,
} as const;

const step = (name: keyof typeof TURN_STEPS, pick = 1) => ({ name, pick });
/** Situations that chance seldom brings about. The first message is there and due. */
const SELDOM = [
  [step('claim'), step('message'), step('renew'), step('commit')],
  [step('claim'), step('edit', 0), step('commit'), step('commit')],
  // 16 s later the lease has lapsed.
  [step('claim'), step('wait', 3), step('claim'), step('commit', 0), step('commit', 0)],
  [step('claim'), step('takeOver'), step('renew')],
  // 21 s later the first message has waited long enough.
  [step('claim'), step('wait', 4), step('message'), step('renew'), step('commit'), step('claim'), step('commit')],
  [step('claim'), step('commit', 4), step('commit', 4), step('message'), step('commit', 4)],
  [step('claim'), step('aiOff'), step('commit'), step('commit', 2)],
  [step('claim'), step('commit', 5), step('message'), step('handBack'), step('message'), step('claim'), step('commit')],
  [step('claim'), step('echo'), step('renew'), step('release'), step('echo'), step('message')],
  [step('standby'), step('standby'), step('echo'), step('release'), step('standby')],
  [step('standby'), step('release'), step('message'), step('claim'), step('commit')],
  [
    step('claim'),
    step('stopWord'),
    step('commit'),
    step('message'),
    step('stopWord'),
    step('startWord'),
    step('message'),
  ],
];

describe('turns', () => {
  it('rows of conversations are what the rules make of them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(0, 0, 1_500), stepsOf(TURN_STEPS), async (quietMs, steps) => {
        await database.query('DELETE FROM contacts');
        const quiet = { quietMs, quietMaxMs: 4 * quietMs };
        const world = new TurnWorld(await seedChannel(database, quiet), quiet);
        await world.begin();
        for (const step of steps) await world.run(step);
      }),
      { ...BOUNDS, examples: SELDOM.map((steps) => [0, steps]) },
    );
    for (const situation of [
      'someone who keeps typing is answered',
      'an edit before the answer',
      'a second worker while a slow one lives',
      'a take-over while the answer is made',
      'renewed: keep',
      'renewed: again',
      'renewed: stop',
      'commit: committed',
      'commit: again',
      'commit: stop',
      'an echo while held by nobody',
      'an echo while held by human',
      'released while held by meta_agent',
      'released while held by human',
      'START after STOP',
    ]) {
      expect([situation, reached.get(situation) ?? 0]).not.toEqual([situation, 0]);
    }
  }, 60_000);
});

/** A claimed send whose call has not ended, and what Meta would call its message. */
interface Call {
  readonly send: ClaimedSend;
  readonly wamid: string;
  isOver: boolean;
}

class SendWorld {
  readonly #conversation: SeededConversation;
  #replies: SeededReply[] = [];
  #states = new Map<string, SendState>();
  #now = 0;
  readonly #calls: Call[] = [];
  /** Statuses that named a message before its call was answered. */
  readonly #unmatched = new Map<string, 'delivered' | 'read'>();
  /** Statuses that were delivered: a repeat changes nothing. */
  readonly #told = new Set<string>();
  readonly #givenBack = new Set<string>();
  #isQuiet = false;

  constructor(conversation: SeededConversation) {
    this.#conversation = conversation;
  }

  async run({ name, pick }: { name: keyof typeof SEND_STEPS; pick: number }): Promise<void> {
    await this[name](pick);
    await this.#checkDebits();
  }

  async reply(pick: number): Promise<void> {
    const parts = pick % 3 === 0 ? ['one', 'two'] : ['one'];
    const isAi = pick % 5 !== 0;
    const { owner } = await this.#conversationRow();
    const reply = await seedReply(database, this.#conversation, {
      parts,
      ...(isAi && owner === 'ai' ? {} : { author: 'human', kind: 'human' }),
    });
    this.#replies.push(reply);
    await this.#readAll();
  }

  async claim(): Promise<void> {
    const row = await this.#conversationRow();
    const open = [...this.#states].find(([, state]) => !isSettled(state.phase));
    let calls: readonly ClaimedSend[] = [];
    await this.#expect(
      async () => {
        ({ calls } = await claimSends(database, 10));
      },
      (now) => {
        const [id, state] = open ?? [];
        if (id === undefined || !state || state.dueAt === null || state.dueAt > now || (row.hold && row.answers))
          return [];
        const fact: SendFact = {
          type: 'claim',
          now,
          attemptId: calls.find((call) => call.id === id)?.attemptId ?? '',
          conversationEpoch: row.epoch,
          channelAnswers: row.answers,
          aiEnabled: row.ai_enabled,
          windowUntil: row.window_until,
          earlier: this.#hasFailedPart(id) ? 'part_failed' : 'done',
        };
        return [[id, fact]];
      },
    );
    for (const send of calls) this.#calls.push({ send, wamid: `wamid.${newId()}`, isOver: false });
    reach(calls.length > 0 ? 'a call' : 'no call');
  }

  #hasFailedPart(id: string): boolean {
    const reply = this.#replies.find(({ sendIds }) => sendIds.includes(id));
    const earlier = reply?.sendIds.slice(0, reply.sendIds.indexOf(id)) ?? [];
    return earlier.some((each) => ['failed', 'superseded'].includes(this.#states.get(each)?.phase ?? ''));
  }

  accepted(pick: number): Promise<void> {
    return this.#answer(pick, ({ wamid }) => ({ outcome: 'accepted', providerMessageId: wamid }));
  }
  refused(pick: number): Promise<void> {
    const code = [2, 131056, 131026, 2][pick % 4] ?? 2;
    return this.#answer(pick, () => ({ outcome: 'refused', failure: classifyGraphError({ code }) }));
  }
  tokenRefused(pick: number): Promise<void> {
    return this.#answer(pick, () => ({ outcome: 'refused', failure: classifyGraphError({ code: 190 }) }));
  }
  unanswered(pick: number): Promise<void> {
    return this.#answer(pick, () => ({ outcome: 'unknown', reason: 'timeout' }));
  }
  notSent(pick: number): Promise<void> {
    return this.#answer(pick, () => ({ outcome: 'not_sent', reason: 'connection_refused' }));
  }

  async #answer(pick: number, outcomeOf: (call: Call) => SendOutcome): Promise<void> {
    const call = choose(
      this.#calls.filter(({ isOver }) => !isOver),
      pick,
    );
    if (!call) return;
    call.isOver = true;
    const outcome = outcomeOf(call);
    const { send, wamid } = call;
    const { attemptId } = send;
    await this.#expect(
      async () => {
        await storeOutcomes(database, [{ send, outcome }]);
      },
      (now) => {
        switch (outcome.outcome) {
          case 'accepted': {
            const status = this.#unmatched.get(wamid);
            return [
              [send.id, { type: 'accepted', attemptId }],
              ...(status ? [[send.id, { type: 'status', attemptId, status }] as const] : []),
            ];
          }
          case 'unknown':
            return [[send.id, { type: 'unanswered', attemptId }]];
          case 'not_sent':
            return [[send.id, { type: 'not_sent', now, attemptId, code: outcome.reason }]];
          case 'refused': {
            const { retry, reason: code } = outcome.failure;
            return [[send.id, { type: 'refused', now, attemptId, retry, code }]];
          }
        }
      },
    );
    if (outcome.outcome === 'accepted') this.#unmatched.delete(wamid);
  }

  async notCalled(pick: number): Promise<void> {
    const call = choose(
      this.#calls.filter(({ isOver }) => !isOver),
      pick,
    );
    if (!call) return;
    call.isOver = true;
    const { send } = call;
    await this.#expect(
      async () => {
        await storeNotCalled(database, send, 'claim_too_old');
      },
      (now) => [[send.id, { type: 'not_sent', now, attemptId: send.attemptId, code: 'claim_too_old' }]],
    );
  }

  /** Statuses name the attempt, but for a few that name the message only. */
  async status(pick: number): Promise<void> {
    const call = choose(this.#calls, pick);
    if (!call) return;
    const status = (['sent', 'delivered', 'read', 'failed', 'delivered'] as const)[pick % 5] ?? 'sent';
    const { send, wamid } = call;
    const isNamed = pick % 7 !== 0;
    const [attempt] = await database.query('SELECT 1 FROM attempts WHERE id = $1 AND provider_message_id = $2', [
      send.attemptId,
      wamid,
    ]);
    const isMatched = isNamed || attempt !== undefined;
    if (!isMatched && (this.#unmatched.has(wamid) || (status !== 'delivered' && status !== 'read'))) return;
    const isRepeat = this.#told.has(`${wamid} ${status}`);
    this.#told.add(`${wamid} ${status}`);
    await this.#expect(
      () =>
        receive(this.#conversation, {
          statuses: [
            {
              id: wamid,
              status,
              timestamp: '1700000000',
              recipient_id: '12025550101',
              ...(isNamed && { biz_opaque_callback_data: send.attemptId }),
              ...(status === 'failed' && { errors: [{ code: 131026, title: 'undeliverable' }] }),
            },
          ],
        }),
      () =>
        isMatched && !isRepeat
          ? [[send.id, { type: 'status', attemptId: send.attemptId, status, code: 'recipient_unreachable' }]]
          : [],
    );
    if (!isMatched && !isRepeat && (status === 'delivered' || status === 'read')) {
      this.#unmatched.set(wamid, status);
      reach('a status before its message is known');
    }
    if (isMatched && !call.isOver) reach('a status before the answer');
  }

  async sweep(): Promise<void> {
    const { window_until: windowUntil } = await this.#conversationRow();
    const quiet = this.#isQuiet;
    await this.#expect(
      async () => {
        await settleSends(database);
      },
      (now) => [...this.#states.keys()].map((id) => [id, { type: 'sweep', now, windowUntil, quiet }] as const),
    );
  }

  /** Gateways and ingest have been at work for 5 minutes, or they have not. */
  async quiet(pick: number): Promise<void> {
    this.#isQuiet = pick % 3 !== 0;
    await database.query('TRUNCATE gateway_heartbeats, ingest_progress');
    if (!this.#isQuiet) return;
    await database.query(
      `WITH beats AS (INSERT INTO gateway_heartbeats (at) SELECT now() + s * interval '1 s' FROM generate_series(-300, 60, 5) AS s)
       INSERT INTO ingest_progress (caught_up_at) VALUES (now() + interval '60 s')`,
    );
  }

  takeOver(): Promise<void> {
    return this.#silence({ type: 'take_over', mutedUntil: null });
  }
  optOut(): Promise<void> {
    return this.#silence({ type: 'opt_out', now: this.#now });
  }
  async #silence(fact: OwnershipFact): Promise<void> {
    if ([...this.#states.values()].some(({ phase }) => phase === 'unknown')) reach('an unknown is superseded');
    await this.#expect(
      async () => {
        await database.transaction((sql) => changeOwnership(sql, this.#conversation.conversationId, fact));
      },
      () => [...this.#states.keys()].map((id) => [id, { type: 'take_over' }] as const),
    );
  }
  async handBack(): Promise<void> {
    const { conversationId } = this.#conversation;
    await database.transaction(async (sql) => {
      await changeOwnership(sql, conversationId, { type: 'hand_back' });
      await changeOwnership(sql, conversationId, { type: 'opt_in' });
    });
  }

  async aiOff(): Promise<void> {
    await database.query('UPDATE chatbots SET ai_enabled = false WHERE id = $1', [this.#conversation.chatbotId]);
  }
  async channelOff(): Promise<void> {
    await database.query('UPDATE channels SET answers = false WHERE id = $1', [this.#conversation.channelId]);
  }
  /** All is on again, and the credentials are good. */
  async on(): Promise<void> {
    const { chatbotId, channelId } = this.#conversation;
    await database.query('UPDATE chatbots SET ai_enabled = true WHERE id = $1', [chatbotId]);
    await database.query('UPDATE channels SET answers = true, send_hold_code = NULL WHERE id = $1', [channelId]);
  }
  async windowCloses(): Promise<void> {
    await this.#setWindow(`now() - interval '1 s'`);
  }
  async windowOpens(): Promise<void> {
    await this.#setWindow(`now() + interval '24 hours'`);
  }
  async #setWindow(until: string): Promise<void> {
    await database.query(`UPDATE conversations SET window_until = ${until} WHERE id = $1`, [
      this.#conversation.conversationId,
    ]);
  }

  async wait(pick: number): Promise<void> {
    const ms = [1_100, 5_000, 21_000, 95_000, 605_000][pick % 5] ?? 0;
    const { conversationId } = this.#conversation;
    const earlier = (column: string): string => `${column} = ${column} - ${String(ms)} * interval '1 ms'`;
    await database.query(
      `UPDATE sends SET ${earlier('due_at')}, ${earlier('retrying_since')} WHERE conversation_id = $1`,
      [conversationId],
    );
    await database.query(
      `UPDATE attempts SET ${earlier('started_at')} WHERE send_id IN (SELECT id FROM sends WHERE conversation_id = $1)`,
      [conversationId],
    );
    await this.#readAll();
  }

  async #expect(
    act: () => Promise<void>,
    factsAt: (now: number) => readonly (readonly [string, SendFact])[],
  ): Promise<void> {
    const before = new Map(this.#states);
    const startedAt = await this.#clock();
    await act();
    await this.#readAll();
    const endedAt = this.#now;
    const decided = [startedAt, endedAt].map((now) => {
      const states = new Map(before);
      for (const [id, fact] of factsAt(now)) {
        const state = states.get(id);
        if (state) states.set(id, decideSend(state, fact).state);
      }
      return [...states].map(([id, state]) =>
        nearSend(state, this.#states.get(id) ?? state, endedAt - startedAt + 2, now),
      );
    });
    expectOneOf([...this.#states.values()], ...decided);
    for (const { phase } of this.#states.values()) reach(`a send is ${phase}`);
  }

  async #checkDebits(): Promise<void> {
    const rows = await database.query<{ turn_id: string; signs: number[] }>(
      `SELECT turn_id, array_agg(sign::int ORDER BY sign DESC) AS signs FROM usage_entries WHERE workspace_id = $1 GROUP BY 1`,
      [this.#conversation.workspaceId],
    );
    const [usage] = await database.query<{ used: number }>('SELECT used FROM usage WHERE workspace_id = $1', [
      this.#conversation.workspaceId,
    ]);
    const total = rows.flatMap(({ signs }) => signs).reduce((sum, sign) => sum + sign, 0);
    expect(usage?.used ?? 0).toBe(total);
    for (const { turn_id: turnId, signs } of rows) {
      const reply = this.#replies.find((each) => each.turnId === turnId);
      const states = reply?.sendIds.map((id) => this.#states.get(id)).filter((state) => state !== undefined) ?? [];
      if (givesBackDebit(states)) this.#givenBack.add(turnId);
      expect(signs).toEqual(this.#givenBack.has(turnId) ? [1, -1] : [1]);
      if (signs.length > 1) reach('a debit is given back');
    }
  }

  async #readAll(): Promise<void> {
    const ids = this.#replies.flatMap(({ sendIds }) => sendIds);
    const stored = await lockSends(database, ids);
    this.#states = new Map(
      ids.flatMap((id) => {
        const send = stored.get(id);
        return send ? [[id, send.state]] : [];
      }),
    );
    this.#now = await this.#clock();
  }

  async #clock(): Promise<number> {
    const [row] = await database.query<{ now: number }>({
      name: 'clock',
      text: 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    });
    return row?.now ?? NaN;
  }

  async #conversationRow() {
    const [row] = await database.query<{
      epoch: number;
      owner: string;
      window_until: number | null;
      answers: boolean;
      ai_enabled: boolean;
      hold: boolean;
    }>(
      `SELECT c.epoch, c.owner, (extract(epoch FROM c.window_until) * 1000)::float8 AS window_until, ch.answers, b.ai_enabled,
              ch.send_hold_code IS NOT NULL AS hold
       FROM conversations c JOIN channels ch ON ch.id = c.channel_id JOIN chatbots b ON b.id = ch.chatbot_id WHERE c.id = $1`,
      [this.#conversation.conversationId],
    );
    if (!row) throw new Error('The conversation is gone.');
    return row;
  }
}

/** Share of a wait that is added by chance, so that those who failed together do not come back together. */
const JITTER = 0.25;

function nearSend(state: SendState, other: SendState, slackMs: number, now: number): SendState {
  const near = (mine: number | null, theirs: number | null, slack: number): number | null =>
    mine !== null && theirs !== null && Math.abs(mine - theirs) <= slack ? theirs : mine;
  const waitMs = Math.max(0, (state.dueAt ?? now) - now);
  return {
    ...state,
    dueAt: near(state.dueAt, other.dueAt, slackMs + JITTER * waitMs),
    retryingSince: near(state.retryingSince, other.retryingSince, slackMs),
    attempts: state.attempts.map((attempt, place) => ({
      ...attempt,
      startedAt: near(attempt.startedAt, other.attempts[place]?.startedAt ?? null, slackMs) ?? attempt.startedAt,
    })),
  };
}

const SEND_STEPS = {
  reply: 10,
  claim: 26,
  accepted: 8,
  refused: 8,
  tokenRefused: 1,
  unanswered: 8,
  notSent: 4,
  notCalled: 3,
  status: 12,
  sweep: 14,
  quiet: 5,
  takeOver: 2,
  optOut: 1,
  handBack: 3,
  aiOff: 1,
  channelOff: 1,
  on: 4,
  windowCloses: 1,
  windowOpens: 3,
  wait: 14,
} as const;

describe('sends', () => {
  it('rows of sends, attempts and debits are what the rules make of them', async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf(SEND_STEPS), async (steps) => {
        await database.query('DELETE FROM contacts');
        await database.query('TRUNCATE gateway_heartbeats, ingest_progress');
        const channel = await seedChannel(database, { messagesPerSecond: 1_000 });
        const world = new SendWorld(await seedConversation(database, channel));
        for (const step of [{ name: 'reply', pick: 1 } as const, ...steps]) await world.run(step);
      }),
      BOUNDS,
    );
    for (const situation of [
      'a call',
      'a send is sending',
      'a send is unknown',
      'a send is retry',
      'a send is failed',
      'a send is superseded',
      'a send is accepted',
      'a status before the answer',
      'a debit is given back',
    ]) {
      expect([situation, reached.get(situation) ?? 0]).not.toEqual([situation, 0]);
    }
  }, 60_000);
});
