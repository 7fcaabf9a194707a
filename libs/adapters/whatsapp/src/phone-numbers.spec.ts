import { describe, expect, it } from '@jest/globals';
import { matchKey, phoneVariants, recipientOf } from './phone-numbers.ts';

describe('phoneVariants', () => {
  it.each([
    ['Brazilian mobile without its ninth digit', '553187654321', ['553187654321', '5531987654321']],
    ['Brazilian mobile with its ninth digit', '5531987654321', ['5531987654321', '553187654321']],
    ['Brazilian mobile, eight digits from 6', '551161234567', ['551161234567', '5511961234567']],
    ['Brazilian landline', '551132345678', ['551132345678']],
    ['Brazilian landline from 5', '552155556666', ['552155556666']],
    // Without its 9 this mobile would be the landline of somebody else.
    ['Brazilian mobile that was born with nine digits', '5511943215678', ['5511943215678']],
    ['no Brazilian area', '550187654321', ['550187654321']],
    ['Mexican with the old 1', '5215512345678', ['5215512345678', '525512345678']],
    ['Mexican', '525512345678', ['525512345678', '5215512345678']],
    ['Argentine mobile', '5491123456789', ['5491123456789', '541123456789']],
    ['Argentine without the 9', '541123456789', ['541123456789', '5491123456789']],
    ['German', '4915112345678', ['4915112345678']],
    ['American', '15550100101', ['15550100101']],
    ['written with + and spaces', '+55 31 8765-4321', ['553187654321', '5531987654321']],
    ['no number', '<PHONE>', ['<PHONE>']],
    ['a BSUID', 'BR.5531987654321', ['BR.5531987654321']],
    ['nothing', '', ['']],
  ])('%s', (_name, number, variants) => {
    expect(phoneVariants(number)).toEqual(variants);
  });
});

describe('matchKey', () => {
  it.each([
    ['553187654321', '5531987654321'],
    ['5215512345678', '525512345678'],
    ['5491123456789', '541123456789'],
    ['+1 555-010-0101', '15550100101'],
  ])('%s and %s are one line', (one, other) => {
    expect(matchKey(one)).toBe(matchKey(other));
    for (const variant of phoneVariants(one)) expect(matchKey(variant)).toBe(matchKey(one));
  });

  it.each([
    ['a landline and the mobile with a 9 before it', '551132345678', '5511932345678'],
    ['two landlines', '551132345678', '551132345679'],
    ['neighbours', '553187654321', '553187654322'],
    ['a number and a BSUID with its digits', '15550100101', 'US.15550100101'],
  ])('keeps %s apart', (_name, one, other) => {
    expect(matchKey(one)).not.toBe(matchKey(other));
  });
});

describe('recipientOf', () => {
  it('sends to the number as it came, with +', () => {
    expect(recipientOf({ kind: 'wa_id', value: '553187654321' })).toEqual({ to: '+553187654321' });
    expect(recipientOf({ kind: 'wa_id', value: '+5531987654321' })).toEqual({ to: '+5531987654321' });
  });

  it('sends to a BSUID as recipient', () => {
    expect(recipientOf({ kind: 'bsuid', value: 'US.90000000000000000001' })).toEqual({
      recipient: 'US.90000000000000000001',
    });
  });

  it.each([
    { kind: 'wa_id', value: '<PHONE>' },
    { kind: 'wa_id', value: '' },
    { kind: 'wa_id', value: '1234' },
    { kind: 'wa_id', value: '1'.repeat(21) },
    { kind: 'bsuid', value: '' },
  ] as const)('refuses %j', (identity) => {
    expect(() => recipientOf(identity)).toThrow(expect.objectContaining({ code: 'recipient_invalid' }));
  });
});
