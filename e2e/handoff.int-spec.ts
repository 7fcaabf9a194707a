import { Answerer, type Answer, type AnswerRequest } from '@answerline/language-model';
import { eventually } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { openOffice, type Office } from './handoff/office.ts';

/** What handing over to a human and back promises, observed at Meta's side of the wire. */

const START_MS = 60_000;
const CONFIRMATION = 'Connecting you to a human agent…';
const PHRASES = [
  'talk to a human',
  'speak to someone',
  'human please',
  'speak to an agent',
  'real person',
  'live agent',
] as const;

/** Answers with what was asked, behind a gate that a test may close. */
class Echo extends Answerer {
  readonly usesModel = true;
  readonly asked: AnswerRequest[] = [];
  #gate: Promise<void> | undefined;
  #open = (): void => undefined;

  close(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    this.#open = resolve;
  }
  open(): void {
    this.#open();
    this.#gate = undefined;
  }

  override async rewrite(): Promise<undefined> {}

  override async answer(request: AnswerRequest): Promise<Answer> {
    this.asked.push(request);
    await this.#gate;
    const made = { model: 'echo', promptVersion: null, usage: { inputTokens: 1, outputTokens: 1 }, costMicros: null };
    if (request.mayHandOff && request.question.includes('complaint')) return { kind: 'handoff', ...made };
    return { kind: 'answer', text: `You asked: ${request.question}`, citedPassageIds: [], ...made };
  }
}

const answerer = new Echo();
let office: Office;
beforeAll(async () => {
  office = await openOffice(answerer);
}, START_MS);
afterAll(async () => {
  answerer.open();
  await office.close();
}, START_MS);
afterEach(async () => {
  answerer.open();
  await office.sandbox.faults({});
  await office.sandbox.delivery({ statuses: true });
});

const bodies = async (waId: string): Promise<(string | undefined)[]> =>
  (await office.bubbles(waId)).map(({ body }) => body);
const settings = (body: object) => office.call('PATCH', `/chatbots/${office.chatbotId}`, body);
const say = async (waId: string, text: string) =>
  office.call<{ code: string }>('POST', `/conversations/${(await office.conversation(waId)).id}/messages`, { text });
const change = async (waId: string, body: object) =>
  office.call<{ owner: string; mutedUntil: string | null; optedOutAt: string | null }>(
    'POST',
    `/conversations/${(await office.conversation(waId)).id}/handoff`,
    body,
  );
/** Moves all that is in the past of a conversation further into the past. */
const letPass = async (waId: string, ms: number) =>
  office.database.query(`UPDATE conversations SET muted_until = muted_until - $2 * interval '1 ms' WHERE id = $1`, [
    (await office.conversation(waId)).id,
    ms,
  ]);
const mailsOf = async (waId: string) =>
  office.database.query(`SELECT * FROM mails WHERE kind = 'handoff' AND about ->> 'conversationId' = $1`, [
    (await office.conversation(waId)).id,
  ]);
const historyOf = async (waId: string) =>
  office.database.query<{ text: string; number: number | null; history_reason: string | null; author: string }>(
    'SELECT text, number, history_reason, author FROM messages WHERE conversation_id = $1 ORDER BY id',
    [(await office.conversation(waId)).id],
  );
const untilStored = (waId: string, count: number) =>
  eventually(async () => (await historyOf(waId)).length === count, { what: 'it is stored', timeoutMs: 10_000 });

/** A contact who asked for a human and was told that one comes. */
async function handedOff(): Promise<string> {
  const waId = office.stranger();
  await office.write(waId, 'human please');
  await office.untilBubbles(waId, 1);
  return waId;
}
/** The AI has had its chance to speak in another conversation meanwhile. */
async function untilAiHasSpokenElsewhere(): Promise<void> {
  const other = office.stranger();
  await office.write(other, 'And you?');
  await office.untilBubbles(other, 1);
  await office.untilQuiet();
}

