import { describe, expect, it } from '@jest/globals';
import { generateApiKey, generateToken, hashApiKey, hmacSha256, safeEqual } from './tokens.ts';

describe('API keys', () => {
  it('are al_ and 32 letters and digits, never the same', () => {
    const keys = Array.from({ length: 500 }, generateApiKey);
    keys.forEach((key) => expect(key).toMatch(/^al_[0-9A-Za-z]{32}$/));
    expect(new Set(keys).size).toBe(500);
    expect(new Set(keys.join('').slice(0, 5_000)).size).toBe(63); // 62 and the underscore
  });

  it('are stored as their SHA-256', () => {
    // FIPS 180-2, appendix B.1
    expect(hashApiKey('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

describe('generateToken', () => {
  it('has as many bytes as asked for, in base64url', () => {
    expect(generateToken(32)).toMatch(/^[\w-]{43}$/);
    expect(generateToken(32)).not.toBe(generateToken(32));
  });
});

describe('hmacSha256', () => {
  it('is the HMAC of RFC 4231, test case 2', () => {
    const mac = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
    expect(hmacSha256('Jefe', 'what do ya want for nothing?').toString('hex')).toBe(mac);
    expect(hmacSha256(Buffer.from('Jefe'), Buffer.from('what do ya want for nothing?')).toString('hex')).toBe(mac);
  });
});

describe('safeEqual', () => {
  it.each([
    ['same', 'same', true],
    ['same', 'sane', false],
    ['same', 'same ', false],
    ['', '', true],
    ['ñ', 'n', false],
  ])('%p and %p: %p', (a, b, expected) => {
    expect(safeEqual(a, b)).toBe(expected);
    expect(safeEqual(Buffer.from(a), Buffer.from(b))).toBe(expected);
    expect(safeEqual(a, Buffer.from(b))).toBe(expected);
  });
});
