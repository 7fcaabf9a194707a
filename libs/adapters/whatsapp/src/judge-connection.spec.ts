import { describe, expect, it } from '@jest/globals';
import { CONNECTION_CHECKS, type ConnectionCheckName } from './connection-check.ts';
import { type CheckOptions, type Connection, type ConnectionAnswers } from './connection.ts';
import { type GraphRead, type PhoneNumberFacts, type TokenFacts } from './graph-management.ts';
import { judgeConnection } from './judge-connection.ts';
import { CORE_WEBHOOK_FIELDS } from './webhook-fields.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;
const OWN = 'https://answerline.example.com/webhooks/whatsapp/key';
const connection: Connection = {
  appId: '1',
  wabaId: '2',
  phoneNumberId: '3',
  accessToken: 'EAAplanted',
  appSecret: 'planted-secret',
};
const answered = <Value>(value: Value) => ({ outcome: 'answered', value }) as const;
const refused = (code: number, subcode?: number): GraphRead<never> => ({
  outcome: 'refused',
  failure: { class: 'permission', code, subcode, retry: 'after_reconnect', reason: 'spec' },
});
const away: GraphRead<never> = { outcome: 'unknown', reason: 'outbound_timeout' };
const token: TokenFacts = {
  appId: '1',
  isValid: true,
  errorSubcode: undefined,
  issuedAt: undefined,
  expiresAt: null,
  scopes: ['whatsapp_business_messaging', 'whatsapp_business_management'],
  targetIds: new Map(),
};
const phoneNumber: PhoneNumberFacts = {
  id: '3',
  displayPhoneNumber: undefined,
  verifiedName: undefined,
  qualityRating: undefined,
  throughputLevel: undefined,
  platformType: 'CLOUD_API',
  status: 'CONNECTED',
  codeVerificationStatus: undefined,
  isOnBizApp: undefined,
  callbacks: { phoneNumber: undefined, waba: undefined, application: OWN },
};
const well: ConnectionAnswers = {
  token: answered(token),
  isProofRefused: false,
  phoneNumberIds: answered(['3', '4']),
  phoneNumber: answered(phoneNumber),
  subscribedAppIds: answered(['1']),
  appSubscription: answered({ callbackUrl: OWN, active: true, fields: CORE_WEBHOOK_FIELDS }),
};

function judge(
  answers: Partial<ConnectionAnswers>,
  options: Partial<CheckOptions> = {},
  given: Connection = connection,
): Record<ConnectionCheckName, string> {
  const checks = judgeConnection(given, { ...well, ...answers }, { callbackUrl: OWN, now: () => NOW, ...options });
  expect(checks.map(({ check }) => check)).toEqual(CONNECTION_CHECKS);
  expect(JSON.stringify(checks)).not.toMatch(/planted|https:/);
  for (const { status, code, action } of checks) {
    if (status === 'ok') expect([code, action]).toEqual([undefined, null]);
    if (status === 'failed' || status === 'warning') expect([typeof code, typeof action]).toEqual(['string', 'string']);
  }
  return Object.fromEntries(
    checks.map(({ check, status, code }) => [check, code === undefined ? status : `${status} ${code}`]),
  ) as Record<ConnectionCheckName, string>;
}
const withToken = (changes: Partial<TokenFacts>, options: Partial<CheckOptions> = {}) =>
  judge({ token: answered({ ...token, ...changes }) }, options);
const withNumber = (changes: Partial<PhoneNumberFacts>) =>
  judge({ phoneNumber: answered({ ...phoneNumber, ...changes }) });

