import { type ReplyKind } from '@answerline/contracts';

/** Replies that are fixed texts. */
export type FixedKind = Exclude<ReplyKind, 'answer' | 'human' | 'template'>;
/** Languages of the catalogue. */
export type TextLanguage = 'en' | 'es';

const english: Record<FixedKind, string> = {
  abstain: 'Sorry, I could not find that in the information I have. If you like, I can pass you on to a person.',
  fallback: 'Sorry, something is not working on our side at the moment. Please try again in a little while.',
  over_quota: 'Thank you for your message. Nobody can answer here at the moment, please try again later.',
  limited: 'You have asked a lot in a short time. Please give me a moment and write again later.',
  handoff_confirmation: 'Connecting you to a human agent…',
  media_notice: 'I can only read text for now. Could you write your question as a message?',
  plan_notice: 'I cannot pass you on to a person here. I am happy to help with questions about our business.',
};

const spanish: Record<FixedKind, string> = {
  abstain: 'Lo siento, no he encontrado eso en la información que tengo. Si quiere, puedo pasarle con una persona.',
  fallback: 'Lo siento, ahora mismo algo no funciona por nuestra parte. Inténtelo de nuevo dentro de un rato.',
  over_quota: 'Gracias por su mensaje. En este momento nadie puede responder aquí, inténtelo más tarde.',
  limited: 'Ha preguntado mucho en poco tiempo. Deme un momento y vuelva a escribir más tarde.',
  handoff_confirmation: 'Le paso con una persona…',
  media_notice: 'De momento solo puedo leer texto. ¿Podría escribir su pregunta en un mensaje?',
  plan_notice: 'Aquí no puedo pasarle con una persona. Con gusto respondo preguntas sobre nuestro negocio.',
};

/** What contacts are told, by language and kind. A chatbot may override each. */
export const textCatalogue: Record<TextLanguage, Record<FixedKind, string>> = { en: english, es: spanish };

/** The text of a kind: the chatbot's own if it has one, else the catalogue's; English when the language is not known. */
export function fixedText(
  kind: FixedKind,
  language: string,
  overrides: Readonly<Record<string, Readonly<Record<string, string>>>>,
): string {
  const known: TextLanguage = language === 'es' ? 'es' : 'en';
  return overrides[language]?.[kind] ?? overrides[known]?.[kind] ?? textCatalogue[known][kind];
}