describe('asking for a human', () => {
  it.each(PHRASES)('by "%s": the confirmation, one mail, the AI is silent', async (phrase) => {
    const waId = office.stranger();
    await office.write(waId, `Hi! I would like to ${phrase.toUpperCase()}, thanks`);
    const [confirmation] = await office.untilBubbles(waId, 1);
    expect(confirmation?.body).toBe(CONFIRMATION);
    const { muted_until: mutedUntil, ...row } = await office.conversation(waId);
    expect(row).toMatchObject({ owner: 'human', held_by: 'human', epoch: 2 });
    const leftMs = (mutedUntil?.getTime() ?? 0) - Date.now();
    expect(Math.abs(leftMs - 24 * 3_600_000)).toBeLessThan(60_000);
    expect(await mailsOf(waId)).toHaveLength(1);

    await office.write(waId, `hello? ${phrase}!`);
    await untilStored(waId, 2);
    await untilAiHasSpokenElsewhere();
    expect(await bodies(waId)).toEqual([CONFIRMATION]);
    expect(await mailsOf(waId)).toHaveLength(1);
    expect(await historyOf(waId)).toMatchObject([{ number: 1 }, { number: null, history_reason: 'human_held' }]);
  });

  it('in Spanish is confirmed in Spanish', async () => {
    const waId = office.stranger();
    await office.write(waId, '¡Quiero hablar con una PERSONA, por favor!');
    expect((await office.untilBubbles(waId, 1))[0]?.body).toBe('Le paso con una persona…');
  });

  it('is by the chatbot’s own phrases and words, if it has some', async () => {
    await settings({
      handoff: { phrases: ['concierge'] },
      texts: { en: { handoff_confirmation: 'The concierge is coming.' } },
    });
    const waId = office.stranger();
    await office.write(waId, 'human please');
    expect((await office.untilBubbles(waId, 1))[0]?.body).toBe('You asked: human please');
    await office.write(waId, 'The Concierge?');
    expect((await office.untilBubbles(waId, 2))[1]?.body).toBe('The concierge is coming.');
    await settings({ handoff: { phrases: null }, texts: { en: { handoff_confirmation: null } } });
  });

  it('outside of business hours is told when somebody will be there', async () => {
    const today = new Intl.DateTimeFormat('en', { weekday: 'long', timeZone: 'UTC' }).format(Date.now()).toLowerCase();
    // Today from the first minute on is over, so that it is this day of next week.
    const days = { [today]: [{ from: '00:00', to: '00:01' }] };
    expect((await settings({ businessHours: { timeZone: 'UTC', days } })).status).toBe(200);
    const waId = await handedOff();
    expect((await bodies(waId))[0]).toMatch(/^Connecting you to a human agent… .* on [A-Z]\w+day from 00:00\.$/);
    await settings({ businessHours: null });
  });

  it('on a plan without it gets the plan’s notice, and the AI goes on', async () => {
    await office.database.query(`UPDATE workspaces SET plan = 'growth' WHERE id = $1`, [office.workspaceId]);
    const waId = office.stranger();
    await office.write(waId, 'human please');
    expect((await office.untilBubbles(waId, 1))[0]?.body).toContain('I cannot pass you on to a person here.');
    await office.write(waId, 'Do you have bread?');
    expect((await office.untilBubbles(waId, 2))[1]?.body).toBe('You asked: Do you have bread?');
    expect(await mailsOf(waId)).toHaveLength(0);
    await office.database.query(`UPDATE workspaces SET plan = 'scale' WHERE id = $1`, [office.workspaceId]);
  });

  it('mutes the AI for this contact only: B is answered on the same number in the same minute', async () => {
    const [a, b] = [office.stranger(), office.stranger()];
    const startedAt = Date.now();
    await office.write(a, 'live agent');
    await office.untilBubbles(a, 1);
    await office.write(b, 'Do you have bread?');
    const [answer] = await office.untilBubbles(b, 1);
    expect(answer?.body).toBe('You asked: Do you have bread?');
    expect(answer?.phoneNumberId).toBe((await office.bubbles(a))[0]?.phoneNumberId);
    expect(Date.now() - startedAt).toBeLessThan(60_000);
    expect(await bodies(a)).toEqual([CONFIRMATION]);
  });

  it('is confirmed at once though the answer before it is in doubt, and nothing of the AI comes after it', async () => {
    await office.sandbox.delivery({ statuses: false });
    await office.sandbox.faults({ kinds: ['text'], cutAfterAccept: 1, forNextCalls: 1 });
    const waId = office.stranger();
    await office.write(waId, 'Do you have bread?');
    const phases = async () =>
      (
        await office.database.query<{ phase: string }>(
          'SELECT phase FROM sends WHERE conversation_id = $1 ORDER BY position',
          [(await office.conversation(waId)).id],
        )
      ).map(({ phase }) => phase);
    await eventually(async () => (await phases())[0] === 'unknown', {
      what: 'the answer is in doubt',
      timeoutMs: 10_000,
    });
    await office.write(waId, 'real person');
    const said = (await office.untilBubbles(waId, 2)).map(({ body }) => body);
    expect(said).toEqual(['You asked: Do you have bread?', CONFIRMATION]);
    await office.untilQuiet();
    expect(await phases()).toEqual(['superseded', 'accepted']);
  });

  it('is confirmed as soon as a call under way is over, however it ends', async () => {
    await office.sandbox.delivery({ statuses: false });
    await office.sandbox.faults({ kinds: ['text'], latencyMs: 3_000, cutAfterAccept: 1, forNextCalls: 1 });
    const waId = office.stranger();
    await office.write(waId, 'Do you have bread?');
    const isCalling = async () =>
      (await office.database.query(`SELECT FROM attempts WHERE phase = 'calling'`)).length === 1;
    await eventually(isCalling, { what: 'Meta is called', timeoutMs: 10_000 });
    await office.write(waId, 'real person');
    expect((await office.untilBubbles(waId, 2)).map(({ body }) => body)).toEqual([
      'You asked: Do you have bread?',
      CONFIRMATION,
    ]);
  });
});

