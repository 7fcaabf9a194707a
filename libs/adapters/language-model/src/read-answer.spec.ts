import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ChatCompletion } from './chat-model.ts';
import { RULES_SENTENCE } from './grounded-prompt.ts';
import { readAnswer, spokenSoFar, withoutMarks } from './read-answer.ts';

const read = (text: string, finishReason: ChatCompletion['finishReason'] = 'stop', question = 'When do you open?') =>
  readAnswer({ text, finishReason }, { question, passageCount: 3, codes: ['c0de'] });
const again = (reason: string) => ({ verdict: 'again', reason });
const unusable = (reason: string) => ({ verdict: 'unusable', reason });

describe('an answer that cites', () => {
  it.each([
    ['We open at 7 [1].', 'We open at 7.', [1]],
    ['We open at 7. [1]', 'We open at 7.', [1]],
    ['We open at 7 [1] .', 'We open at 7.', [1]],
    ['[2] We open at 7.', 'We open at 7.', [2]],
    ['- Rye [1]\n- Spelt [2][3]\n\nEnjoy [1]!', '- Rye\n- Spelt\n\nEnjoy!', [1, 2, 3]],
    ['Both [3, 1] and [1; 2].', 'Both and.', [3, 1, 2]],
    ['All [1-3] of them', 'All of them', [1, 2, 3]],
    ['A [^1], b [Passage 2] c [source 3].', 'A, b c.', [1, 2, 3]],
    ['A 【1†source】.', 'A.', [1]],
    ['A [1](https://example.com/1).', 'A.', [1]],
    ['Look at [our menu](https://example.com/m) [2].', 'Look at [our menu](https://example.com/m).', [2]],
    ['Since [2024] we do [1] and [9].', 'Since [2024] we do and.', [1]],
  ])('%j is %j', (text, spoken, cited) => {
    expect(read(text)).toEqual({ verdict: 'answer', text: spoken, cited });
  });

  it('is used up to its last whole sentence when it was cut off', () => {
    expect(read('We open at 7.50 sharp. [1] We close at 6 [2]. On Sun', 'length')).toEqual({
      verdict: 'answer',
      text: 'We open at 7.50 sharp. We close at 6.',
      cited: [1, 2],
    });
    expect(read('We open at 7 and we clo', 'length')).toEqual(again('too_long'));
    expect(read('We open at 7. It is early [1', 'length')).toEqual(again('too_long'));
  });

  it('is asked for again when it is longer than a message', () => {
    expect(read('We bake rye [1]. '.repeat(200)).verdict).toBe('answer');
    expect(read('We bake rye [1]. '.repeat(400))).toEqual(again('too_long'));
    expect(read('We bake rye [1]. '.repeat(400), 'length')).toEqual(again('too_long'));
  });
});

describe('the mark that hands over', () => {
  const offered = (text: string) =>
    readAnswer({ text, finishReason: 'stop' }, { question: 'A human!', passageCount: 3, codes: [], mayHandOff: true });

  it.each([
    '[HANDOFF]',
    ' [HANDOFF].',
    '[ handoff ]',
    'HANDOFF',
    '"HANDOFF"',
    'One moment. [HANDOFF]',
    '[NO_ANSWER] [HANDOFF]',
  ])('%j does where it was offered', (text) => expect(offered(text)).toEqual({ verdict: 'handoff' }));

  it.each(['The handoff of keys is at 3 pm [1].', 'A handoff [2]'])('%j does not', (text) =>
    expect(offered(text).verdict).toBe('answer'),
  );

  it('is no answer where it was not offered', () => {
    expect(read('[HANDOFF]')).not.toMatchObject({ verdict: 'handoff' });
    expect(read('[HANDOFF]').verdict).not.toBe('answer');
  });
});

