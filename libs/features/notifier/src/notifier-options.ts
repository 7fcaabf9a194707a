import { type MailOptions } from './send-mail/read-mail.ts';

/** Injection token of {@link NotifierOptions}. */
export const NOTIFIER_OPTIONS = Symbol('NOTIFIER_OPTIONS');

/** What the notifier needs from the settings. */
export type NotifierOptions = MailOptions;
