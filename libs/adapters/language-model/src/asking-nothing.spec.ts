import { describe, expect, it } from '@jest/globals';
import { isAskingNothing } from './asking-nothing.ts';

describe('isAskingNothing', () => {
  it.each([
    'hi',
    'Hello there!',
    'Hello?',
    'Good morning',
    'Hi, how are you?',
    "Hey! What's up?",
    'Thanks, bye',
    'thank you so much for your help',
    'perfect, see you later',
    'OK great, that was all. Have a nice weekend!',
    '??',
    '👍',
    'Hola, buenos días',
    '¡Hola! ¿Qué tal?',
    'Gracias, hasta luego',
    'Muchas gracias por todo, que tengas un buen día',
    'vale, está bien',
    'merci',
    'ok',
  ])('of %j', (text) => {
    expect(isAskingNothing(text)).toBe(true);
  });

  it.each([
    'vegan cake?',
    'hi, do you have parking',
    'parking',
    'is it open 24 hours',
    '¿Abren los domingos?',
    // Words that say nothing by themselves, but ask for something that was talked about.
    'How much is it?',
    'how much',
    'thanks, how much is it',
    'Is it possible?',
    'is it',
    'Can you do that for me?',
    'And then?',
    'ok, is it for me?',
    'and the weekend?',
    'weekend',
    'which one',
    'why',
    'who are you',
    '¿Cuánto?',
    'cuanto es',
    'gracias, ¿y eso?',
    '¿Puede ser hoy?',
    '好吗',
  ])('not of %j', (text) => {
    expect(isAskingNothing(text)).toBe(false);
  });
});
