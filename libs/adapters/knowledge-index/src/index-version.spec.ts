import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { indexVersionName, parseIndexVersionName, type IndexVersion } from './index-version.ts';

const positive = fc.integer({ min: 1, max: 100_000 });
const versions: fc.Arbitrary<IndexVersion> = fc.oneof(
  fc.record({ chatbotId: fc.string({ minLength: 1, maxLength: 12, unit: 'binary' }), mapping: positive }),
  fc.record({
    chatbotId: fc.uuid(),
    mapping: positive,
    embedding: fc.record({ model: fc.string({ minLength: 1, maxLength: 10, unit: 'binary' }), dimensions: positive }),
  }),
);

describe('the name of an index version', () => {
  it('says chatbot, mapping, dimensions and model', () => {
    const chatbotId = '0198f2aa-6a3e-7c11-a000-0123456789ab';
    expect(indexVersionName({ chatbotId, mapping: 1 })).toBe(`${chatbotId}.m1.lexical`);
    expect(indexVersionName({ chatbotId, mapping: 2, embedding: { model: 'Org/mini_v1.5', dimensions: 384 } })).toBe(
      `${chatbotId}.m2.d384._4frg_2fmini_5fv1_2e5`,
    );
  });

  it('is read back, whatever the ids hold, and fits both indexes', () => {
    fc.assert(
      fc.property(versions, (version) => {
        const name = indexVersionName(version);
        expect(name).toMatch(/^[a-z0-9_.-]{1,200}$/);
        expect(parseIndexVersionName(name)).toEqual(version);
      }),
    );
  });

  it.each<IndexVersion>([
    { chatbotId: '', mapping: 1 },
    { chatbotId: 'c', mapping: 1.5 },
    { chatbotId: 'c', mapping: -1 },
    { chatbotId: 'c'.repeat(200), mapping: 1 },
    { chatbotId: 'c', mapping: 1, embedding: { model: '', dimensions: 3 } },
    { chatbotId: 'c', mapping: 1, embedding: { model: 'm', dimensions: Number.NaN } },
  ])('is refused for %j', (version) => {
    expect(() => indexVersionName(version)).toThrow(expect.objectContaining({ code: 'index_version_invalid' }));
  });

  it('is not found in other texts', () => {
    for (const name of ['', 'passages', 'c.m1', 'c.m1.other', 'c.m1.d3.', 'C.m1.lexical', 'c.mx.lexical']) {
      expect(parseIndexVersionName(name)).toBeUndefined();
    }
  });
});
