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
  'persona real',
];
