import { asNumber, asObject, type JsonObject } from './json-reading.ts';

/**
 * What kind of trouble it is, and so who has to act:
 *
 * | class        | meaning                                | what to do                                          |
 * | ------------ | -------------------------------------- | --------------------------------------------------- |
 * | auth         | the token is dead                      | stop the channel, tell the owner, keep the queue    |
 * | permission   | the token lives, a right is missing    | the same, naming scopes and asset access            |
 * | account      | Meta limits the account or number      | pause the channel, tell the owner                   |
 * | retry        | Meta is busy or away                   | again, with exponential back-off and jitter         |
 * | retry_pair   | too many messages to this one person   | again, only this person waits                       |
 * | window       | the 24 hours are over                  | not again: a template, or nothing                   |
 * | recipient    | this person cannot be reached          | mark, not again                                     |
 * | request      | our own bug                            | log, not again                                      |
 * | media        | a file could not be fetched or taken   | one new upload with the right type, then not again  |
 * | registration | the number is not set up               | the operator's task                                 |
 */
export type GraphErrorClass =
  | 'auth'
  | 'permission'
  | 'account'
  | 'retry'
  | 'retry_pair'
  | 'window'
  | 'recipient'
  | 'request'
  | 'media'
  | 'registration';

/**
 * When a refused send may be tried again: `after_reconnect` waits for a person, `pair` holds up this one contact only.
 */
export type GraphRetry = 'never' | 'backoff' | 'pair' | 'after_reconnect';

/** Waits of `firstDelayMs` × `factor`^n, at most `maxDelayMs`, with at most `maxTries` calls in all. */
export interface RetryPace {
  readonly firstDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly maxTries: number;
}

// How long all tries together may take is the caller's rule (DESIGN 3.6: 10 minutes or the window), so most have no
// number of tries.
const NO_LIMIT = Number.POSITIVE_INFINITY;
const SOON: RetryPace = { firstDelayMs: 1_000, factor: 2, maxDelayMs: 60_000, maxTries: NO_LIMIT };
// Codes that also hide a lasting trouble ("check status", "something went wrong"): META 5 says few tries.
const FEW: RetryPace = { firstDelayMs: 2_000, factor: 4, maxDelayMs: 60_000, maxTries: 4 };
// Quotas by the hour and maintenance are over in minutes, not in seconds.
const MINUTES: RetryPace = { firstDelayMs: 30_000, factor: 2, maxDelayMs: 240_000, maxTries: NO_LIMIT };
// Meta: wait 4^X seconds, X = 0, 1, 2, … (About the platform, "Pair rate limits").
const PAIR: RetryPace = { firstDelayMs: 1_000, factor: 4, maxDelayMs: 256_000, maxTries: NO_LIMIT };

/** One row of the table: a code, or all from `code` to `lastCode`, and one subcode of it where that matters. */
export interface GraphErrorRow {
  readonly code: number;
  readonly lastCode?: number;
  readonly subcode?: number;
  readonly class: GraphErrorClass;
  readonly retry: GraphRetry;
  /** Stable snake_case code of ours. */
  readonly reason: string;
  readonly pace?: RetryPace;
}

/**
 * Meta's error codes for sending and what we do about each (META 5, from "Error codes" of Meta's WhatsApp pages).
 * Where a code has rows with and without a subcode, the one with the subcode wins; a single code wins over a range.
 */
