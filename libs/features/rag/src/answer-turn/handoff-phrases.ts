/** What asks for a human, in English and Spanish; a chatbot may have its own list. */
export const defaultHandoffPhrases: readonly string[] = [
  'talk to a human',
  'speak to someone',
  'human please',
  'speak to an agent',
  'real person',
  'live agent',
  'hablar con una persona',
  'hablar con alguien',
  'hablar con un humano',
  'hablar con un agente',
  'una persona real',
];

/** Whether a text asks for a human: one of the phrases in it as whole words, whatever its case, accents and punctuation. */
export function asksForHuman(text: string, phrases: readonly string[]): boolean {
  const words = ` ${plainWords(text)} `;
  return phrases.some((phrase) => {
    const plain = plainWords(phrase);
    return plain !== '' && words.includes(` ${plain} `);
  });
}

/** NFKD, no accents, lower case, one space between words. */
function plainWords(text: string): string {
  return text
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
}