describe('the mute', () => {
  it('is silent at 23:59:59 and answers at 24:00:00, and only the new message', async () => {
    const waId = await handedOff();
    await letPass(waId, 24 * 3_600_000 - 5_000);
    await office.write(waId, 'Still there?');
    await untilStored(waId, 2);
    await untilAiHasSpokenElsewhere();
    expect(await bodies(waId)).toEqual([CONFIRMATION]);

    await letPass(waId, 5_000);
    await office.write(waId, 'Do you have bread?');
    expect((await office.untilBubbles(waId, 2))[1]?.body).toBe('You asked: Do you have bread?');
    expect(await office.conversation(waId)).toMatchObject({ owner: 'ai', held_by: null, epoch: 3, muted_until: null });
    expect((await historyOf(waId)).map(({ number }) => number)).toEqual([1, null, 2]);
    // It knows what was said meanwhile.
    expect(answerer.asked.at(-1)?.history.map(({ text }) => text)).toContain('Still there?');
  });
});

describe('the model’s judgement', () => {
  it('hands over when the chatbot lets it, and not otherwise', async () => {
    const waId = office.stranger();
    await office.write(waId, 'I have a complaint.');
    expect((await office.untilBubbles(waId, 1))[0]?.body).toBe('You asked: I have a complaint.');
    await settings({ handoff: { byModel: true } });
    await office.write(waId, 'It is a serious complaint.');
    expect((await office.untilBubbles(waId, 2))[1]?.body).toBe(CONFIRMATION);
    expect(await office.conversation(waId)).toMatchObject({ owner: 'human' });
    expect(await mailsOf(waId)).toHaveLength(1);
    // Not a reply that counts: one answer before it does.
    const used = await office.database.query(
      `SELECT sum(sign)::int AS used FROM usage_entries e JOIN turns t ON t.id = e.turn_id WHERE t.conversation_id = $1`,
      [(await office.conversation(waId)).id],
    );
    expect(used).toEqual([{ used: 1 }]);
    await settings({ handoff: { byModel: false } });
  });
});

