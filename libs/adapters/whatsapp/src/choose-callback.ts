import { type AppSubscription, type GraphRead, type PhoneNumberFacts } from './graph-management.ts';
import { CORE_WEBHOOK_FIELDS, WEBHOOK_FIELDS } from './webhook-fields.ts';

/** Who says where webhooks go: the number before its account, the account before the app (Meta, "Webhook overrides"). */
export type CallbackLevel = 'phoneNumber' | 'waba' | 'application';

/** The callback that is in force for a number; undefined when nobody set one, or nothing could be read. */
export function effectiveCallback(
  phoneNumber: GraphRead<PhoneNumberFacts> | undefined,
  appSubscription: GraphRead<AppSubscription | null> | undefined,
): { readonly level: CallbackLevel; readonly url: string } | undefined {
  const callbacks = phoneNumber?.outcome === 'answered' ? phoneNumber.value.callbacks : undefined;
  const ofApp = appSubscription?.outcome === 'answered' ? appSubscription.value?.callbackUrl : undefined;
  return inForce(callbacks, ofApp);
}

function inForce(
  callbacks: PhoneNumberFacts['callbacks'] | undefined,
  ofApp: string | undefined,
): { readonly level: CallbackLevel; readonly url: string } | undefined {
  if (callbacks?.phoneNumber !== undefined) return { level: 'phoneNumber', url: callbacks.phoneNumber };
  if (callbacks?.waba !== undefined) return { level: 'waba', url: callbacks.waba };
  const url = ofApp ?? callbacks?.application;
  return url === undefined ? undefined : { level: 'application', url };
}

/** Whether a callback is ours, also under an address that this installation had before: the key in its path is ours. */
export function isOwnCallback(url: string, ownUrl: string): boolean {
  const [path, ownPath] = [URL.parse(url)?.pathname, URL.parse(ownUrl)?.pathname];
  return path !== undefined && path === ownPath;
}

/** What the owner said about a callback of somebody else's. */
export type CallbackChoice = 'replace' | 'number_override';

/** What is to be done at Meta so that a number's webhooks come here. */
export type CallbackPlan =
  | { readonly step: 'nothing' }
  /** Needs the App Secret. With `fields`, to try the first list and, if Meta refuses one of it, the second. */
  | { readonly step: 'set_app_subscription'; readonly fields: readonly (readonly string[])[] }
  | { readonly step: 'set_number_override' }
  /** Only the owner can do it, at Meta. */
  | { readonly step: 'by_hand' }
  /** The token lacks the right to set the override that the owner wants. */
  | { readonly step: 'not_allowed' }
  /** A callback of somebody else's is in force, and the owner has not said what to do about it. */
  | { readonly step: 'refuse' };

/** What {@link planCallback} decides by. Undefined: it could not be read. */
export interface CallbackFacts {
  readonly ownUrl: string;
  readonly callbacks: PhoneNumberFacts['callbacks'] | undefined;
  /** Null: the app has none. Undefined without the App Secret. */
  readonly appSubscription: AppSubscription | null | undefined;
  /** Whether the token may change what belongs to the account and the number. */
  readonly canManage: boolean;
  readonly choice: CallbackChoice | undefined;
}

/**
 * How webhooks get here without taking anything from somebody else unasked. Pure. A foreign override is stronger than the
 * app's callback, so either choice answers it with an override of the number; "replace" then touches nothing that other
 * numbers share.
 */
export function planCallback({ ownUrl, callbacks, appSubscription, canManage, choice }: CallbackFacts): CallbackPlan {
  const byApp = planOfApp(ownUrl, appSubscription);
  const current = inForce(callbacks, appSubscription?.callbackUrl);
  if (current === undefined) return byApp;
  if (isOwnCallback(current.url, ownUrl)) {
    if (current.level === 'application') return byApp;
    if (current.level === 'phoneNumber' && current.url !== ownUrl) return { step: 'set_number_override' };
    // With an override of its own the number comes here already; whoever says `replace` means the app.
    return choice === 'replace' ? byApp : { step: 'nothing' };
  }
  if (choice === undefined) return { step: 'refuse' };
  if (choice === 'replace' && current.level === 'application') return byApp;
  return canManage ? { step: 'set_number_override' } : { step: 'not_allowed' };
}

function planOfApp(ownUrl: string, subscription: AppSubscription | null | undefined): CallbackPlan {
  if (subscription === undefined) return { step: 'by_hand' };
  const known = subscription?.fields ?? [];
  const isSet = subscription?.active === true && subscription.callbackUrl === ownUrl;
  if (isSet && CORE_WEBHOOK_FIELDS.every((field) => known.includes(field))) return { step: 'nothing' };
  // What somebody subscribed to for another reason stays.
  const fields = [WEBHOOK_FIELDS, CORE_WEBHOOK_FIELDS].map((wanted) => [...new Set([...wanted, ...known])]);
  return { step: 'set_app_subscription', fields };
}
