import { setTimeout as delay } from 'node:timers/promises';
import { type CustomerMessage, type Sandbox, type SandboxEntry } from './sandbox.ts';

/** So many that nobody writes again before the answer is there, and no limit a contact is met. */
const defaultPeople = 400;
const answeredWithinMs = 60_000;
const pollMs = 20;

/** One message and its reply. */
export interface AnsweredTurn {
  /** Meta's id of the message. */
  readonly messageId: string;
  /** Unix ms at the sandbox: when the message was written, and when the Graph call of its reply was accepted. */
  readonly writtenAt: number;
  readonly acceptedAt: number;
}

/** Customers who write to a business number through the sandbox. Those of several numbers may write at the same time. */
export class Customers {
  readonly #sandbox: Sandbox;
  readonly #phoneNumberId: string;
  readonly #questions: readonly string[];
  readonly #people: number;
  #written = 0;

  constructor(sandbox: Sandbox, phoneNumberId: string, questions: readonly string[], people = defaultPeople) {
    this.#sandbox = sandbox;
    this.#phoneNumberId = phoneNumberId;
    this.#questions = questions;
    this.#people = people;
  }

  /** Everybody writes once, so that none is new later. */
  async introduce(): Promise<void> {
    await this.#answered(() => this.#inFlight(32, this.#people));
  }

  /** Messages at an even rate, whatever the product does. */
  async writeSteadily(perSecond: number, seconds: number): Promise<AnsweredTurn[]> {
    return this.#answered(async () => {
      const startedAt = performance.now();
      const writes: Promise<unknown>[] = [];
      for (let number = 0; number < perSecond * seconds; number += 1) {
        const dueInMs = startedAt + (number * 1000) / perSecond - performance.now();
        if (dueInMs > 0) await delay(dueInMs);
        writes.push(this.#sandbox.write([this.#next()]));
      }
      await Promise.all(writes);
      return writes.length;
    });
  }

  /**
   * As fast as it goes with so many messages waiting for their answers at any time.
   *
   * `turnsPerSecond` leaves out the first and the last tenth.
   */
  async writeAtFullSpeed(waiting: number, seconds: number): Promise<{ turns: number; turnsPerSecond: number }> {
    const turns = await this.#answered(() => this.#inFlight(waiting, Infinity, seconds));
    const times = turns.map(({ acceptedAt }) => acceptedAt).toSorted((a, b) => a - b);
    const first = times[Math.floor(times.length * 0.1)] ?? NaN;
    const last = times[Math.ceil(times.length * 0.9) - 1] ?? NaN;
    return { turns: times.length, turnsPerSecond: (times.length * 0.8 * 1000) / (last - first) };
  }

  /** Keeps `waiting` messages unanswered until `total` were written or the time is over; gives how many were. */
  async #inFlight(waiting: number, total: number, seconds = Infinity): Promise<number> {
    let { replies: seen } = await this.#sandbox.marks();
    let written = 0;
    let answered = 0;
    let lastAnswerAt = performance.now();
    const endAt = performance.now() + seconds * 1000;
    while (written < total && performance.now() < endAt) {
      const messages = Array.from({ length: Math.min(waiting - written + answered, total - written) }, () =>
        this.#next(),
      );
      if (messages.length > 0) await this.#sandbox.write(messages);
      written += messages.length;
      await delay(pollMs);
      const replies = this.#mine(await this.#sandbox.replies(seen));
      seen = replies.at(-1)?.n ?? seen;
      answered += replies.length;
      if (replies.length > 0) lastAnswerAt = performance.now();
      if (performance.now() - lastAnswerAt > answeredWithinMs) throw new Error('No answers come any more.');
    }
    return written;
  }

  /** Runs `write`, waits for all answers and statuses, and pairs messages with replies. */
  async #answered(write: () => Promise<number>): Promise<AnsweredTurn[]> {
    const before = await this.#sandbox.marks();
    const written = await write();
    const deadline = performance.now() + answeredWithinMs;
    for (;;) {
      const replies = this.#mine(await this.#sandbox.replies(before.replies));
      if (replies.length >= written) {
        await this.#sandbox.untilDelivered();
        const acceptedAt = new Map(replies.map((reply) => [reply.contextMessageId, Date.parse(reply.at)]));
        const inbound = this.#mine(await this.#sandbox.inbound(before.inbound));
        return inbound.map(({ id = '', at }) => ({
          messageId: id,
          writtenAt: Date.parse(at),
          acceptedAt: acceptedAt.get(id) ?? NaN,
        }));
      }
      if (performance.now() > deadline) throw new Error(`${written - replies.length} of ${written} have no answer.`);
      await delay(pollMs);
    }
  }

  #mine(entries: readonly SandboxEntry[]): readonly SandboxEntry[] {
    return entries.filter(({ phoneNumberId }) => phoneNumberId === this.#phoneNumberId);
  }

  #next(): CustomerMessage {
    const number = this.#written++;
    return {
      phoneNumberId: this.#phoneNumberId,
      waId: `1555${String(1_000_000 + (number % this.#people))}`,
      text: this.#questions[number % this.#questions.length] ?? '',
    };
  }
}