describe('a human who answers', () => {
  it('takes over from the AI, is formatted and split as usual, shows ticks, and is not counted', async () => {
    const waId = office.stranger();
    answerer.close();
    const asked = await office.write(waId, 'Do you have bread?');
    await eventually(() => answerer.asked.at(-1)?.question === 'Do you have bread?', { what: 'an answer is made' });
    const before = await office.database.query('SELECT sum(used)::int AS used FROM usage');
    const answered = await say(waId, `We have **rye**.\n\n${'Fresh from the oven. '.repeat(250)}`);
    expect(answered).toMatchObject({ status: 201, body: { author: 'human', kind: 'human', status: 'pending' } });
    answerer.open();
    await untilAiHasSpokenElsewhere();
    const said = await bodies(waId);
    expect([said.length, said[0]]).toEqual([3, 'We have *rye*.']);
    expect(said.join(' ')).not.toContain('You asked');
    expect(await office.conversation(waId)).toMatchObject({ owner: 'human', held_by: 'human' });
    await eventually(async () => (await office.sandbox.calls(office, 'read')).some(({ wamid }) => wamid === asked), {
      what: 'ticks are shown',
    });
    // One of the AI in the other conversation.
    const after = await office.database.query<{ used: number }>('SELECT sum(used)::int AS used FROM usage');
    expect(after[0]?.used).toBe(Number(before[0]?.['used'] ?? 0) + 1);
  });

  it('shows no ticks before that while a human holds', async () => {
    const waId = await handedOff();
    const second = await office.write(waId, 'hello?');
    await untilStored(waId, 2);
    await untilAiHasSpokenElsewhere();
    const ticked = async () =>
      [...(await office.sandbox.calls(office, 'read')), ...(await office.sandbox.calls(office, 'typing'))].some(
        ({ wamid }) => wamid === second,
      );
    expect(await ticked()).toBe(false);
    await say(waId, 'Here I am.');
    await eventually(ticked, { what: 'ticks are shown' });
  });

  it('begins the 24 hours of silence anew with each word', async () => {
    const waId = await handedOff();
    await letPass(waId, 20 * 3_600_000);
    await say(waId, 'Here I am.');
    const { muted_until: mutedUntil } = await office.conversation(waId);
    expect((mutedUntil?.getTime() ?? 0) - Date.now()).toBeGreaterThan(23 * 3_600_000);
    expect(await office.untilBubbles(waId, 2)).toHaveLength(2);
  });

  it('is not superseded by a take-over that comes before it was sent', async () => {
    const waId = await handedOff();
    await office.database.query(`UPDATE channels SET send_hold_code = 'test' WHERE id = $1`, [office.channelId]);
    await say(waId, 'I am on my way.');
    await change(waId, { action: 'take_over' });
    await office.database.query('UPDATE channels SET send_hold_code = NULL WHERE id = $1', [office.channelId]);
    expect((await office.untilBubbles(waId, 2))[1]?.body).toBe('I am on my way.');
  });

  it('is refused when the contact has been silent for 24 hours, and nothing is changed', async () => {
    const waId = office.stranger();
    await office.write(waId, 'Do you have bread?');
    await office.untilBubbles(waId, 1);
    await office.untilQuiet();
    const { id } = await office.conversation(waId);
    await office.database.query(`UPDATE conversations SET window_until = now() WHERE id = $1`, [id]);
    expect(await say(waId, 'Anything else?')).toMatchObject({ status: 409, body: { code: 'window_closed' } });
    expect(await office.conversation(waId)).toMatchObject({ owner: 'ai', epoch: 1 });
    expect(await bodies(waId)).toHaveLength(1);
  });

  it('is refused without a text, and on a channel that is off', async () => {
    const waId = await handedOff();
    expect((await say(waId, ' ')).status).toBe(422);
    expect((await say(waId, '<!-- nothing -->')).status).toBe(422);
    await office.database.query('UPDATE channels SET answers = false WHERE id = $1', [office.channelId]);
    expect(await say(waId, 'Hello')).toMatchObject({ status: 409, body: { code: 'channel_off' } });
    await office.database.query('UPDATE channels SET answers = true WHERE id = $1', [office.channelId]);
  });
});

