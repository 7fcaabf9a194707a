import { describe, expect, it } from '@jest/globals';
import { ExtractiveAnswerer } from './extractive-answerer.ts';
import type { AnswerPassage, AnswerRequest } from './answerer.ts';

const hours: AnswerPassage = {
  passageId: 'hours',
  title: 'Visit us',
  headingPath: ['Opening hours'],
  text: 'We open at **7:00** and close at 18:00.',
};
const parking: AnswerPassage = { passageId: 'parking', title: 'Visit us', headingPath: [], text: 'Park in the yard.' };

const ask = (question: string, overrides: Partial<AnswerRequest> = {}) =>
  new ExtractiveAnswerer().answer({
    question,
    history: [],
    passages: [hours, parking],
    language: 'en',
    instructions: '',
    signal: new AbortController().signal,
    ...overrides,
  });

describe('ExtractiveAnswerer', () => {
  it('answers with the best passage as it stands and the title of its source', async () => {
    expect(await ask('When do you open?')).toEqual({
      kind: 'answer',
      text: 'We open at **7:00** and close at 18:00.\n\n_Visit us_',
      citedPassageIds: ['hours'],
      model: 'extractive',
      promptVersion: null,
      costMicros: 0,
      usage: { inputTokens: 0, outputTokens: 0 },
    });
  });

  it('abstains when fewer than half of the content words stand there, and answers with half of them', async () => {
    expect((await ask('opening violin')).kind).toBe('answer');
    expect((await ask('opening violin piano')).kind).toBe('abstain');
    expect((await ask('Do you repair violins?')).kind).toBe('abstain');
  });

  it('judges by the best passage only', async () => {
    expect((await ask('Can I park in the yard?')).kind).toBe('abstain');
  });

  it.each(['hi', '??', '', '👍', 'Can you tell me something?'])(
    'abstains on %j, which asks for nothing',
    async (question) => {
      expect(await ask(question)).toEqual({
        kind: 'abstain',
        model: 'extractive',
        promptVersion: null,
        costMicros: 0,
        usage: { inputTokens: 0, outputTokens: 0 },
      });
    },
  );

  it('abstains without passages', async () => {
    expect((await ask('When do you open?', { passages: [] })).kind).toBe('abstain');
  });

  it('reads the question in its own language, else in the one given', async () => {
    const horario = { ...hours, text: 'Los panes se recogen en la tienda.' };
    expect((await ask('¿Dónde recogen un pan?', { passages: [horario] })).kind).toBe('answer');
    expect((await ask('panes', { passages: [horario], language: 'es' })).kind).toBe('answer');
  });

  it('links the source when it has an address to show, and shows a title as it is written', async () => {
    const text = async (passage: Partial<AnswerPassage>) => {
      const answer = await ask('opening', { passages: [{ ...hours, text: 'We open.', ...passage }] });
      return answer.kind === 'answer' ? answer.text : undefined;
    };
    expect(await text({ sourceUrl: 'https://example.com/a b>(c)' })).toBe(
      'We open.\n\n[Visit us](<https://example.com/a%20b%3E(c)>)',
    );
    expect(await text({ title: 'A *new*\n[menu]_x' })).toBe('We open.\n\n_A \\*new\\* \\[menu\\]\\_x_');
    expect(await text({ title: ' ' })).toBe('We open.');
  });

  it('stops at an abort', async () => {
    const reason = new Error('superseded');
    await expect(ask('When do you open?', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
