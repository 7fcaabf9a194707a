import { describe, expect, it } from '@jest/globals';
import {
  afterSetup,
  beforeSetup,
  connectionRefused,
  phoneNumberFree,
  type WhatsAppCheck,
} from './connection-checks.ts';

const check = (name: WhatsAppCheck['check'], status: WhatsAppCheck['status'], code?: WhatsAppCheck['code']) => ({
  check: name,
  status,
  ...(code && { code }),
  message: 'What is so.',
  action: 'What to do.',
});
const notSetUp: WhatsAppCheck[] = [
  check('token', 'ok'),
  check('scope_management', 'warning', 'scope_management_missing'),
  check('app_subscribed', 'failed', 'app_not_subscribed'),
  check('callback', 'failed', 'callback_not_set'),
  check('fields', 'failed', 'field_not_subscribed'),
];
const setsApp = { step: 'set_app_subscription', fields: [] } as const;
const refusedBy = (checks: WhatsAppCheck[], step: Parameters<typeof beforeSetup>[1]) => {
  const { credentials, webhook } = beforeSetup(checks, step);
  return [credentials?.check, webhook?.check];
};

describe('beforeSetup', () => {
  it('lets pass what is set up next, and nothing else', () => {
    expect(refusedBy(notSetUp, setsApp)).toEqual([undefined, undefined]);
    expect(refusedBy(notSetUp, { step: 'by_hand' })).toEqual([undefined, undefined]);
    expect(refusedBy([check('token', 'failed', 'token_temporary'), ...notSetUp], setsApp)).toEqual([
      'token',
      undefined,
    ]);
  });

  it('refuses fields that no step sets, and a callback that is not ours to change', () => {
    expect(refusedBy(notSetUp, { step: 'set_number_override' })).toEqual([undefined, 'fields']);
    expect(refusedBy(notSetUp, { step: 'nothing' })).toEqual([undefined, 'fields']);
    const inUse = [check('callback', 'failed', 'callback_in_use'), check('fields', 'ok')];
    expect(refusedBy(inUse, { step: 'refuse' })).toEqual([undefined, 'callback']);
  });

  it('begins nothing while Meta is away, whatever the check', () => {
    expect(refusedBy([check('fields', 'failed', 'graph_unreachable')], setsApp)).toEqual(['fields', undefined]);
    expect(refusedBy([check('callback', 'failed', 'rate_limited')], setsApp)).toEqual(['callback', undefined]);
  });

  it('needs the right that the plan needs', () => {
    const { checks, credentials } = beforeSetup([...notSetUp], { step: 'not_allowed' });
    expect(credentials).toMatchObject({
      check: 'scope_management',
      status: 'failed',
      code: 'scope_management_missing',
    });
    expect(checks).toContain(credentials);
  });
});

describe('afterSetup', () => {
  it('warns of what the owner has yet to do, and of nothing else', () => {
    const byHand = afterSetup([...notSetUp, check('waba', 'failed', 'graph_unreachable')], { step: 'by_hand' }, false);
    expect(byHand.map(({ status }) => status)).toEqual(['ok', 'warning', 'warning', 'warning', 'warning', 'failed']);
    expect(afterSetup(notSetUp, setsApp, false)).toEqual(notSetUp);
  });
});

describe('connectionRefused', () => {
  it.each<[WhatsAppCheck['code'], number]>([
    ['token_invalid', 422],
    ['callback_unreachable', 422],
    ['callback_in_use', 409],
    ['phone_number_in_use', 409],
    ['rate_limited', 429],
    ['graph_unreachable', 502],
  ])('%s is %d', (code, status) => {
    const failed = check('token', 'failed', code);
    expect(connectionRefused([failed], failed)).toMatchObject({
      code,
      httpStatus: status,
      message: 'What is so. What to do.',
      members: { checks: [failed] },
    });
  });

  it('tells how long to wait as Meta did, or a minute', () => {
    const limited = check('token', 'failed', 'rate_limited');
    expect(connectionRefused([limited], limited, 5_000).retryAfterMs).toBe(5_000);
    expect(connectionRefused([limited], limited).retryAfterMs).toBe(60_000);
  });
});

describe('phoneNumberFree', () => {
  it('says no more than that', () => {
    expect(phoneNumberFree(true).status).toBe('ok');
    expect(phoneNumberFree(false)).toMatchObject({ status: 'failed', code: 'phone_number_in_use' });
  });
});