describe('taking over and handing back', () => {
  it('answers a take-over when the call under way is over, and the AI says no more', async () => {
    await office.sandbox.faults({ kinds: ['text'], latencyMs: 2_000, forNextCalls: 1 });
    const waId = office.stranger();
    await office.write(waId, 'Do you have bread?');
    const calls = async () => office.database.query(`SELECT FROM attempts WHERE phase = 'calling'`);
    await eventually(async () => (await calls()).length === 1, { what: 'Meta is called', timeoutMs: 10_000 });
    const taken = await change(waId, { action: 'take_over' });
    expect(taken).toMatchObject({ status: 200, body: { owner: 'human', mutedUntil: expect.any(String) } });
    expect(await calls()).toHaveLength(0);
    expect(await bodies(waId)).toEqual(['You asked: Do you have bread?']);
    await office.write(waId, 'And rolls?');
    await untilStored(waId, 2);
    await untilAiHasSpokenElsewhere();
    expect(await bodies(waId)).toHaveLength(1);
  });

  it('holds without an end when told so', async () => {
    const waId = await handedOff();
    expect((await change(waId, { action: 'take_over', untilHandBack: true })).body.mutedUntil).toBeNull();
    await say(waId, 'Here I am.');
    expect((await office.conversation(waId)).muted_until).toBeNull();
  });

  it('hands back with a note that the model reads and the contact does not', async () => {
    const waId = await handedOff();
    await office.write(waId, 'I need a cake for Sunday.');
    await untilStored(waId, 2);
    await say(waId, 'It will be ready.');
    await office.untilBubbles(waId, 2);
    const back = await change(waId, { action: 'hand_back', note: 'The cake is booked for Sunday.' });
    expect(back.body).toMatchObject({ owner: 'ai', mutedUntil: null });
    await office.write(waId, 'What did we agree?');
    expect((await office.untilBubbles(waId, 3))[2]?.body).toBe('You asked: What did we agree?');
    const history = answerer.asked.at(-1)?.history ?? [];
    expect(history.slice(-2)).toEqual([
      { author: 'human', text: 'It will be ready.' },
      { author: 'human', text: expect.stringContaining('handed the conversation back to you. The cake is booked') },
    ]);
    expect((await bodies(waId)).join(' ')).not.toContain('handed');
    // The AI has it already.
    expect((await change(waId, { action: 'hand_back' })).status).toBe(200);
    expect((await historyOf(waId)).filter(({ author }) => author === 'system')).toHaveLength(1);
  });
});

