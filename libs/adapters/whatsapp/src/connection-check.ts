import { type GraphRead } from './graph-management.ts';

/** `warning`: it works, and something should be done. `not_checked`: nothing is known, so nothing is called broken. */
export type ConnectionCheckStatus = 'ok' | 'warning' | 'failed' | 'not_checked';

/** What is looked at, in this order. */
export const CONNECTION_CHECKS = [
  'token',
  'app_id',
  'app_secret',
  'scope_messaging',
  'scope_management',
  'waba',
  'phone_number',
  'phone_number_in_waba',
  'phone_number_registered',
  'app_subscribed',
  'callback',
  'fields',
] as const;
export type ConnectionCheckName = (typeof CONNECTION_CHECKS)[number];

/** Why a check is not `ok`, stable. */
export type ConnectionCode =
  | 'token_invalid'
  | 'token_expired'
  | 'token_temporary'
  | 'app_id_mismatch'
  | 'app_secret_missing'
  | 'app_secret_wrong'
  | 'scope_messaging_missing'
  | 'scope_management_missing'
  | 'waba_not_found'
  | 'waba_not_shared'
  | 'phone_number_not_found'
  | 'phone_number_not_in_waba'
  | 'phone_number_not_registered'
  | 'phone_number_limited'
  | 'app_not_subscribed'
  | 'callback_not_set'
  | 'callback_in_use'
  | 'field_not_subscribed'
  | 'graph_unreachable'
  | 'rate_limited';

/** The verdict on one thing that must hold. Neither text holds a secret, a number or an address. */
export interface ConnectionCheck<Name extends string = ConnectionCheckName, Code extends string = ConnectionCode> {
  readonly check: Name;
  readonly status: ConnectionCheckStatus;
  readonly code?: Code;
  /** What is so, for the owner of the number. */
  readonly message: string;
  /** What the owner does about it; null when there is nothing to do. */
  readonly action: string | null;
}

/** A {@link ConnectionCheck} before it has its name. */
export type Verdict = Omit<ConnectionCheck, 'check'>;

/** Codes of busy and limited: they say nothing about the connection. */
const RATE_LIMIT_CODES = [4, 17, 32, 613, 80007, 130429];

/** Whether an answer or the want of one says nothing about the connection, because Meta is away or asks to wait. */
export function troubleOf(read: GraphRead<unknown> | undefined): Verdict | undefined {
  if (read === undefined || read.outcome === 'answered') return undefined;
  const isLimited =
    read.outcome === 'refused' ? RATE_LIMIT_CODES.includes(read.failure.code) : read.reason === 'http_429';
  if (isLimited) {
    return failed(
      'rate_limited',
      'Meta has taken too many calls for this app within the hour.',
      'Wait a while, then try again.',
    );
  }
  if (read.outcome === 'refused' && read.failure.class !== 'retry') return undefined;
  return failed(
    'graph_unreachable',
    'Meta did not answer, or not usably, so this could not be checked.',
    'Try again in a few minutes.',
  );
}

export function ok(message: string): Verdict {
  return { status: 'ok', message, action: null };
}

export function notChecked(message: string): Verdict {
  return { status: 'not_checked', message, action: null };
}

export function warning(code: ConnectionCode, message: string, action: string): Verdict {
  return { status: 'warning', code, message, action };
}

export function failed(code: ConnectionCode, message: string, action: string): Verdict {
  return { status: 'failed', code, message, action };
}

/** The code and subcode of a refusal; NaN when the read was not refused. */
export function refusalOf(read: GraphRead<unknown> | undefined): {
  readonly code: number;
  readonly subcode?: number | undefined;
} {
  return read?.outcome === 'refused' ? read.failure : { code: NaN };
}
