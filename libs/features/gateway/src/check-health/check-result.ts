import { type ChannelHealth, type ReasonSeverity } from '@answerline/contracts';
import { type ConnectionCheck, type ConnectionCode, type ConnectionReport } from '@answerline/whatsapp';
import { type Finding } from './decide-channel-state.ts';
import { type SelfTestOutcome } from './send-self-test.ts';

/** What one run of all checks came to, as it is stored. Codes, words and what Meta shows of the number; no secret. */
export interface CheckResult {
  readonly checks: readonly ConnectionCheck[];
  readonly delivery: { readonly hop: Hop; readonly code: string | null; readonly httpStatus: number | null };
  readonly number: ChannelHealth['number'];
  /** ms since 1970. */
  readonly tokenIssuedAt: number | null;
}

type Hop = NonNullable<ChannelHealth['delivery']>['hop'];

/** A warning stays a notice unless it stands here; what failed and stands nowhere degrades. */
const severities: Partial<Record<ConnectionCode, ReasonSeverity>> = {
  token_invalid: 'broken',
  token_expired: 'broken',
  app_id_mismatch: 'broken',
  app_secret_wrong: 'broken',
  scope_messaging_missing: 'broken',
  waba_not_shared: 'broken',
  phone_number_not_found: 'broken',
  phone_number_not_registered: 'broken',
  phone_number_limited: 'degraded',
  // The warning before an expiry says the same.
  token_temporary: 'notice',
  graph_unreachable: 'notice',
  rate_limited: 'notice',
};

/** Codes with which Meta says that the credentials are no good: the only ones that raise an alarm. */
const credentialCodes: ReadonlySet<string> = new Set<ConnectionCode>([
  'token_invalid',
  'token_expired',
  'app_id_mismatch',
  'app_secret_wrong',
  'scope_messaging_missing',
  'waba_not_shared',
]);

/** Meta was away or asked to wait: the check says nothing. */
const isInconclusive = ({ status, code }: ConnectionCheck): boolean =>
  status === 'not_checked' || code === 'graph_unreachable' || code === 'rate_limited';

/** The codes of a run with which Meta refused the credentials. */
export function refusedCredentials(checks: readonly ConnectionCheck[]): string[] {
  return checks.flatMap(({ status, code }) =>
    status === 'failed' && code !== undefined && credentialCodes.has(code) ? [code] : [],
  );
}

/** Whether a code is that of a refusal of the credentials. */
export const isCredentialCode = (code: string): boolean => credentialCodes.has(code);

/** Whether Meta said anything about the token. */
export function hasTokenVerdict(checks: readonly ConnectionCheck[]): boolean {
  return checks.some((check) => check.check === 'token' && !isInconclusive(check));
}

/**
 * The checks of this run, with the last word on those that could not be made now: a token that Meta refused yesterday is not
 * well again because Meta is away today. `previous` must be of the same credentials.
 */
export function lastWords(
  checks: readonly ConnectionCheck[],
  previous: readonly ConnectionCheck[],
): readonly ConnectionCheck[] {
  return checks.map((check) => {
    const before = previous.find((other) => other.check === check.check);
    const isKept = isInconclusive(check) && before !== undefined && !isInconclusive(before) && before.status !== 'ok';
    // With a dead token nothing else is asked, and what failed before is no longer what matters.
    return isKept && (check.status !== 'not_checked' || check.check === 'token') ? before : check;
  });
}

/** What a run found wrong, by code, with how much it matters. */
export function findingsOf({ checks, delivery, number }: CheckResult, deliveryMatters: boolean): Finding[] {
  const found: Finding[] = checks.flatMap(({ status, code }) => {
    if (code === undefined || status === 'ok' || status === 'not_checked') return [];
    return [{ code, severity: severities[code] ?? (status === 'failed' ? 'degraded' : 'notice') }];
  });
  if (delivery.code !== null) found.push({ code: delivery.code, severity: deliveryMatters ? 'degraded' : 'notice' });
  if (number?.qualityRating === 'RED') found.push({ code: 'quality_low', severity: 'degraded' });
  return found;
}

/** A run as it is stored. */
export function toCheckResult(
  { checks, phoneNumber, token }: ConnectionReport,
  delivery: SelfTestOutcome,
  isRead: boolean,
): CheckResult {
  return {
    checks,
    delivery: {
      hop: delivery.hop,
      code: delivery.hop === null ? (isRead ? null : 'self_test_not_read') : delivery.code,
      httpStatus: delivery.httpStatus,
    },
    number: phoneNumber
      ? {
          qualityRating: phoneNumber.qualityRating ?? null,
          throughput: phoneNumber.throughputLevel ?? null,
          status: phoneNumber.status ?? null,
          displayPhoneNumber: phoneNumber.displayPhoneNumber ?? null,
        }
      : null,
    tokenIssuedAt: token?.issuedAt?.getTime() ?? null,
  };
}
