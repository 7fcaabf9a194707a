import { type MailLanguage, type TranscriptEntry } from './mail-content.ts';

/**
 * The sentences of all mails, as Handlebars templates. A subject takes ids, figures and fixed words only. An empty line is left out.
 */
export interface MailWords {
  readonly handoff: {
    readonly subject: string;
    readonly lines: readonly string[];
    readonly transcript: string;
  };
  readonly quota: { readonly subject: string; readonly lines: readonly string[] };
  readonly channelAlarm: { readonly subject: string; readonly lines: readonly string[] };
  readonly channelSuspended: { readonly subject: string; readonly lines: readonly string[] };
  readonly labels: Readonly<
    Record<'contact' | 'phone' | 'chatbot' | 'channel' | 'conversation' | 'number' | 'workspace' | 'code', string>
  >;
  readonly unknownName: string;
  readonly authors: Readonly<Record<TranscriptEntry['author'], string>>;
  readonly revoked: string;
  readonly undelivered: string;
  readonly transcriptCut: string;
  readonly footer: string;
}

const english: MailWords = {
  handoff: {
    subject: 'Somebody asks for a person (conversation {{conversationId}})',
    lines: [
      'A contact of your chatbot asked for a person on {{at}} ({{timeZone}}).',
      '{{#if isHeldByHuman}}The AI is silent in this conversation {{#if mutedUntil}}until {{mutedUntil}}{{else}}until you hand it back{{/if}}. Each answer of a person keeps it silent for another 24 hours.{{else}}The conversation has been handed back to the AI meanwhile.{{/if}}',
      '{{#if windowUntil}}WhatsApp lets you answer until {{windowUntil}}; after that the contact has to write first.{{/if}}',
      'To answer: POST {{apiUrl}}/conversations/{{conversationId}}/messages with {"text": "…"}.',
      'To hand it back to the AI: POST {{apiUrl}}/conversations/{{conversationId}}/handoff with {"action": "hand_back"}.',
    ],
    transcript: 'The last {{count}} messages. The whole conversation is attached.',
  },
  quota: {
    subject: '{{percent}} % of the AI replies of {{month}} are used',
    lines: [
      '{{used}} of the {{limit}} AI replies of the plan “{{plan}}” are used in {{month}}.',
      '{{#if isUsedUp}}The AI answers nobody until the month ends. Who writes is told once a day, kindly, that nobody can answer at the moment; what they write is kept and shown to you.{{else}}At 100 % the AI stops answering until the month ends. Who writes then is told once a day, kindly, that nobody can answer at the moment; what they write is kept and shown to you.{{/if}}',
      'A person can answer all the same: that never counts.',
      'Counting begins anew on the 1st of the next month, 0:00 ({{timeZone}}).',
      '{{#if upgradeUrl}}A bigger plan works at once: {{upgradeUrl}}{{else}}A bigger plan works at once: ask whoever runs this installation.{{/if}}',
    ],
  },
  channelAlarm: {
    subject:
      '{{#if isExpiring}}WhatsApp: the access token expires in {{daysLeft}} day(s) (channel {{channelId}}){{else}}WhatsApp needs your attention: {{code}} (channel {{channelId}}){{/if}}',
    lines: [
      '{{problem}}',
      'What to do: {{todo}}',
      'Messages that customers send are still stored. Replies that cannot go out wait, and go out after the repair while WhatsApp still allows it.',
      'All checks, with what each says: GET {{apiUrl}}/channels/{{channelId}}/health',
      'To connect the number again: PUT {{apiUrl}}/chatbots/{{chatbotId}}/channels/whatsapp',
    ],
  },
  channelSuspended: {
    subject: 'WhatsApp is switched off by the plan (channel {{channelId}})',
    lines: [
      'The plan “{{plan}}” does not include WhatsApp. The number is not answered any more since {{at}} ({{timeZone}}).',
      'What customers write is still stored. The connection and its credentials are kept.',
      '{{#if upgradeUrl}}With a plan that includes WhatsApp it goes on by itself: {{upgradeUrl}}{{else}}With a plan that includes WhatsApp it goes on by itself: ask whoever runs this installation.{{/if}}',
    ],
  },
  labels: {
    contact: 'Contact',
    phone: 'Phone',
    chatbot: 'Chatbot',
    channel: 'Channel',
    conversation: 'Conversation',
    number: 'Number',
    workspace: 'Workspace',
    code: 'Code',
  },
  unknownName: '(no name)',
  authors: {
    contact: 'Contact',
    ai: 'AI',
    human: 'Your team',
    system: 'Answerline',
    phone_app: 'Your team (phone)',
    meta_agent: 'Meta’s agent',
  },
  revoked: '(deleted by the sender)',
  undelivered: '(not delivered)',
  transcriptCut: 'Older messages are left out: the conversation is longer than a mail can carry.',
  footer: 'Sent by Answerline. What contacts wrote is shown as they wrote it: be careful with links in it.',
};

