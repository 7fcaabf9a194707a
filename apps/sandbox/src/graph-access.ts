import { createHmac } from 'node:crypto';
import type { TokenScope } from './account-schemas.ts';
import type { AccessToken, Waba } from './accounts.ts';
import type { BusinessNumber } from './control-schemas.ts';
import { GraphRefused, type GraphCall } from './graph-call.ts';
import { refusal, type GraphRefusal } from './graph-error.ts';
import type { Meta } from './meta.ts';

/** Who calls: an app with its id and secret, or somebody with a token of an app. */
export type Caller =
  | { readonly kind: 'app'; readonly appId: string }
  | { readonly kind: 'token'; readonly appId: string; readonly token: AccessToken };

/**
 * Who calls, by the token and, when there is one, its proof (Meta, "Secure Graph API calls").
 *
 * @throws GraphRefused 104 without token; 190 for one that is unknown, invalid or expired; 101 for an unknown app; 100 for
 * a proof that is not of the app's secret
 */
export function identify(meta: Meta, call: GraphCall): Caller {
  const { token } = call;
  if (token === undefined) {
    throw new GraphRefused(refusal(104, { message: 'An access token is required to request this resource.' }));
  }
  const caller = callerOf(meta, token);
  call.about.appId ??= caller.appId;
  const proof = call.parameters['appsecret_proof'];
  if (
    proof !== undefined &&
    !meta.accounts.secretsOf(caller.appId).some((secret) => proof === proofOf(token, secret))
  ) {
    const message = 'Invalid appsecret_proof provided in the API argument';
    throw new GraphRefused(refusal(100, { type: 'GraphMethodException', message }));
  }
  return caller;
}

/** @throws GraphRefused as {@link identify}, and 10 for an app's own token or one without the scope */
export function identifyWith(meta: Meta, call: GraphCall, scope: TokenScope): AccessToken {
  const caller = identify(meta, call);
  if (caller.kind === 'app' || !caller.token.scopes.includes(scope)) {
    const message = `(#10) Application does not have permission for this action: it requires ${scope}.`;
    throw new GraphRefused(refusal(10, { message }));
  }
  return caller.token;
}

/**
 * A WABA that the token may manage.
 *
 * @throws GraphRefused 100/33 when there is none, 200 when it was not given to the token or its app
 */
export function reachableWaba(meta: Meta, call: GraphCall, token: AccessToken, wabaId: string): Waba {
  const waba = meta.accounts.waba(wabaId);
  if (!waba) throw new GraphRefused(noSuchObject(call.method, wabaId));
  call.about.wabaId = wabaId;
  if (!meta.accounts.reaches(token, wabaId)) throw new GraphRefused(notShared());
  return waba;
}

/** A number that the token may manage. @throws GraphRefused as {@link reachableWaba} */
export function reachableNumber(
  meta: Meta,
  call: GraphCall,
  token: AccessToken,
  phoneNumberId: string,
): BusinessNumber {
  const number = meta.accounts.numbers.get(phoneNumberId);
  if (!number) throw new GraphRefused(noSuchObject(call.method, phoneNumberId));
  call.about.phoneNumberId = phoneNumberId;
  call.about.wabaId = number.wabaId;
  if (!meta.accounts.reaches(token, number.wabaId)) throw new GraphRefused(notShared());
  return number;
}

/** Error 100 with subcode 33: Meta's answer to an id that is nobody's, or that the caller may not see. */
export function noSuchObject(method: string, id: string): GraphRefusal {
  return refusal(100, {
    type: 'GraphMethodException',
    subcode: 33,
    message:
      `Unsupported ${method.toLowerCase()} request. Object with ID '${id}' does not exist, cannot be loaded due to ` +
      'missing permissions, or does not support this operation.',
  });
}

/** Why a token is of no use now; undefined for a good one. */
export function tokenTrouble(
  token: AccessToken,
  nowMs: number,
): { readonly subcode?: number; readonly message: string } | undefined {
  const { isValid, expiresAt, errorSubcode, appId } = token;
  if (isValid && (expiresAt === 0 || nowMs < expiresAt * 1000)) return undefined;
  const subcode = isValid ? 463 : errorSubcode;
  const message = subcode === undefined ? undefined : troubles[subcode];
  return {
    ...(subcode !== undefined && { subcode }),
    message: `Error validating access token: ${message?.replace('{app}', appId) ?? 'The session is invalid.'}`,
  };
}

/** Subcodes of 190 (Meta, "Handling errors"). */
const troubles: Readonly<Record<number, string>> = {
  458: 'The user has not authorized application {app}.',
  460: 'The session has been invalidated because the user changed their password or Meta has changed the session.',
  463: 'Session has expired.',
  467: 'The session is invalid because the user logged out.',
};

function callerOf(meta: Meta, accessToken: string): Caller {
  const token = meta.accounts.token(accessToken);
  if (token) {
    const trouble = tokenTrouble(token, meta.now());
    if (trouble) throw new GraphRefused(refusal(190, trouble));
    return { kind: 'token', appId: token.appId, token };
  }
  const [, appId, secret] = /^([^|]+)\|(.+)$/s.exec(accessToken) ?? [];
  if (appId === undefined || secret === undefined) {
    throw new GraphRefused(refusal(190, { message: 'Invalid OAuth access token - Cannot parse access token' }));
  }
  if (!meta.accounts.isApp(appId)) {
    throw new GraphRefused(refusal(101, { message: 'Error validating application. Invalid application ID.' }));
  }
  if (!meta.accounts.secretsOf(appId).includes(secret)) {
    throw new GraphRefused(refusal(190, { message: 'Invalid OAuth access token signature.' }));
  }
  return { kind: 'app', appId };
}

function proofOf(token: string, secret: string): string {
  return createHmac('sha256', secret).update(token).digest('hex');
}

function notShared(): GraphRefusal {
  return refusal(200, {
    message: '(#200) You do not have the necessary permissions to access this WhatsApp Business Account.',
  });
}
