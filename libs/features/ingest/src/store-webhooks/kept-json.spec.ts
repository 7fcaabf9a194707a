import { describe, expect, it } from '@jest/globals';
import { keptJson, keptJsonb } from './kept-json.ts';

const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));

describe('what is kept of a webhook as JSON', () => {
  it.each([
    'null',
    '"text"',
    '{"a":[1,{"__proto__":{"b":2}}],"constructor":null}',
    String.raw`{"odd":"\u0000 \ud800 \\u0000"}`,
  ])('is what came: %s', (json) => expect(keptJson(JSON.parse(json))).toBe(json));

  it('is cut off where it nests deeper than 200 levels', () => {
    expect(JSON.parse(keptJson(nested(200)))).toEqual(nested(200));
    const kept = keptJson({ good: 1, deep: nested(1_000_000) });
    expect(kept).toMatch(/^\{"good":1,"deep":\[+"\[nested too deep\]"\]+\}$/);
    expect(kept.match(/\[/g)).toHaveLength(200);
  });

  it.each([
    [String.raw`{"a\u0000":"b\u0000c"}`, '{"a":"bc"}'],
    [String.raw`"\ud800 \udfff"`, '"\uFFFD \uFFFD"'],
    [String.raw`"\ud83d\ude00 \u00e9 \\u0000 \\\u0000 \n \""`, String.raw`"😀 é \\u0000 \\ \n \""`],
  ])('as jsonb, %s is %s', (json, kept) => expect(keptJsonb(JSON.parse(json))).toBe(kept));
});