const spanish: MailWords = {
  handoff: {
    subject: 'Alguien pide hablar con una persona (conversación {{conversationId}})',
    lines: [
      'Un contacto de su chatbot pidió hablar con una persona el {{at}} ({{timeZone}}).',
      '{{#if isHeldByHuman}}La IA guarda silencio en esta conversación {{#if mutedUntil}}hasta el {{mutedUntil}}{{else}}hasta que usted la devuelva{{/if}}. Cada respuesta de una persona alarga el silencio otras 24 horas.{{else}}Entretanto, la conversación se ha devuelto a la IA.{{/if}}',
      '{{#if windowUntil}}WhatsApp permite responder hasta el {{windowUntil}}; después tiene que escribir primero el contacto.{{/if}}',
      'Para responder: POST {{apiUrl}}/conversations/{{conversationId}}/messages con {"text": "…"}.',
      'Para devolverla a la IA: POST {{apiUrl}}/conversations/{{conversationId}}/handoff con {"action": "hand_back"}.',
    ],
    transcript: 'Los últimos {{count}} mensajes. La conversación entera va adjunta.',
  },
  quota: {
    subject: 'Se ha usado el {{percent}} % de las respuestas de IA de {{month}}',
    lines: [
      'Se han usado {{used}} de las {{limit}} respuestas de IA del plan «{{plan}}» en {{month}}.',
      '{{#if isUsedUp}}La IA no responde a nadie hasta que acabe el mes. A quien escribe se le dice una vez al día, con amabilidad, que ahora nadie puede responder; lo que escribe se guarda y usted lo ve.{{else}}Al llegar al 100 % la IA deja de responder hasta que acabe el mes. A quien escriba se le dirá una vez al día, con amabilidad, que ahora nadie puede responder; lo que escriba se guarda y usted lo ve.{{/if}}',
      'Una persona puede responder de todos modos: eso nunca cuenta.',
      'La cuenta empieza de nuevo el día 1 del mes siguiente, a las 0:00 ({{timeZone}}).',
      '{{#if upgradeUrl}}Un plan mayor vale al instante: {{upgradeUrl}}{{else}}Un plan mayor vale al instante: pregunte a quien administra esta instalación.{{/if}}',
    ],
  },
  channelAlarm: {
    subject:
      '{{#if isExpiring}}WhatsApp: el token de acceso caduca en {{daysLeft}} día(s) (canal {{channelId}}){{else}}WhatsApp necesita su atención: {{code}} (canal {{channelId}}){{/if}}',
    lines: [
      '{{problem}}',
      'Qué hacer: {{todo}}',
      'Los mensajes de los clientes se siguen guardando. Las respuestas que no pueden salir esperan, y salen tras el arreglo mientras WhatsApp lo permita.',
      'Todas las comprobaciones, con lo que dice cada una: GET {{apiUrl}}/channels/{{channelId}}/health',
      'Para volver a conectar el número: PUT {{apiUrl}}/chatbots/{{chatbotId}}/channels/whatsapp',
    ],
  },
  channelSuspended: {
    subject: 'El plan ha desactivado WhatsApp (canal {{channelId}})',
    lines: [
      'El plan «{{plan}}» no incluye WhatsApp. El número ya no recibe respuestas desde el {{at}} ({{timeZone}}).',
      'Lo que escriben los clientes se sigue guardando. La conexión y sus credenciales se conservan.',
      '{{#if upgradeUrl}}Con un plan que incluya WhatsApp sigue solo: {{upgradeUrl}}{{else}}Con un plan que incluya WhatsApp sigue solo: pregunte a quien administra esta instalación.{{/if}}',
    ],
  },
  labels: {
    contact: 'Contacto',
    phone: 'Teléfono',
    chatbot: 'Chatbot',
    channel: 'Canal',
    conversation: 'Conversación',
    number: 'Número',
    workspace: 'Espacio de trabajo',
    code: 'Código',
  },
  unknownName: '(sin nombre)',
  authors: {
    contact: 'Contacto',
    ai: 'IA',
    human: 'Su equipo',
    system: 'Answerline',
    phone_app: 'Su equipo (teléfono)',
    meta_agent: 'Agente de Meta',
  },
  revoked: '(borrado por quien lo envió)',
  undelivered: '(no entregado)',
  transcriptCut: 'Faltan mensajes anteriores: la conversación es más larga de lo que cabe en un correo.',
  footer: 'Enviado por Answerline. Lo que escribieron los contactos se muestra tal cual: cuidado con los enlaces.',
};

/** All words, by language. */
export const mailWords: Readonly<Record<MailLanguage, MailWords>> = { en: english, es: spanish };