describe('an answer that cites nothing', () => {
  it.each(['We open at seven.', 'Yes, we do!', 'See [9].', 'Look at [0].', 'Hello!'])(
    '%j is asked for again',
    (text) => {
      expect(read(text)).toEqual(again('uncited'));
    },
  );

  it.each([
    ['hi', 'Hello! How can I help you?'],
    ['Hola, buenos días', '¡Hola! ¿En qué puedo ayudarle?'],
    ['thank you so much for your help', "You're welcome 😊"],
    ['👍', '👍'],
  ])('is let through as a courtesy: to %j, %j', (question, text) => {
    expect(read(text, 'stop', question)).toEqual({ verdict: 'answer', text, cited: [] });
  });

  it.each([
    'Hello! We open at 7.',
    'Hello, look at https://example.com',
    'Hello, look at bakery.example',
    'Hello, write to us@example.com',
    `Hello! ${'We are glad that you are here. '.repeat(7)}`,
  ])('is no courtesy: %j', (text) => {
    expect(read(text, 'stop', 'hi')).toEqual(again('uncited'));
  });

  it.each(['How much is it?', 'is it possible', 'And then?', '¿Cuánto?', 'Can you?'])(
    'is asked for again where the contact asked something, in whatever few words: %j',
    (question) => {
      expect(read('Yes, of course.', 'stop', question)).toEqual(again('uncited'));
    },
  );
});

describe('an abstention', () => {
  it.each(['[NO_ANSWER]', 'NO_ANSWER', '**NO\\_ANSWER**', 'I do not know. [no_answer]', 'Open at 7 [1]. [NO_ANSWER]'])(
    'is %j',
    (text) => {
      expect(read(text)).toEqual({ verdict: 'abstain' });
    },
  );

  it('is what the endpoint filtered', () => {
    expect(read('We open [1]', 'content_filter')).toEqual({ verdict: 'abstain' });
  });

  it('is not an answer about answers', () => {
    expect(read('There is no answer from them yet [1].').verdict).toBe('answer');
  });
});

describe('what cannot be used', () => {
  it.each([
    ['...', 'no_words'],
    ['[1]', 'no_words'],
    ['"?!" [2].', 'no_words'],
    ['\uFFFD\uFFFDopen\uFFFD [1]', 'not_text'],
    ['open\u0000\u0001 [1]', 'not_text'],
    [`${RULES_SENTENCE}. [1]`, 'prompt_repeated'],
    ['<passage-c0de number="1"> open [1]', 'prompt_repeated'],
  ])('%j: %s', (text, reason) => {
    expect(read(text)).toEqual(unusable(reason));
  });
});

describe('spokenSoFar', () => {
  it('holds back what may become a mark or the no-answer token', () => {
    expect(spokenSoFar('We open at 7 ')).toBe('We open at 7');
    expect(spokenSoFar('We open at 7 [')).toBe('We open at 7');
    expect(spokenSoFar('We open at 7 [1](http://exa')).toBe('We open at 7');
    expect(spokenSoFar('We open at 7 [1]. Later')).toBe('We open at 7. Later');
    expect(spokenSoFar('Sorry. [NO_AN')).toBe('Sorry.');
    expect(spokenSoFar('Sorry. NO_')).toBe('Sorry.');
    expect(spokenSoFar('Sorry. [NO_ANSWER] really')).toBe('Sorry.');
    expect(spokenSoFar(`Sorry. [${'x'.repeat(80)}`)).toContain('xxx');
  });

  it('only grows while a text does, shows no mark, and ends as the whole text', () => {
    const part = fc.constantFrom(
      'We open',
      ' ',
      '\n',
      '.',
      '[1]',
      '[',
      ']',
      '(',
      ')',
      '2',
      ', ',
      '【1†s】',
      'NO',
      '_ANSWER',
      'a-b',
      'é',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 25 }), (parts) => {
        const text = parts.join('');
        // Not a mark within a mark, which would be one when the inner one is gone.
        fc.pre(!/\[[^\]]*[[【]|NO *(?:\[|【)/.test(text));
        let before = '';
        for (let length = 0; length <= text.length; length += 1) {
          const spoken = spokenSoFar(text.slice(0, length));
          expect(spoken.startsWith(before)).toBe(true);
          expect(spoken).not.toMatch(/\[\d+\]|NO_ANSWER/);
          before = spoken;
        }
        if (!/NO_ANSWER/.test(text)) expect(withoutMarks(text).startsWith(before)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes no long time over hostile texts', () => {
    const texts = [
      ' '.repeat(50_000),
      '['.repeat(50_000),
      '[1'.repeat(25_000),
      '[1 '.repeat(20_000),
      'NO_ '.repeat(20_000),
    ];
    const startedAt = performance.now();
    for (const text of texts) {
      spokenSoFar(text);
      read(text);
    }
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
