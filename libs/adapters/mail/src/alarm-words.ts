import { type MailLanguage } from './mail-content.ts';

/** What is wrong, and what to do about it. */
export interface AlarmWords {
  readonly problem: string;
  readonly todo: string;
}

/** The codes that mean the same to an owner stand under one of them. */
const sameAs: Readonly<Record<string, string>> = {
  token_not_accepted: 'token_invalid',
  token_required: 'token_invalid',
  token_password_changed: 'token_invalid',
  app_removed: 'token_invalid',
  capability_missing: 'scope_messaging_missing',
  permission_missing: 'scope_messaging_missing',
  phone_number_not_accessible: 'phone_number_not_found',
  phone_number_deleted: 'phone_number_not_found',
  phone_number_not_verified: 'phone_number_not_registered',
  waba_not_shared: 'waba_not_found',
  payment_problem: 'payment_method_missing',
  payments_terms_not_accepted: 'payment_method_missing',
  account_locked: 'account_needs_action',
  account_blocked_for_policy: 'account_needs_action',
  spam_limit_reached: 'account_needs_action',
};

const newToken = {
  en: 'Make a permanent token in Meta’s Business settings → System users (expiry “Never”, with whatsapp_business_messaging and whatsapp_business_management), and connect the number again with it.',
  es: 'Genere un token permanente en la configuración del negocio de Meta → Usuarios del sistema (caducidad «Nunca», con whatsapp_business_messaging y whatsapp_business_management) y vuelva a conectar el número con él.',
};