export const GRAPH_ERRORS: readonly GraphErrorRow[] = [
  { code: 0, class: 'auth', retry: 'after_reconnect', reason: 'token_not_accepted' },
  { code: 104, class: 'auth', retry: 'after_reconnect', reason: 'token_required' },
  { code: 190, class: 'auth', retry: 'after_reconnect', reason: 'token_invalid' },
  { code: 190, subcode: 458, class: 'auth', retry: 'after_reconnect', reason: 'app_removed' },
  { code: 190, subcode: 460, class: 'auth', retry: 'after_reconnect', reason: 'token_password_changed' },
  { code: 190, subcode: 463, class: 'auth', retry: 'after_reconnect', reason: 'token_expired' },
  { code: 190, subcode: 467, class: 'auth', retry: 'after_reconnect', reason: 'token_invalid' },

  { code: 3, class: 'permission', retry: 'after_reconnect', reason: 'capability_missing' },
  { code: 10, class: 'permission', retry: 'after_reconnect', reason: 'permission_missing' },
  { code: 33, class: 'permission', retry: 'after_reconnect', reason: 'phone_number_deleted' },
  { code: 100, subcode: 33, class: 'permission', retry: 'after_reconnect', reason: 'phone_number_not_accessible' },
  // A call without any token answers 200 as well; we never make one.
  { code: 200, lastCode: 299, class: 'permission', retry: 'after_reconnect', reason: 'permission_missing' },
  { code: 803, class: 'permission', retry: 'after_reconnect', reason: 'phone_number_not_found' },
  { code: 131005, class: 'permission', retry: 'after_reconnect', reason: 'permission_missing' },

  { code: 368, class: 'account', retry: 'after_reconnect', reason: 'account_blocked_for_policy' },
  // About the recipient's country, so other contacts may still be answered.
  { code: 130497, class: 'account', retry: 'never', reason: 'account_restricted_in_country' },
  { code: 131031, class: 'account', retry: 'after_reconnect', reason: 'account_locked' },
  { code: 131037, class: 'account', retry: 'after_reconnect', reason: 'display_name_not_approved' },
  { code: 131042, class: 'account', retry: 'after_reconnect', reason: 'payment_problem' },
  { code: 131045, class: 'account', retry: 'after_reconnect', reason: 'phone_number_not_registered' },
  { code: 131048, class: 'account', retry: 'after_reconnect', reason: 'spam_limit_reached' },
  { code: 131063, class: 'account', retry: 'after_reconnect', reason: 'account_needs_action' },
  { code: 131064, class: 'account', retry: 'never', reason: 'templates_limited_for_violations' },
  { code: 133006, class: 'account', retry: 'after_reconnect', reason: 'phone_number_not_verified' },
  { code: 133010, class: 'account', retry: 'after_reconnect', reason: 'phone_number_not_registered' },
  { code: 134011, class: 'account', retry: 'after_reconnect', reason: 'payments_terms_not_accepted' },

  { code: 1, class: 'retry', retry: 'backoff', reason: 'graph_unknown_error', pace: FEW },
  { code: 2, class: 'retry', retry: 'backoff', reason: 'graph_unavailable', pace: SOON },
  { code: 4, class: 'retry', retry: 'backoff', reason: 'app_rate_limited', pace: MINUTES },
  { code: 17, class: 'retry', retry: 'backoff', reason: 'user_rate_limited', pace: MINUTES },
  { code: 32, class: 'retry', retry: 'backoff', reason: 'page_rate_limited', pace: MINUTES },
  { code: 613, class: 'retry', retry: 'backoff', reason: 'call_rate_limited', pace: MINUTES },
  { code: 80007, class: 'retry', retry: 'backoff', reason: 'business_account_rate_limited', pace: MINUTES },
  { code: 130429, class: 'retry', retry: 'backoff', reason: 'throughput_reached', pace: SOON },
  { code: 131000, class: 'retry', retry: 'backoff', reason: 'whatsapp_unknown_error', pace: FEW },
  { code: 131016, class: 'retry', retry: 'backoff', reason: 'whatsapp_unavailable', pace: SOON },
  { code: 131057, class: 'retry', retry: 'backoff', reason: 'account_in_maintenance', pace: MINUTES },
  { code: 133004, class: 'retry', retry: 'backoff', reason: 'server_unavailable', pace: MINUTES },
  { code: 2494100, class: 'retry', retry: 'backoff', reason: 'account_in_maintenance', pace: MINUTES },

  { code: 131056, class: 'retry_pair', retry: 'pair', reason: 'pair_rate_limited', pace: PAIR },

  { code: 131047, class: 'window', retry: 'never', reason: 'window_closed' },

  { code: 130403, class: 'recipient', retry: 'never', reason: 'recipient_blocked_by_us' },
  { code: 130472, class: 'recipient', retry: 'never', reason: 'recipient_in_experiment' },
  { code: 131021, class: 'recipient', retry: 'never', reason: 'recipient_is_sender' },
  { code: 131026, class: 'recipient', retry: 'never', reason: 'recipient_unreachable' },
  { code: 131030, class: 'recipient', retry: 'never', reason: 'recipient_not_in_allowed_list' },
  { code: 131049, class: 'recipient', retry: 'never', reason: 'recipient_protected_by_meta' },
  { code: 131050, class: 'recipient', retry: 'never', reason: 'recipient_stopped_marketing' },
  { code: 131062, class: 'recipient', retry: 'never', reason: 'recipient_needs_phone_number' },
  { code: 137000, class: 'recipient', retry: 'never', reason: 'recipient_identity_changed' },

  { code: 100, class: 'request', retry: 'never', reason: 'parameter_invalid' },
  { code: 131008, class: 'request', retry: 'never', reason: 'parameter_missing' },
  { code: 131009, class: 'request', retry: 'never', reason: 'parameter_value_invalid' },
  { code: 131051, class: 'request', retry: 'never', reason: 'message_type_unsupported' },
  { code: 131055, class: 'request', retry: 'never', reason: 'method_not_allowed' },
  { code: 132000, class: 'request', retry: 'never', reason: 'template_parameter_count' },
  { code: 132001, class: 'request', retry: 'never', reason: 'template_missing' },
  { code: 132005, class: 'request', retry: 'never', reason: 'template_text_too_long' },
  { code: 132007, class: 'request', retry: 'never', reason: 'template_against_policy' },
  { code: 132008, class: 'request', retry: 'never', reason: 'template_parameter_invalid' },
  { code: 132012, class: 'request', retry: 'never', reason: 'template_parameter_format' },
  { code: 132015, class: 'request', retry: 'never', reason: 'template_paused' },
  { code: 132016, class: 'request', retry: 'never', reason: 'template_disabled' },
  { code: 132018, class: 'request', retry: 'never', reason: 'template_invalid' },
  { code: 132068, class: 'request', retry: 'never', reason: 'flow_blocked' },
  { code: 132069, class: 'request', retry: 'never', reason: 'flow_throttled' },
  { code: 135000, class: 'request', retry: 'never', reason: 'parameters_unknown_error' },

  { code: 131052, class: 'media', retry: 'never', reason: 'media_download_failed' },
  { code: 131053, class: 'media', retry: 'never', reason: 'media_upload_failed' },

  { code: 133000, class: 'registration', retry: 'never', reason: 'deregistration_incomplete' },
  { code: 133005, class: 'registration', retry: 'never', reason: 'pin_wrong' },
  { code: 133008, class: 'registration', retry: 'never', reason: 'pin_tried_too_often' },
  { code: 133009, class: 'registration', retry: 'never', reason: 'pin_tried_too_fast' },
  { code: 133015, class: 'registration', retry: 'never', reason: 'phone_number_just_deleted' },
  { code: 133016, class: 'registration', retry: 'never', reason: 'registration_rate_limited' },
];

