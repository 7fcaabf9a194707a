import { describe, expect, it } from '@jest/globals';
import { isSignedBy, signingKey } from './webhook-signature.ts';

const key = signingKey('0123456789abcdef0123456789abcdef');
const emptyEntry = Buffer.from('{"object":"whatsapp_business_account","entry":[]}');
const emptyEntrySignature = 'eefab58106e73358686845848feb95c56372e7391b3dc050b6a31c8c5f347ece';

describe('isSignedBy', () => {
  // Computed with Python's hmac over exactly these bytes.
  it.each([
    ['an empty entry', emptyEntry.toString(), emptyEntrySignature],
    [
      'letters that Meta escaped',
      String.raw`{"text":"Caf\u00e9 \u00e4\u00f6\u00e5"}`,
      '394bad90757f5ad1e3e3af9d91c5f88e5d14d2bfd47b1d2e23c1101fc56f730d',
    ],
    [
      'the same letters as UTF-8',
      '{"text":"Café äöå"}',
      '53f1f0885517edd97b72d670f40321f4ce7d48edd398e9fac1d3a67ce09c1471',
    ],
    [
      'escaped slashes',
      String.raw`{"url":"https:\/\/example.com\/a"}`,
      'f9f16428c7800722b13b89a25f115bcb6f1fcde4b01228feb595b3e3fd8eaeb8',
    ],
    ['an empty body', '', '796cd3078af14636753d26b3b5555422ff55a3e261cf847b48e95371b9bd0aa2'],
  ])('takes the signature of %s', (_what, body, hex) => {
    expect(isSignedBy(key, Buffer.from(body), `sha256=${hex}`)).toBe(true);
  });

  it('refuses a body that was parsed and written again', () => {
    const sent = String.raw`{"text":"Caf\u00e9 \u00e4\u00f6\u00e5"}`;
    const rewritten = JSON.stringify(JSON.parse(sent));
    expect(
      isSignedBy(
        key,
        Buffer.from(rewritten),
        'sha256=394bad90757f5ad1e3e3af9d91c5f88e5d14d2bfd47b1d2e23c1101fc56f730d',
      ),
    ).toBe(false);
  });

  it('refuses another secret and another body', () => {
    const signature = `sha256=${emptyEntrySignature}`;
    expect(isSignedBy(signingKey('another secret'), emptyEntry, signature)).toBe(false);
    expect(isSignedBy(key, Buffer.concat([emptyEntry, Buffer.from(' ')]), signature)).toBe(false);
  });

  it.each([
    ['no header', undefined],
    ['two headers', [`sha256=${emptyEntrySignature}`, `sha256=${emptyEntrySignature}`]],
    ['two headers that were joined', `sha256=${emptyEntrySignature}, sha256=${emptyEntrySignature}`],
    ['no prefix', emptyEntrySignature],
    ['the prefix of the old header', `sha1=${emptyEntrySignature}`],
    ['a digit too few', `sha256=${emptyEntrySignature.slice(1)}`],
    ['a digit too many', `sha256=${emptyEntrySignature}0`],
    ['what is not hex', `sha256=${'g'.repeat(64)}`],
    ['the prefix alone', 'sha256='],
    ['an empty text', ''],
  ])('refuses %s', (_what, header) => {
    expect(isSignedBy(key, emptyEntry, header)).toBe(false);
  });

  it('does not show the secret when the key is printed', () => {
    expect(JSON.stringify({ key })).not.toContain('0123456789');
  });
});
