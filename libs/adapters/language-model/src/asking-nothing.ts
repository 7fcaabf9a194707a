import { words } from './content-words.ts';

/** Greetings and thanks as they stand in {@link words}, with those that look like a question and are none. */
const salutations = new RegExp(
  String.raw`\b(?:hi|hello|hey|hiya|hola|ola|buenas|bonjour|salut|hallo|ciao|merci|danke|grazie|obrigad[oa]|thanks|thank you|gracias|ok|` +
    String.raw`how are you(?: doing)?(?: today)?|how is it going|hows it going|whats up|` +
    String.raw`que tal(?: esta| estas| va)?(?: todo)?|como (?:estas|esta|va|andas)(?: todo)?)\b`,
  'g',
);
/** One of these makes a message a courtesy. */
const courtesies = new Set(
  words(`good morning afternoon evening goodbye bye okay yes no yep nope sure please thank thx cheers sorry welcome great perfect nice awesome
    wonderful lovely fine cool super excellent amazing brilliant appreciate appreciated pleasure
    buenos adios vale si claro favor perdon disculpa disculpe genial perfecto perfecta excelente estupendo bueno bien hasta saludos
    saludo amable igualmente chau chao tchau`),
);
/** These may stand beside them. None asks for anything. */
const fillers = new Set(
  words(`a an the and so very too much all again well just really now then also to for of in at by on with my me we i im you u your yours
    it its that thats this is was be been have had there dear everyone everybody team help day night tonight tomorrow today week weekend
    see later soon kind problem problems worries
    al de del la las el los lo un una unos y e o por para con su sus tu tus ti usted ustedes le les te me mi que todo toda todos todas
    muy mucho mucha muchos muchas mil es fue ha sido has han hay nada tenga tengas tengan pase pases pasen en ya esta eso ayuda dia dias
    tarde tardes noche noches fin semana finde feliz linda lindo buen buena luego pronto manana proxima`),
);

/**
 * Whether a message only greets, thanks, agrees or takes leave, in English or Spanish; a sign or an emoji alone too. `how much is it?`
 * is none, though no word of it says by itself what is asked.
 */
export function isAskingNothing(message: string): boolean {
  const said = words(message).join(' ');
  const left = words(said.replaceAll(salutations, ' '));
  if (left.length === 0) return true;
  if (/[?？؟]/.test(message)) return false;
  const isCourteous = left.join(' ').length < said.length || left.some((word) => courtesies.has(word));
  return isCourteous && left.every((word) => courtesies.has(word) || fillers.has(word));
}
