import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { contentWords, detectLanguage, overlapShare } from './content-words.ts';

const passage = (text: string, title = '', headingPath: string[] = []) => ({ text, title, headingPath });

describe('contentWords', () => {
  it.each([
    ['What are your opening hours?', ['open', 'hour']],
    ['Hi there, could you please tell me how much a baguette is? Thanks!', ['baguett']],
    ["What's the dog's name, and don't you sell DOGS?", ['dog', 'name', 'sell']],
    ['Is L-4471 6.50?', ['4471', '6', '50']],
    ['ＦＵＬＬ width CAFÉ', ['full', 'width', 'cafe']],
  ])('of %j', (text, expected) => {
    expect(contentWords(text, 'en')).toEqual(expected);
  });

  it('of Spanish are the same with and without accents, in any form', () => {
    const expected = contentWords('¿Cuánto cuesta un envío a la panadería?', 'es');
    expect(expected).toHaveLength(3);
    expect(contentWords('cuanto cuestan los envios a las panaderias', 'es').slice(1)).toEqual(expected.slice(1));
    expect(contentWords('¿Cua\u0301nto cuesta un envi\u0301o a la panaderi\u0301a?', 'es')).toEqual(expected);
  });

  it.each(['¿Hay trabajo?', '¿A qué hora?', 'la cuenta', '¿abren temprano?'])('keep what %j is about', (text) => {
    expect(contentWords(text, 'es')).not.toEqual([]);
  });

  it.each(['', '??', 'hi', 'Hello!', 'thank you', 'ok', '👍🥐', '...', 'good morning', 'Can you tell me something?'])(
    'of %j are none',
    (text) => {
      expect(contentWords(text, 'en')).toEqual([]);
    },
  );

  it.each(['hola', 'Buenos días', 'muchas gracias', '¿me puede decir una cosa?'])('of %j are none', (text) => {
    expect(contentWords(text, 'es')).toEqual([]);
  });

  it('bear any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('en' as const, 'es' as const), (text, language) => {
        const found = contentWords(text, language);
        expect(new Set(found).size).toBe(found.length);
        const share = overlapShare(text, passage(text), language);
        expect(share).toBe(found.length === 0 ? 0 : 1);
      }),
    );
  });
});

describe('overlapShare', () => {
  it('counts words of the text, the title and the headings, in other forms too', () => {
    expect(overlapShare('parking for bicycles', passage('You can park here.', '', ['Bicycle stand']), 'en')).toBe(1);
    expect(overlapShare('parking for bicycles', passage('', 'Parking'), 'en')).toBe(0.5);
    expect(overlapShare('parking for bicycles', passage('We bake bread.'), 'en')).toBe(0);
  });

  it('is 0 for a question without a content word', () => {
    expect(overlapShare('hi', passage('hi'), 'en')).toBe(0);
  });
});

describe('detectLanguage', () => {
  it.each([
    ['When are you open?', 'en'],
    ['do you have rye bread', 'en'],
    ['Is there a café near you?', 'en'],
    ['¿Abren los domingos?', 'es'],
    ['cuando es el taller', 'es'],
    ['quiero un pan de centeno', 'es'],
    ['Hola', 'es'],
    ['pan sin gluten', 'es'],
    ['sourdough', undefined],
    ['42', undefined],
    ['', undefined],
  ])('of %j is %s', (text, expected) => {
    expect(detectLanguage(text)).toBe(expected);
  });
});