/** Why Meta did not send. Holds codes only, never Meta's words: those can quote the message or the number. */
export interface GraphFailure {
  readonly class: GraphErrorClass;
  /** Meta's code. */
  readonly code: number;
  readonly subcode?: number | undefined;
  readonly retry: GraphRetry;
  /** Stable snake_case code of ours. */
  readonly reason: string;
  /** How to space the tries, when `retry` is `backoff` or `pair`. */
  readonly pace?: RetryPace | undefined;
  /** What the answer's Retry-After header asked for. */
  readonly retryAfterMs?: number | undefined;
}

/** An error as it stands in a webhook, or one already read from an answer. */
export interface GraphErrorCode {
  readonly code: number;
  readonly subcode?: number | undefined;
  readonly isTransient?: boolean | undefined;
}

/**
 * What an error of Meta's means. Takes the code out of a webhook's `errors`, or an HTTP answer with its parsed JSON
 * body. An answer whose body is no Graph error gives undefined: it does not say whether the message was sent (DESIGN
 * 3.6). A code that is not in the table is retried when Meta calls it transient or answered 429 or 5xx, else it is a
 * `request` error.
 */
export function classifyGraphError(error: GraphErrorCode): GraphFailure;
export function classifyGraphError(answer: {
  readonly status: number;
  readonly body: unknown;
}): GraphFailure | undefined;
export function classifyGraphError(
  input: GraphErrorCode | { readonly status: number; readonly body: unknown },
): GraphFailure | undefined {
  if ('code' in input) return classifyCode(input);
  const error = graphErrorOf(input.body);
  if (error === undefined) return undefined;
  const isBusy = input.status === 429 || input.status >= 500;
  return classifyCode({ ...error, isTransient: error.isTransient === true || isBusy });
}