describe('others who speak', () => {
  const echo = (waId: string, id: string, text: string) => ({
    message_echoes: [
      {
        from: '12025550199',
        to: waId,
        id,
        timestamp: String(Math.floor(Date.now() / 1000)),
        type: 'text',
        text: { body: text },
      },
    ],
  });

  it('a colleague on the phone takes over, also from an answer that is being made', async () => {
    const waId = office.stranger();
    answerer.close();
    await office.write(waId, 'Are you open?');
    await eventually(() => answerer.asked.at(-1)?.question === 'Are you open?', { what: 'an answer is made' });
    await office.deliver('smb_message_echoes', echo(waId, `wamid.${waId}`, 'We open at seven.'));
    await eventually(async () => (await office.conversation(waId)).owner === 'human', { what: 'the echo is stored' });
    answerer.open();
    await untilAiHasSpokenElsewhere();
    expect(await bodies(waId)).toEqual([]);
    const { id } = await office.conversation(waId);
    const shown = await office.call<{ items: object[] }>('GET', `/conversations/${id}/messages`);
    expect(shown.body.items[0]).toMatchObject({
      author: 'phone_app',
      direction: 'outbound',
      text: 'We open at seven.',
    });
    expect((await office.call('GET', `/conversations/${id}`)).body).toMatchObject({ owner: 'human', heldBy: 'human' });
  });

  it('an echo of what we sent ourselves changes nothing', async () => {
    const waId = office.stranger();
    await office.write(waId, 'Are you open?');
    const [answer] = await office.untilBubbles(waId, 1);
    await office.untilQuiet();
    await office.deliver('smb_message_echoes', echo(waId, answer?.wamid ?? '', answer?.body ?? ''));
    await untilAiHasSpokenElsewhere();
    expect(await office.conversation(waId)).toMatchObject({ owner: 'ai', epoch: 1 });
    expect(await historyOf(waId)).toHaveLength(1);
  });

  it('nor does one that comes before Meta has answered the call', async () => {
    await office.sandbox.faults({ kinds: ['text'], latencyMs: 3_000, forNextCalls: 1 });
    const waId = office.stranger();
    await office.write(waId, 'Are you open?');
    const isCalling = async () =>
      (await office.database.query(`SELECT FROM attempts WHERE phase = 'calling'`)).length === 1;
    await eventually(isCalling, { what: 'Meta is called', timeoutMs: 10_000 });
    await office.deliver('smb_message_echoes', echo(waId, `wamid.unknown${waId}`, 'You asked: Are you open?'));
    await office.untilBubbles(waId, 1);
    await office.untilQuiet();
    expect(await office.conversation(waId)).toMatchObject({ owner: 'ai', epoch: 1 });
    expect(await historyOf(waId)).toHaveLength(1);
  });

  it('Meta’s own agent holds a conversation until it gives it up', async () => {
    const waId = office.stranger();
    const now = () => String(Math.floor(Date.now() / 1000));
    const message = (text: string) => ({
      from: waId,
      id: `wamid.${text}${waId}`,
      timestamp: now(),
      type: 'text',
      text: { body: text },
    });
    const said = { messaging_product: 'whatsapp', to: waId, type: 'text', text: { body: 'Yes, we are.' } };
    await office.deliver('standby', { standby: { contacts: [{ wa_id: waId }], messages: [message('Open?')] } });
    await office.deliver('standby', {
      standby: { message_echoes: [{ id: `wamid.agent${waId}`, timestamp: now(), message: said }] },
    });
    await eventually(async () => (await historyOf(waId)).length === 2, { what: 'both are stored', timeoutMs: 10_000 });
    await untilAiHasSpokenElsewhere();
    expect(await office.conversation(waId)).toMatchObject({ owner: 'human', held_by: 'meta_agent' });
    expect((await historyOf(waId)).map(({ author, number }) => [author, number])).toEqual([
      ['contact', null],
      ['meta_agent', null],
    ]);
    expect(await bodies(waId)).toEqual([]);

    await office.deliver('messaging_handovers', {
      sender: { phone_number: waId },
      timestamp: now(),
      type: 'control_passed',
      control_passed: { previous_owner_app_role: 'meta_business_agent', new_owner_role: 'escalation' },
    });
    // What it had said before comes late.
    await eventually(async () => (await office.conversation(waId)).owner === 'ai', {
      what: 'it is ours',
      timeoutMs: 10_000,
    });
    const late = { ...said, text: { body: 'I will pass you on.' } };
    const before = String(Math.floor(Date.now() / 1000) - 60);
    await office.deliver('standby', {
      standby: { message_echoes: [{ id: `wamid.late${waId}`, timestamp: before, message: late }] },
    });
    await untilStored(waId, 4);
    await office.write(waId, 'Do you have bread?');
    expect((await office.untilBubbles(waId, 1))[0]?.body).toBe('You asked: Do you have bread?');
    expect(answerer.asked.at(-1)?.history).toContainEqual({ author: 'human', text: 'Yes, we are.' });
  });
});

