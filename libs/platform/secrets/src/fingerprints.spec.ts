import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { Fingerprints } from './fingerprints.ts';
import { SecretBox } from './secret-box.ts';

const key = (id: string) => ({ id, key: randomBytes(32) });
const [old, current] = [key('k1'), key('k2')];

describe('Fingerprints', () => {
  it('are the HMAC of the parts, each with its length, under a key of HKDF', () => {
    const derived = Buffer.from(hkdfSync('sha256', old.key, '', 'answerline fingerprints: spec', 32));
    const bytes = Buffer.from('\u0000\u0000\u0000\u0001a\u0000\u0000\u0000\u0002ñ');
    const mac = createHmac('sha256', derived).update(bytes).digest();
    expect(new Fingerprints([old], 'spec').of(['a', 'ñ'])).toEqual({ keyId: 'k1', mac });
  });

  it('are the same for the same parts only, and for one purpose only', () => {
    const prints = new Fingerprints([old], 'spec');
    const hex = (parts: string[], made = prints) => made.of(parts).mac.toString('hex');
    expect(hex(['a', 'b'])).toBe(hex(['a', 'b']));
    const all = [hex(['a', 'b']), hex(['ab']), hex(['ab', '']), hex(['a', 'b'], new Fingerprints([old], 'other'))];
    expect(new Set(all).size).toBe(all.length);
  });

  it('are found again after a rotation, as long as the old key is in the ring', () => {
    const before = new SecretBox([old]).fingerprints('spec').of(['a']);
    const rotated = new SecretBox([current, old]).fingerprints('spec');
    expect(rotated.of(['a']).keyId).toBe('k2');
    expect(rotated.all(['a']).map((mac) => mac.toString('hex'))).toContain(before.mac.toString('hex'));
    const without = new SecretBox([current]).fingerprints('spec');
    expect(without.all(['a']).map((mac) => mac.toString('hex'))).not.toContain(before.mac.toString('hex'));
  });
});
