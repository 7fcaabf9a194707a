import { describe, expect, it } from '@jest/globals';
import { callingCode, dialledDigits, equivalentDigits } from './dialled-number.ts';

describe('dialledDigits', () => {
  it.each([
    ['+12025550101', '+1 202-555-0100', '12025550101'],
    [' +52 1 555 555 0102', '+1 202-555-0100', '5215555550102'],
    ['2025550101', '+1 202-555-0100', '12025550101'],
    ['5215555550102', '+1 202-555-0100', '15215555550102'],
    ['(98765) 43210', '919876500000', '919876543210'],
    ['919876543210', '+91 98765 00000', '91919876543210'],
    ['123456', '+972 50 000 0000', '972123456'],
  ])('%s from %s dials %s', (to, business, dialled) => {
    expect(dialledDigits(to, business)).toBe(dialled);
  });
});

describe('callingCode', () => {
  it.each([
    ['12025550100', '1'],
    ['79000000000', '7'],
    ['5491155550104', '54'],
    ['4915100000000', '49'],
    ['351900000000', '351'],
    ['593900000000', '593'],
  ])('of %s is %s', (digits, code) => expect(callingCode(digits)).toBe(code));
});

describe('equivalentDigits', () => {
  it.each([
    ['5215555550102', '525555550102'],
    ['525555550102', '5215555550102'],
    ['553155550103', '5531955550103'],
    ['5531955550103', '553155550103'],
    ['5491155550104', undefined],
    ['541155550104', undefined],
    ['12025550101', undefined],
  ])('of %s is %s', (digits, other) => expect(equivalentDigits(digits)).toBe(other));
});