describe('a contact who wants no AI', () => {
  it.each([
    ['STOP', 'Start!'],
    ['¡baja!', 'ALTA'],
  ])('writes %s and gets none until %s', async (stop, start) => {
    const waId = office.stranger();
    answerer.close();
    await office.write(waId, 'Are you open?');
    await eventually(() => answerer.asked.at(-1)?.question === 'Are you open?', { what: 'an answer is made' });
    await office.write(waId, stop);
    await untilStored(waId, 2);
    answerer.open();
    await office.write(waId, 'human please');
    await untilStored(waId, 3);
    await untilAiHasSpokenElsewhere();
    expect(await bodies(waId)).toEqual([]);
    const { id } = await office.conversation(waId);
    expect((await office.call('GET', `/conversations/${id}`)).body).toMatchObject({
      owner: 'ai',
      optedOutAt: expect.any(String),
    });

    await office.write(waId, start);
    await untilStored(waId, 4);
    await office.write(waId, 'Do you have bread?');
    expect((await office.untilBubbles(waId, 1)).map(({ body }) => body)).toEqual(['You asked: Do you have bread?']);
    expect((await office.call('GET', `/conversations/${id}`)).body).toMatchObject({ optedOutAt: null });
  });

  it('is asked back by a hand-back, and a human may answer meanwhile', async () => {
    const waId = office.stranger();
    await office.write(waId, 'stop');
    await eventually(async () => (await office.conversation(waId)).opted_out_at !== null, {
      what: 'it is judged',
      timeoutMs: 10_000,
    });
    expect((await say(waId, 'Of course.')).status).toBe(201);
    await office.untilBubbles(waId, 1);
    expect((await change(waId, { action: 'hand_back' })).body).toMatchObject({ owner: 'ai', optedOutAt: null });
    await office.write(waId, 'Do you have bread?');
    expect(await office.untilBubbles(waId, 2)).toHaveLength(2);
  });

  it('says so with the whole message, in the chatbot’s own words if it has some', async () => {
    const waId = office.stranger();
    await office.write(waId, 'Where does the bus stop?');
    await office.untilBubbles(waId, 1);
    expect((await office.conversation(waId)).opted_out_at).toBeNull();
    await settings({ optOut: { stopWords: ['ruhe bitte'] } });
    await office.write(waId, 'stop');
    await office.untilBubbles(waId, 2);
    await office.write(waId, 'Ruhe, bitte!');
    await eventually(async () => (await office.conversation(waId)).opted_out_at !== null, {
      what: 'it is judged',
      timeoutMs: 10_000,
    });
    await settings({ optOut: { stopWords: null } });
  });
});

describe('switching the AI off', () => {
  it('stops it within 2 s: an answer that is being made and one that waits are never sent', async () => {
    const [making, waiting] = [office.stranger(), office.stranger()];
    await office.database.query(`UPDATE channels SET send_hold_code = 'test' WHERE id = $1`, [office.channelId]);
    await office.write(waiting, 'Do you have bread?');
    await eventually(
      async () => (await office.database.query(`SELECT FROM sends WHERE phase = 'pending'`)).length === 1,
      {
        what: 'an answer waits',
        timeoutMs: 10_000,
      },
    );
    answerer.close();
    await office.write(making, 'And rolls?');
    await eventually(() => answerer.asked.at(-1)?.question === 'And rolls?', { what: 'an answer is made' });

    const off = await settings({ aiEnabled: false });
    expect(off).toMatchObject({ status: 200, body: { aiEnabled: false } });
    const callsBefore = (await office.sandbox.calls(office)).length;
    await office.database.query('UPDATE channels SET send_hold_code = NULL WHERE id = $1', [office.channelId]);
    answerer.open();
    await office.untilQuiet();
    await office.write(making, 'Hello?');
    await untilStored(making, 2);
    expect((await office.sandbox.calls(office)).length).toBe(callsBefore);
    expect(await historyOf(making)).toMatchObject([{ number: 1 }, { history_reason: 'ai_off' }]);
    // A human may.
    await say(making, 'We have rolls.');
    expect(await office.untilBubbles(making, 1)).toHaveLength(1);

    await settings({ aiEnabled: true });
    await office.write(waiting, 'Still there?');
    expect((await office.untilBubbles(waiting, 1)).map(({ body }) => body)).toEqual(['You asked: Still there?']);
  });
});
