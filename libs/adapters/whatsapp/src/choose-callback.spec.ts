import { describe, expect, it } from '@jest/globals';
import { isOwnCallback, planCallback, type CallbackFacts } from './choose-callback.ts';
import { CORE_WEBHOOK_FIELDS, WEBHOOK_FIELDS } from './webhook-fields.ts';

const OWN = 'https://answerline.example.com/webhooks/whatsapp/key';
const EARLIER = 'https://before.example.com/webhooks/whatsapp/key';
const FOREIGN = 'https://other.example.com/webhooks/whatsapp/other-key';
const none = { phoneNumber: undefined, waba: undefined, application: undefined };
const subscription = (callbackUrl: string, fields: readonly string[] = CORE_WEBHOOK_FIELDS, active = true) => ({
  callbackUrl,
  fields,
  active,
});
const plan = (facts: Partial<CallbackFacts>) =>
  planCallback({
    ownUrl: OWN,
    callbacks: none,
    appSubscription: null,
    canManage: true,
    choice: undefined,
    ...facts,
  });
const set = expect.objectContaining({ step: 'set_app_subscription' }) as unknown;

describe('planCallback', () => {
  it.each<[string, Partial<CallbackFacts>, unknown]>([
    ['nobody has set one', {}, set],
    ['nobody has set one, and there is no App Secret', { appSubscription: undefined }, { step: 'by_hand' }],
    ['the app has ours', { appSubscription: subscription(OWN) }, { step: 'nothing' }],
    ['the app has ours without a field', { appSubscription: subscription(OWN, ['messages']) }, set],
    ['the app has ours, switched off', { appSubscription: subscription(OWN, CORE_WEBHOOK_FIELDS, false) }, set],
    ['the app has an earlier address of ours', { appSubscription: subscription(EARLIER) }, set],
    ['the app has a foreign one', { appSubscription: subscription(FOREIGN) }, { step: 'refuse' }],
    ['… to be replaced', { appSubscription: subscription(FOREIGN), choice: 'replace' }, set],
    [
      '… to be left',
      { appSubscription: subscription(FOREIGN), choice: 'number_override' },
      { step: 'set_number_override' },
    ],
    [
      '… to be left, by a token that may not',
      { appSubscription: subscription(FOREIGN), choice: 'number_override', canManage: false },
      { step: 'not_allowed' },
    ],
    [
      'only the number tells of a foreign one, for want of the App Secret',
      { appSubscription: undefined, callbacks: { ...none, application: FOREIGN } },
      { step: 'refuse' },
    ],
    [
      '… to be replaced, which only the owner can',
      { appSubscription: undefined, callbacks: { ...none, application: FOREIGN }, choice: 'replace' },
      { step: 'by_hand' },
    ],
    [
      'the number has our override, over a foreign app',
      { callbacks: { ...none, phoneNumber: OWN, application: FOREIGN }, appSubscription: subscription(FOREIGN) },
      { step: 'nothing' },
    ],
    [
      '… that is now to be replaced',
      {
        callbacks: { ...none, phoneNumber: OWN, application: FOREIGN },
        appSubscription: subscription(FOREIGN),
        choice: 'replace',
      },
      set,
    ],
    [
      'the number has our override at an earlier address',
      { callbacks: { ...none, phoneNumber: EARLIER } },
      { step: 'set_number_override' },
    ],
    ['the number has a foreign override', { callbacks: { ...none, phoneNumber: FOREIGN } }, { step: 'refuse' }],
    [
      'the account has a foreign override, over our app',
      { callbacks: { ...none, waba: FOREIGN }, appSubscription: subscription(OWN) },
      { step: 'refuse' },
    ],
    [
      '… to be replaced, without touching what other numbers share',
      { callbacks: { ...none, waba: FOREIGN }, appSubscription: subscription(OWN), choice: 'replace' },
      { step: 'set_number_override' },
    ],
  ])('%s', (_what, facts, expected) => {
    expect(plan(facts)).toEqual(expected);
  });

  it('keeps the fields that are there, and has a shorter list for when Meta refuses the longer one', () => {
    expect(plan({ appSubscription: subscription(EARLIER, ['flows', 'messages']) })).toEqual({
      step: 'set_app_subscription',
      fields: [
        [...WEBHOOK_FIELDS, 'flows'],
        [...CORE_WEBHOOK_FIELDS, 'flows'],
      ],
    });
  });
});

describe('isOwnCallback', () => {
  it('goes by the key in the path', () => {
    expect(isOwnCallback(EARLIER, OWN)).toBe(true);
    expect(isOwnCallback(FOREIGN, OWN)).toBe(false);
    expect(isOwnCallback('not a url', OWN)).toBe(false);
    expect(isOwnCallback('not a url', 'not a url')).toBe(false);
  });
});
