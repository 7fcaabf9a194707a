import { failed, notChecked, ok, refusalOf, troubleOf, warning, type Verdict } from './connection-check.ts';
import {
  MANAGEMENT_SCOPE,
  PASTE_CALLBACK,
  type CheckOptions,
  type Connection,
  type ConnectionAnswers,
} from './connection.ts';
import { type GraphRead, type TokenFacts } from './graph-management.ts';

/** A token that ends sooner is one of those that Meta shows for trying things out, or is about to stop the channel. */
const TEMPORARY_WITHIN_MS = 7 * 24 * 60 * 60 * 1000;

/** Without it nothing can be sent. */
export const MESSAGING_SCOPE = 'whatsapp_business_messaging';

const PERMANENT_TOKEN =
  'Generate a permanent token: Business Settings → System Users → Generate new token → select your app → grant ' +
  'whatsapp_business_messaging and whatsapp_business_management → set the expiry to Never.';
export function tokenVerdict(
  read: GraphRead<TokenFacts>,
  { appSecret }: Connection,
  { acceptExpiring, now }: CheckOptions,
): Verdict {
  if (read.outcome !== 'answered') {
    const trouble = troubleOf(read);
    if (trouble) return trouble;
    const { code, subcode } = refusalOf(read);
    if (code === 100 && appSecret === undefined) return secretDemanded;
    return subcode === EXPIRED_SUBCODE ? tokenExpired : tokenInvalid;
  }
  const { isValid, errorSubcode, expiresAt } = read.value;
  const leftMs = expiresAt === null ? Infinity : expiresAt.getTime() - now();
  if (leftMs <= 0 || (!isValid && errorSubcode === EXPIRED_SUBCODE)) return tokenExpired;
  if (!isValid) return tokenInvalid;
  if (leftMs > TEMPORARY_WITHIN_MS) {
    return ok(expiresAt === null ? 'The access token is valid and never expires.' : 'The access token is valid.');
  }
  const message = 'This is a temporary token: it expires within 7 days, and then nothing is answered.';
  const verdict = { code: 'token_temporary', message, action: PERMANENT_TOKEN } as const;
  return acceptExpiring === true ? { status: 'warning', ...verdict } : { status: 'failed', ...verdict };
}

/** Graph: the session has expired. */
const EXPIRED_SUBCODE = 463;

const tokenExpired = failed(
  'token_expired',
  'The access token has expired: you used a temporary token.',
  PERMANENT_TOKEN,
);
const tokenInvalid = failed(
  'token_invalid',
  'Meta does not accept this access token.',
  `Copy the whole token again; it starts with EAA. If it was revoked: ${PERMANENT_TOKEN}`,
);
const secretDemanded = failed(
  'app_secret_wrong',
  'This Meta app refuses calls that do not prove its App Secret.',
  'Give the App Secret as well: Meta → your app → App settings → Basic.',
);

export function appIdVerdict(facts: TokenFacts, { appId }: Connection): Verdict {
  if (facts.appId === undefined) return notChecked('Meta did not say which app the token is of.');
  if (facts.appId === appId) return ok('The token was generated for this app.');
  return failed(
    'app_id_mismatch',
    'The access token was generated for another app than this App ID.',
    'Copy the App ID from the top of the app dashboard, or generate the token again and select this app.',
  );
}

export function appSecretVerdict(facts: TokenFacts, connection: Connection, answers: ConnectionAnswers): Verdict {
  const where = 'Meta → your app → App settings → Basic → App Secret → Show.';
  if (connection.appSecret === undefined) {
    return warning(
      'app_secret_missing',
      'Without the App Secret nobody can tell Meta’s deliveries from forged ones: this channel is unprotected, media are ' +
        'not fetched, and the webhook has to be set by hand.',
      `Add the App Secret: ${where}`,
    );
  }
  if (!answers.isProofRefused) return ok('The App Secret belongs to the app of the token.');
  if (facts.appId !== connection.appId) return notChecked('The token is of another app, so its secret says nothing.');
  return failed('app_secret_wrong', 'The App Secret does not belong to this app.', `Copy it again: ${where}`);
}

export function messagingVerdict({ scopes }: TokenFacts): Verdict {
  if (scopes === undefined) return notChecked('Meta did not say what the token may do.');
  if (scopes.includes(MESSAGING_SCOPE)) return ok('The token may send messages.');
  return failed(
    'scope_messaging_missing',
    'The access token lacks the whatsapp_business_messaging permission, so no reply would ever arrive on WhatsApp.',
    'Regenerate the token with whatsapp_business_messaging and whatsapp_business_management, and connect again.',
  );
}

export function managementVerdict({ scopes }: TokenFacts): Verdict {
  if (scopes === undefined) return notChecked('Meta did not say what the token may do.');
  if (scopes.includes(MANAGEMENT_SCOPE)) return ok('The token may read the settings of the WhatsApp account.');
  return warning(
    'scope_management_missing',
    'The access token lacks the whatsapp_business_management permission: it can send, but neither the account, the number ' +
      'nor the webhook can be verified or set up.',
    `Regenerate the token with whatsapp_business_management as well. Until then: ${PASTE_CALLBACK}`,
  );
}
