import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SecretBox, SecretUnreadable, type SecretPlace } from './secret-box.ts';

const key = (id: string) => ({ id, key: randomBytes(32) });
const ring = [key('k1')];
const box = new SecretBox(ring);
const place: SecretPlace = { workspaceId: 'w1', table: 'channels', rowId: 'r1', column: 'access_token' };
const places = fc.record({ workspaceId: fc.string(), table: fc.string(), rowId: fc.string(), column: fc.string() });
const text = fc.string({ unit: 'grapheme', maxLength: 300 });

const reasonOf = (open: () => unknown) => {
  try {
    open();
  } catch (error) {
    if (error instanceof SecretUnreadable) return `${error.code} ${String(error.context.reason)}`;
    throw error;
  }
  return 'opened';
};

describe('SecretBox', () => {
  it('opens what it sealed', () => {
    fc.assert(fc.property(text, places, (plain, where) => box.open(box.seal(plain, where), where) === plain));
  });

  it('does not open in another place', () => {
    fc.assert(
      fc.property(text, places, places, (plain, sealedFor, openedFor) => {
        fc.pre(JSON.stringify(Object.values(sealedFor)) !== JSON.stringify(Object.values(openedFor)));
        return reasonOf(() => box.open(box.seal(plain, sealedFor), openedFor)) === 'secret_unreadable not_authentic';
      }),
    );
  });

  it('does not take two places that read the same when joined for one', () => {
    const sealed = box.seal('x', { ...place, table: 'ab', rowId: 'c' });
    expect(reasonOf(() => box.open(sealed, { ...place, table: 'a', rowId: 'bc' }))).toBe(
      'secret_unreadable not_authentic',
    );
  });

  it('does not open with any bit flipped', () => {
    const sealed = box.seal('an access token', place);
    const [version, id, body = ''] = sealed.split('.');
    const bytes = Buffer.from(body, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const ciphertext = [version, id, changed.toString('base64url')].join('.');
      expect(reasonOf(() => box.open(ciphertext, place))).toBe('secret_unreadable not_authentic');
    }
  });

  it.each([
    ['empty', ''],
    ['plain text', 'EAAG-a-token'],
    ['too short', 'v1.k1.AAAA'],
    ['cut', (sealed: string) => sealed.slice(0, 30)],
    ['another version', (sealed: string) => sealed.replace('v1.', 'v2.')],
    ['padded', (sealed: string) => `${sealed}=`],
    ['with a line break', (sealed: string) => `${sealed}\n`],
  ])('calls %s malformed', (_what, ciphertext) => {
    const text = typeof ciphertext === 'string' ? ciphertext : ciphertext(box.seal('an access token', place));
    expect(reasonOf(() => box.open(text, place))).toBe('secret_unreadable malformed');
  });

  it('takes no second spelling of the same bytes', () => {
    const sealed = box.seal('12', place); // 30 bytes, so the last base64 digit carries unused bits at other lengths
    const longer = box.seal('123', place);
    for (const ciphertext of [sealed, longer]) {
      const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      for (const digit of digits) {
        const changed = ciphertext.slice(0, -1) + digit;
        if (changed !== ciphertext) expect(reasonOf(() => box.open(changed, place))).not.toBe('opened');
      }
    }
  });

  it('seals the same text differently each time', () => {
    expect(new Set(Array.from({ length: 100 }, () => box.seal('x', place))).size).toBe(100);
  });

  it('opens old ciphertexts after a rotation, and writes with the new key', () => {
    const old = box.seal('x', place);
    const rotated = new SecretBox([key('k2'), ...ring]);
    expect(rotated.open(old, place)).toBe('x');
    expect(rotated.isCurrent(old)).toBe(false);
    const renewed = rotated.seal('x', place);
    expect(rotated.isCurrent(renewed)).toBe(true);
    expect(reasonOf(() => box.open(renewed, place))).toBe('secret_unreadable unknown_key');
  });

  it('does not open under another key with the same id', () => {
    const sealed = box.seal('x', place);
    expect(reasonOf(() => new SecretBox([key('k1')]).open(sealed, place))).toBe('secret_unreadable not_authentic');
  });

  it.each([
    ['empty', []],
    ['with an id twice', [key('a'), key('a')]],
    ['with a short key', [{ id: 'a', key: randomBytes(16) }]],
    ['with an id that is not plain', [key('a.b')]],
  ])('refuses a ring that is %s', (_what, bad) => {
    expect(() => new SecretBox(bad)).toThrow(expect.objectContaining({ code: 'key_ring_invalid' }));
  });

  it('says nothing of the secret in its error', () => {
    const sealed = box.seal('planted-secret', place);
    try {
      box.open(sealed, { ...place, rowId: 'r2' });
    } catch (error) {
      const { message, context } = error as SecretUnreadable;
      expect(message + JSON.stringify(context)).not.toMatch(/planted|v1\./);
    }
    expect.assertions(1);
  });
});
