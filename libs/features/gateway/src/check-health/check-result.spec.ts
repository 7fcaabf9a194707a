import { CONNECTION_CHECKS, type ConnectionCheck } from '@answerline/whatsapp';
import { describe, expect, it } from '@jest/globals';
import { findingsOf, hasTokenVerdict, lastWords, refusedCredentials, type CheckResult } from './check-result.ts';

const all = (changes: Partial<Record<ConnectionCheck['check'], Partial<ConnectionCheck>>>): ConnectionCheck[] =>
  CONNECTION_CHECKS.map((check) => ({ check, status: 'ok', message: '', action: null, ...changes[check] }));
const away = all(
  Object.fromEntries(CONNECTION_CHECKS.map((check) => [check, { status: 'not_checked' }])) as Parameters<typeof all>[0],
).map((check) =>
  check.check === 'token' ? ({ ...check, status: 'failed', code: 'graph_unreachable' } as const) : check,
);
const result = (checks: readonly ConnectionCheck[], extra: Partial<CheckResult> = {}): CheckResult => ({
  checks,
  delivery: { hop: null, code: null, httpStatus: 200 },
  number: null,
  tokenIssuedAt: null,
  ...extra,
});

describe('what a run found', () => {
  it.each([
    ['token', 'token_invalid', 'failed', 'broken', true],
    ['token', 'token_expired', 'failed', 'broken', true],
    ['token', 'token_temporary', 'warning', 'notice', false],
    ['token', 'graph_unreachable', 'failed', 'notice', false],
    ['token', 'rate_limited', 'failed', 'notice', false],
    ['app_id', 'app_id_mismatch', 'failed', 'broken', true],
    ['app_secret', 'app_secret_wrong', 'failed', 'broken', true],
    ['app_secret', 'app_secret_missing', 'warning', 'notice', false],
    ['scope_messaging', 'scope_messaging_missing', 'failed', 'broken', true],
    ['scope_management', 'scope_management_missing', 'warning', 'notice', false],
    ['waba', 'waba_not_found', 'failed', 'degraded', false],
    ['waba', 'waba_not_shared', 'failed', 'broken', true],
    ['phone_number', 'phone_number_not_found', 'failed', 'broken', false],
    ['phone_number_in_waba', 'phone_number_not_in_waba', 'failed', 'degraded', false],
    ['phone_number_registered', 'phone_number_not_registered', 'failed', 'broken', false],
    ['phone_number_registered', 'phone_number_limited', 'warning', 'degraded', false],
    ['app_subscribed', 'app_not_subscribed', 'failed', 'degraded', false],
    ['callback', 'callback_not_set', 'failed', 'degraded', false],
    ['callback', 'callback_in_use', 'failed', 'degraded', false],
    ['fields', 'field_not_subscribed', 'failed', 'degraded', false],
    ['fields', 'field_not_subscribed', 'warning', 'notice', false],
  ] as const)('%s: %s (%s) is %s, an alarm: %p', (check, code, status, severity, isAlarm) => {
    const checks = all({ [check]: { code, status } });
    expect(findingsOf(result(checks), true)).toEqual([{ code, severity }]);
    expect(refusedCredentials(checks)).toEqual(isAlarm ? [code] : []);
  });

  it('has the delivery of our own and the quality of the number', () => {
    const delivery = { hop: 'dns', code: 'callback_name_unknown', httpStatus: null } as const;
    const number = { qualityRating: 'RED', throughput: null, status: null, displayPhoneNumber: null };
    expect(findingsOf(result(all({}), { delivery, number }), true)).toEqual([
      { code: 'callback_name_unknown', severity: 'degraded' },
      { code: 'quality_low', severity: 'degraded' },
    ]);
    expect(findingsOf(result(all({}), { delivery }), false)).toEqual([
      { code: 'callback_name_unknown', severity: 'notice' },
    ]);
  });

  it('is the last word of the run before where Meta could not be asked', () => {
    const dead = all({ token: { status: 'failed', code: 'token_invalid' } });
    expect(hasTokenVerdict(dead)).toBe(true);
    expect(hasTokenVerdict(away)).toBe(false);
    const codes = (checks: readonly ConnectionCheck[]) => checks.flatMap(({ code = null }) => code ?? []);
    expect(codes(lastWords(away, dead))).toEqual(['token_invalid']);
    expect(codes(lastWords(away, lastWords(away, dead)))).toEqual(['token_invalid']);
    expect(codes(lastWords(away, all({})))).toEqual(['graph_unreachable']);
    expect(codes(lastWords(all({}), dead))).toEqual([]);
  });
});
