import { type AppSubscription, type GraphRead, type PhoneNumberFacts, type TokenFacts } from './graph-management.ts';

/** What somebody connects a number with. */
export interface Connection {
  readonly appId: string;
  readonly wabaId: string;
  readonly phoneNumberId: string;
  readonly accessToken: string;
  /** Without it the app's webhook settings cannot be read, and deliveries cannot be told from forged ones. */
  readonly appSecret?: string | undefined;
}

export interface CheckOptions {
  /** Our own callback; undefined while there is none, and then the checks of the callback are left out. */
  readonly callbackUrl: string | undefined;
  /** Takes a token that expires within 7 days, with a warning. */
  readonly acceptExpiring?: boolean | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What Meta answered. Undefined: not asked, because an earlier answer left nothing to ask with. */
export interface ConnectionAnswers {
  readonly token: GraphRead<TokenFacts>;
  /** Meta refused `appsecret_proof`, and takes the token without it. */
  readonly isProofRefused: boolean;
  readonly phoneNumberIds?: GraphRead<readonly string[]> | undefined;
  readonly phoneNumber?: GraphRead<PhoneNumberFacts> | undefined;
  readonly subscribedAppIds?: GraphRead<readonly string[]> | undefined;
  readonly appSubscription?: GraphRead<AppSubscription | null> | undefined;
}

/** Without it nothing but the token itself can be read (META 6). */
export const MANAGEMENT_SCOPE = 'whatsapp_business_management';

/** What the owner does at Meta when the webhook cannot be set up from here. */
export const PASTE_CALLBACK =
  'In Meta → your app → WhatsApp → Configuration → Webhooks → Edit, paste the Callback URL and the Verify Token, then ' +
  'click Verify and Save.';