const words: Readonly<Record<string, Record<MailLanguage, AlarmWords>>> = {
  token_invalid: {
    en: { problem: 'Meta no longer accepts the access token.', todo: newToken.en },
    es: { problem: 'Meta ya no acepta el token de acceso.', todo: newToken.es },
  },
  token_expired: {
    en: { problem: 'The access token has expired.', todo: newToken.en },
    es: { problem: 'El token de acceso ha caducado.', todo: newToken.es },
  },
  token_expiring: {
    en: { problem: 'The access token will expire in {{daysLeft}} day(s).', todo: newToken.en },
    es: { problem: 'El token de acceso caduca en {{daysLeft}} día(s).', todo: newToken.es },
  },
  scope_messaging_missing: {
    en: {
      problem: 'The access token may not send messages: whatsapp_business_messaging is missing.',
      todo: newToken.en,
    },
    es: {
      problem: 'El token de acceso no puede enviar mensajes: falta whatsapp_business_messaging.',
      todo: newToken.es,
    },
  },
  app_id_mismatch: {
    en: {
      problem: 'The access token belongs to another Meta app than the one that is connected.',
      todo: 'Make the token for the connected app, or connect the number again with the App ID of the token’s app.',
    },
    es: {
      problem: 'El token de acceso pertenece a otra aplicación de Meta que la conectada.',
      todo: 'Genere el token para la aplicación conectada, o vuelva a conectar el número con el App ID de la aplicación del token.',
    },
  },
  app_secret_wrong: {
    en: {
      problem: 'The App Secret is not that of the Meta app, so deliveries cannot be checked.',
      todo: 'Copy it from App settings → Basic in Meta’s app dashboard, and connect the number again.',
    },
    es: {
      problem: 'El App Secret no es el de la aplicación de Meta, así que las entregas no se pueden comprobar.',
      todo: 'Cópielo de Configuración de la app → Básica en el panel de Meta y vuelva a conectar el número.',
    },
  },
  waba_not_found: {
    en: {
      problem: 'The access token no longer reaches the WhatsApp Business Account.',
      todo: 'Assign the account to the system user in Meta’s Business settings → WhatsApp accounts.',
    },
    es: {
      problem: 'El token de acceso ya no llega a la cuenta de WhatsApp Business.',
      todo: 'Asigne la cuenta al usuario del sistema en la configuración del negocio de Meta → Cuentas de WhatsApp.',
    },
  },
  phone_number_not_found: {
    en: {
      problem: 'Meta does not know the phone number any more, or the access token does not reach it.',
      todo: 'Look at WhatsApp → API Setup whether the Phone number ID is still the same, and connect the number again.',
    },
    es: {
      problem: 'Meta ya no conoce el número de teléfono, o el token de acceso no llega a él.',
      todo: 'Compruebe en WhatsApp → API Setup si el Phone number ID sigue siendo el mismo y vuelva a conectar el número.',
    },
  },
  phone_number_not_in_waba: {
    en: {
      problem: 'The phone number is not in the connected WhatsApp Business Account any more.',
      todo: 'Connect the number again with the WABA ID that WhatsApp → API Setup shows for it.',
    },
    es: {
      problem: 'El número de teléfono ya no está en la cuenta de WhatsApp Business conectada.',
      todo: 'Vuelva a conectar el número con el WABA ID que WhatsApp → API Setup muestra para él.',
    },
  },
  phone_number_not_registered: {
    en: {
      problem: 'The phone number is not registered with WhatsApp’s Cloud API.',
      todo: 'Register and verify it in WhatsApp Manager → Phone numbers.',
    },
    es: {
      problem: 'El número de teléfono no está registrado en la Cloud API de WhatsApp.',
      todo: 'Regístrelo y verifíquelo en WhatsApp Manager → Números de teléfono.',
    },
  },
  app_not_subscribed: {
    en: {
      problem: 'The Meta app is not subscribed to the WhatsApp Business Account, so no message is delivered.',
      todo: 'Connect the number again: Answerline subscribes the app.',
    },
    es: {
      problem:
        'La aplicación de Meta no está suscrita a la cuenta de WhatsApp Business, así que no llega ningún mensaje.',
      todo: 'Vuelva a conectar el número: Answerline suscribe la aplicación.',
    },
  },
  field_not_subscribed: {
    en: {
      problem: 'The webhook field “messages” is not subscribed, so no message is delivered.',
      todo: 'In Meta’s app dashboard open WhatsApp → Configuration → Webhook fields, and subscribe to messages.',
    },
    es: {
      problem: 'El campo de webhook «messages» no está suscrito, así que no llega ningún mensaje.',
      todo: 'En el panel de Meta abra WhatsApp → Configuración → Campos de webhook y suscríbase a messages.',
    },
  },
  callback_in_use: {
    en: {
      problem: 'The Meta app delivers its webhooks to another address.',
      todo: 'Connect the number again and choose whether to replace that address or to override it for this number.',
    },
    es: {
      problem: 'La aplicación de Meta entrega sus webhooks en otra dirección.',
      todo: 'Vuelva a conectar el número y elija si se sustituye esa dirección o se cambia solo para este número.',
    },
  },
  callback_unreachable: {
    en: {
      problem: 'Meta cannot reach Answerline at its callback URL.',
      todo: 'Ask whoever runs the installation whether PUBLIC_URL, its certificate and the proxy before it are right.',
    },
    es: {
      problem: 'Meta no puede llegar a Answerline en su Callback URL.',
      todo: 'Pregunte a quien administra la instalación si PUBLIC_URL, su certificado y el proxy son correctos.',
    },
  },
  payment_method_missing: {
    en: {
      problem: 'Meta refuses to send because of the account’s payment settings.',
      todo: 'Add or mend the payment method in Meta’s Business settings → Billing for this WhatsApp account.',
    },
    es: {
      problem: 'Meta se niega a enviar por los ajustes de pago de la cuenta.',
      todo: 'Añada o corrija el método de pago en la configuración del negocio de Meta → Facturación de esta cuenta de WhatsApp.',
    },
  },
  account_needs_action: {
    en: {
      problem: 'Meta has restricted or locked the WhatsApp Business Account.',
      todo: 'Open Meta’s Business Support and the quality page of WhatsApp Manager: they say why and how to appeal.',
    },
    es: {
      problem: 'Meta ha restringido o bloqueado la cuenta de WhatsApp Business.',
      todo: 'Abra la ayuda para empresas de Meta y la página de calidad de WhatsApp Manager: dicen por qué y cómo reclamar.',
    },
  },
};

const anyOther: Record<MailLanguage, AlarmWords> = {
  en: {
    problem: 'A check of the number failed.',
    todo: 'The health of the channel says what is wrong and what to do.',
  },
  es: {
    problem: 'Una comprobación del número ha fallado.',
    todo: 'El estado del canal dice qué ocurre y qué hacer.',
  },
};

/** The words of a code; general ones for a code that has none. An expiry that is still to come has words of its own. */
export function alarmWords(code: string, daysLeft: number | null, language: MailLanguage): AlarmWords {
  if (daysLeft !== null) return (words['token_expiring'] ?? anyOther)[language];
  const known = Object.hasOwn(sameAs, code) ? (sameAs[code] ?? code) : code;
  return ((Object.hasOwn(words, known) ? words[known] : undefined) ?? anyOther)[language];
}