function graphErrorOf(body: unknown): GraphErrorCode | undefined {
  const error: JsonObject | undefined = asObject(asObject(body)?.['error']);
  const code = asNumber(error?.['code']);
  if (error === undefined || code === undefined) return undefined;
  return { code, subcode: asNumber(error['error_subcode']), isTransient: error['is_transient'] === true };
}

function classifyCode({ code, subcode, isTransient }: GraphErrorCode): GraphFailure {
  const row = findRow(code, subcode);
  if (row === undefined) {
    return isTransient === true
      ? { class: 'retry', code, subcode, retry: 'backoff', reason: 'graph_transient_error', pace: SOON }
      : { class: 'request', code, subcode, retry: 'never', reason: 'graph_error_not_in_table' };
  }
  const { class: class_, retry, reason, pace } = row;
  // Meta's own "this will pass" outweighs what the table takes for our bug, as in a 100 "temporarily unavailable".
  if (class_ === 'request' && isTransient === true) {
    return { class: 'retry', code, subcode, retry: 'backoff', reason: 'graph_transient_error', pace: FEW };
  }
  return { class: class_, code, subcode, retry, reason, pace };
}

// Maintenance is told as code 131057 or 2494100; the latter also comes as a subcode of other codes.
const MAINTENANCE = 2494100;

function findRow(code: number, subcode: number | undefined): GraphErrorRow | undefined {
  const wanted = subcode === MAINTENANCE ? MAINTENANCE : code;
  const rows = GRAPH_ERRORS.filter((row) => wanted >= row.code && wanted <= (row.lastCode ?? row.code));
  return (
    rows.find((row) => row.subcode !== undefined && row.subcode === subcode) ??
    rows.find((row) => row.subcode === undefined && row.lastCode === undefined) ??
    rows.find((row) => row.subcode === undefined)
  );
}

// Up to a quarter is added, so that those who failed together do not come back together.
const JITTER = 0.25;

/**
 * Milliseconds to wait after the `tries`-th call failed (1 = the first), or undefined when it is not to be tried again
 * by itself. At least what Meta asked for. `random` gives a number from 0 up to 1.
 */
export function retryDelayMs(failure: GraphFailure, tries: number, random: () => number): number | undefined {
  const pace = failure.pace;
  if (pace === undefined || tries >= pace.maxTries) return undefined;
  const delayMs = Math.min(pace.firstDelayMs * pace.factor ** (tries - 1), pace.maxDelayMs);
  return Math.max(Math.round(delayMs * (1 + JITTER * random())), failure.retryAfterMs ?? 0);
}