describe('judgeConnection', () => {
  it('finds nothing wrong with what is right', () => {
    expect(new Set(Object.values(judge({})))).toEqual(new Set(['ok']));
  });

  it.each<[string, Partial<TokenFacts>, Partial<CheckOptions>, string]>([
    ['never expires', {}, {}, 'ok'],
    ['in 60 days', { expiresAt: new Date(NOW + 60 * DAY_MS) }, {}, 'ok'],
    ['in 7 days', { expiresAt: new Date(NOW + 7 * DAY_MS) }, {}, 'failed token_temporary'],
    ['in 7 days and a second', { expiresAt: new Date(NOW + 7 * DAY_MS + 1000) }, {}, 'ok'],
    ['accepted', { expiresAt: new Date(NOW + DAY_MS) }, { acceptExpiring: true }, 'warning token_temporary'],
    ['over', { expiresAt: new Date(NOW) }, { acceptExpiring: true }, 'failed token_expired'],
    ['said to be over', { isValid: false, errorSubcode: 463 }, {}, 'failed token_expired'],
    ['not valid', { isValid: false, errorSubcode: 460 }, {}, 'failed token_invalid'],
  ])('the token: %s', (_what, facts, options, expected) => {
    expect(withToken(facts, options).token).toBe(expected);
  });

  it.each<[GraphRead<never>, string]>([
    [refused(190), 'failed token_invalid'],
    [refused(190, 463), 'failed token_expired'],
    [refused(0), 'failed token_invalid'],
    [refused(4), 'failed rate_limited'],
    [refused(80007), 'failed rate_limited'],
    [away, 'failed graph_unreachable'],
    [{ outcome: 'not_sent', reason: 'http_429' }, 'failed rate_limited'],
    [{ outcome: 'not_sent', reason: 'outbound_refused' }, 'failed graph_unreachable'],
  ])('a token that could not be asked about (%j): nothing else is', (read, expected) => {
    const { token: verdict, ...others } = judge({ token: read });
    expect(verdict).toBe(expected);
    expect(new Set(Object.values(others))).toEqual(new Set(['not_checked']));
  });

  it('an app that demands proof says so when there is none', () => {
    const { appSecret: _, ...without } = connection;
    expect(judge({ token: refused(100) }, {}, without).token).toBe('failed app_secret_wrong');
  });

  it('a refused proof is a wrong secret, or a token of another app', () => {
    expect(judge({ isProofRefused: true }).app_secret).toBe('failed app_secret_wrong');
    const ofOther = judge({ isProofRefused: true, token: answered({ ...token, appId: '9' }) });
    expect([ofOther.app_id, ofOther.app_secret]).toEqual(['failed app_id_mismatch', 'not_checked']);
  });

  it('without the App Secret warns, and knows nothing of the fields', () => {
    const { appSecret: _, ...without } = connection;
    const verdicts = judge({ appSubscription: undefined }, {}, without);
    expect([verdicts.app_secret, verdicts.fields, verdicts.callback]).toEqual([
      'warning app_secret_missing',
      'not_checked',
      'ok',
    ]);
  });

  it('scopes: without messaging it fails, without management it cannot be verified, unknown ones say nothing', () => {
    const noMessaging = withToken({ scopes: ['whatsapp_business_management'] });
    expect(noMessaging.scope_messaging).toBe('failed scope_messaging_missing');
    const noManagement = withToken({ scopes: ['whatsapp_business_messaging'] });
    expect([noManagement.scope_management, noManagement.waba, noManagement.phone_number]).toEqual([
      'warning scope_management_missing',
      'not_checked',
      'not_checked',
    ]);
    expect(withToken({ scopes: undefined })).toMatchObject({ scope_messaging: 'not_checked', waba: 'ok' });
  });

  it('assets: a scope that is limited to other accounts is not shared, even when nothing can be read', () => {
    const targetIds = new Map([['whatsapp_business_messaging', ['9']]]);
    expect(withToken({ targetIds }).waba).toBe('failed waba_not_shared');
    expect(withToken({ targetIds, scopes: ['whatsapp_business_messaging'] }).waba).toBe('failed waba_not_shared');
    expect(withToken({ targetIds: new Map([['whatsapp_business_messaging', ['2']]]) }).waba).toBe('ok');
  });

  it.each<[GraphRead<never>, string]>([
    [refused(100, 33), 'failed waba_not_found'],
    [refused(803), 'failed waba_not_found'],
    [refused(200), 'failed waba_not_shared'],
    [refused(10), 'failed waba_not_shared'],
    [refused(80007), 'failed rate_limited'],
    [away, 'failed graph_unreachable'],
  ])('the account, %j', (read, expected) => {
    expect(judge({ phoneNumberIds: read }).waba).toBe(expected);
  });

  it('the number: found, in its account, registered', () => {
    const missing = judge({ phoneNumber: refused(100, 33) });
    expect([missing.phone_number, missing.phone_number_in_waba, missing.phone_number_registered]).toEqual([
      'failed phone_number_not_found',
      'not_checked',
      'not_checked',
    ]);
    expect(judge({ phoneNumberIds: answered(['4']) }).phone_number_in_waba).toBe('failed phone_number_not_in_waba');
    expect(withNumber({ platformType: 'NOT_APPLICABLE' }).phone_number_registered).toBe(
      'failed phone_number_not_registered',
    );
    expect(withNumber({ platformType: undefined, status: undefined }).phone_number_registered).toBe('ok');
    expect(withNumber({ status: 'FLAGGED' }).phone_number_registered).toBe('warning phone_number_limited');
  });

  it('the subscription of the app to the account', () => {
    expect(judge({ subscribedAppIds: answered(['9']) }).app_subscribed).toBe('failed app_not_subscribed');
    expect(judge({ subscribedAppIds: refused(200) }).app_subscribed).toBe('not_checked');
  });

  it('the callback: of the level that is in force', () => {
    const callbacks = (changes: object) => withNumber({ callbacks: { ...phoneNumber.callbacks, ...changes } }).callback;
    const foreign = 'https://other.example.com/hook';
    expect(callbacks({ application: undefined })).toBe('ok');
    expect(judge({ appSubscription: answered(null), phoneNumber: refused(10) }).callback).toBe(
      'failed callback_not_set',
    );
    expect(callbacks({ waba: foreign })).toBe('failed callback_in_use');
    expect(callbacks({ waba: foreign, phoneNumber: OWN })).toBe('ok');
    expect(callbacks({ phoneNumber: 'https://before.example.com/webhooks/whatsapp/key' })).toBe(
      'failed callback_not_set',
    );
    expect(judge({ phoneNumber: refused(10), appSubscription: refused(190) }).callback).toBe('not_checked');
    expect(judge({}, { callbackUrl: undefined }).callback).toBe('not_checked');
  });

  it('the fields: messages must be there, the others had better be', () => {
    const fields = (list: readonly string[], active = true) =>
      judge({ appSubscription: answered({ callbackUrl: OWN, active, fields: list }) }).fields;
    expect(fields(['account_update'])).toBe('failed field_not_subscribed');
    expect(fields(CORE_WEBHOOK_FIELDS, false)).toBe('failed field_not_subscribed');
    expect(fields(['messages'])).toBe('warning field_not_subscribed');
    expect(judge({ appSubscription: answered(null) }).fields).toBe('failed field_not_subscribed');
  });
});
