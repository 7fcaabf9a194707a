import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { asksFor, isOneOf } from './said-words.ts';

const PHRASES = ['talk to a human', 'real person', 'hablar con alguien', '人間と話', 'Straße'];

describe('a phrase', () => {
  it.each([
    ['as it stands', 'talk to a human'],
    ['in any case', 'TALK To A Human'],
    ['between other words', 'hi, I would like to talk to a human now please'],
    ['with punctuation in it', '¿¡Talk, to a... human?!'],
    ['over two lines', 'talk to\na human'],
    ['with blanks of any kind', 'talk\u00a0to \t a\u3000human'],
    ['in full-width letters', 'ｔａｌｋ ｔｏ ａ ｈｕｍａｎ'],
    ['in mathematical letters', '𝐭𝐚𝐥𝐤 𝐭𝐨 𝐚 𝐡𝐮𝐦𝐚𝐧'],
    ['with accents it has not', 'tálk to à hümân'],
    ['with accents apart', 'ta\u0301lk to a human'],
    ['with signs that nobody sees', 'ta\u00adlk to a hu\u200bman\u2060'],
    ['in marks of a chat', '*talk* to _a_ ~human~'],
    ['beside emoji', 'real person🙏'],
    ['where words are not parted', '今すぐ人間と話したいです'],
    ['with ß as SS', 'DIE STRASSE'],
  ])('is found %s', (_how, text) => expect(asksFor(text, PHRASES)).toBe(true));

  it.each([
    ['a part of a longer word', 'a surreal personality'],
    ['with another word in between', 'talk to a nice human'],
    ['its words in another order', 'a human to talk'],
    ['only its beginning', 'talk to a'],
    ['letters of it', 'talktoahuman'],
    ['nothing', ''],
    ['only signs', '?! 🙏'],
  ])('is not found in %s', (_what, text) => expect(asksFor(text, PHRASES)).toBe(false));

  it('that holds no word is in no text', () => expect(asksFor('? !', ['', '?', ' '])).toBe(false));

  it('is found wherever it stands among other words', () => {
    const word = fc.stringMatching(/^[a-z]{1,8}$/);
    const words = fc.array(word, { maxLength: 5 }).map((list) => list.join(' '));
    fc.assert(
      fc.property(words, fc.constantFrom(...PHRASES), words, (before, phrase, after) =>
        asksFor(`${before} ${phrase.toUpperCase()} ${after}`, PHRASES),
      ),
    );
  });

  it('is looked for in any text without an error', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: 'binary' }),
        (text, phrase) => typeof asksFor(text, [phrase]) === 'boolean',
      ),
    );
  });
});

describe('a word that is the whole message', () => {
  it.each(['stop', 'STOP', ' Stop! ', '¡Stop!', 'stóp', '*STOP*', 'stop 🙏'])('%s', (text) =>
    expect(isOneOf(text, ['stop', 'baja'])).toBe(true),
  );
  it.each(['please stop', 'stop it', 'bus stop', 'stopp', '', '!'])('but not: %s', (text) =>
    expect(isOneOf(text, ['stop', 'baja', '!'])).toBe(false),
  );
});
