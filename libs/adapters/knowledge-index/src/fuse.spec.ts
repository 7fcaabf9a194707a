import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fuse } from './fuse.ts';
import type { RankedPassage } from './knowledge-index.ts';

/** A list as an index gives it, of ids and scores, best first. */
function aList(scores: Readonly<Record<string, number>>): RankedPassage[] {
  return Object.entries(scores)
    .toSorted(([, a], [, b]) => b - a)
    .map(([passageId, score], position) => ({ passageId, rank: position + 1, score }));
}
const ids = (fused: readonly { passageId: string }[]) => fused.map(({ passageId }) => passageId);

const lists = fc
  .dictionary(fc.constantFrom(...'abcdefghijkl'), fc.integer({ min: -1_000, max: 1_000 }), { maxKeys: 12 })
  .map(aList);
const hits = fc.record({ lexical: lists, vector: lists });
const weights = fc.double({ min: 0, max: 1, noNaN: true });

describe('fuse', () => {
  it('weighs z-scores: (1 - weight) of the words, weight of the vectors', () => {
    // Mean 2 and deviation 1 on one side; mean .5 and deviation .5 on the other.
    const fused = fuse({ lexical: aList({ a: 3, b: 1 }), vector: aList({ b: 1, a: 0 }) }, 0.4);
    expect(fused).toEqual([
      {
        passageId: 'a',
        score: expect.closeTo(0.6 - 0.4),
        lexical: { passageId: 'a', rank: 1, score: 3 },
        vector: { passageId: 'a', rank: 2, score: 0 },
      },
      {
        passageId: 'b',
        score: expect.closeTo(-0.6 + 0.4),
        lexical: { passageId: 'b', rank: 2, score: 1 },
        vector: { passageId: 'b', rank: 1, score: 1 },
      },
    ]);
  });

  it('gives a passage that is missing from a list the lowest z of that list', () => {
    const [first, , last] = fuse({ lexical: aList({ a: 3, b: 1 }), vector: aList({ a: 1, c: 0 }) }, 0.5);
    expect(first).toMatchObject({ passageId: 'a', score: expect.closeTo(1) });
    expect(last).toMatchObject({ passageId: 'c', score: expect.closeTo(-1), lexical: null });
  });

  it('hears only the other side when a list is empty or all its scores are equal', () => {
    const vector = aList({ a: 0.2, b: 0.9, c: 0.5 });
    expect(fuse({ lexical: [], vector: [] })).toEqual([]);
    expect(ids(fuse({ lexical: [], vector }))).toEqual(['b', 'c', 'a']);
    expect(ids(fuse({ lexical: vector, vector: [] }))).toEqual(['b', 'c', 'a']);
    // Three times .1 add up to a little more than .3, and must not count as three different scores.
    const constant = aList({ a: 0.1, b: 0.1, c: 0.1 });
    expect(fuse({ lexical: constant, vector }).map(({ score }) => score)).toEqual(
      fuse({ lexical: [], vector }).map(({ score }) => score),
    );
    expect(fuse({ lexical: constant, vector: [] }).map(({ score }) => score)).toEqual([0, 0, 0]);
    expect(fuse({ lexical: aList({ a: 7 }), vector: [] })).toMatchObject([{ passageId: 'a', score: 0 }]);
  });

  it('takes scores that differ by the rounding of 32 bits for equal', () => {
    const score = 12.345678;
    const rounded = { a: Math.fround(score), b: Math.fround(score * (1 + 2 ** -24)), c: Math.fround(score) };
    expect(ids(fuse({ lexical: aList(rounded), vector: aList({ c: 1, a: 0 }) }))[0]).toBe('c');
  });

  it('orders equal sums by id', () => {
    expect(ids(fuse({ lexical: aList({ b: 1, a: 1, c: 1 }), vector: [] }))).toEqual(['a', 'b', 'c']);
    expect(ids(fuse({ lexical: aList({ b: 1, a: 0 }), vector: aList({ a: 1, b: 0 }) }, 0.5))).toEqual(['a', 'b']);
  });

  it('is the order of the words at weight 0, of the vectors at weight 1', () => {
    fc.assert(
      fc.property(lists, lists, (lexical, vector) => {
        const place = (list: readonly RankedPassage[], weight: number) => {
          const fused = fuse({ lexical, vector }, weight);
          const scoreOf = new Map(list.map(({ passageId, score }) => [passageId, score]));
          const scores = ids(fused).map((id) => scoreOf.get(id) ?? list.at(-1)?.score ?? 0);
          expect(scores).toEqual(scores.toSorted((a, b) => b - a));
        };
        place(lexical, 0);
        place(vector, 1);
      }),
    );
  });

  it('holds every passage of both lists once, with where it stood', () => {
    fc.assert(
      fc.property(hits, weights, ({ lexical, vector }, weight) => {
        const fused = fuse({ lexical, vector }, weight);
        expect(ids(fused).toSorted()).toEqual([...new Set(ids([...lexical, ...vector]))].toSorted());
        for (const passage of fused) {
          expect(Number.isFinite(passage.score)).toBe(true);
          expect(passage.lexical).toBe(lexical.find(({ passageId }) => passageId === passage.passageId) ?? null);
          expect(passage.vector).toBe(vector.find(({ passageId }) => passageId === passage.passageId) ?? null);
        }
      }),
    );
  });

  it('gives the same whatever the order of its lists', () => {
    fc.assert(
      fc.property(
        hits,
        weights,
        fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
        ({ lexical, vector }, weight, dice) => {
          const shuffled = (list: readonly RankedPassage[]) =>
            list
              .map((hit, position) => ({ hit, at: dice[position] ?? 0 }))
              .toSorted((a, b) => a.at - b.at)
              .map(({ hit }) => hit);
          expect(fuse({ lexical: shuffled(lexical), vector: shuffled(vector) }, weight)).toEqual(
            fuse({ lexical, vector }, weight),
          );
        },
      ),
    );
  });

  it('does not care where a scale begins or how wide it is', () => {
    const shifts = fc.integer({ min: -500, max: 500 });
    const factors = fc.integer({ min: 1, max: 100 });
    fc.assert(
      fc.property(hits, weights, shifts, factors, ({ lexical, vector }, weight, shift, factor) => {
        const moved = lexical.map((hit) => ({ ...hit, score: hit.score * factor + shift }));
        const scoreOf = new Map(fuse({ lexical, vector }, weight).map(({ passageId, score }) => [passageId, score]));
        for (const { passageId, score } of fuse({ lexical: moved, vector }, weight)) {
          expect(score).toBeCloseTo(scoreOf.get(passageId) ?? Number.NaN, 6);
        }
      }),
    );
  });

  it('never puts a passage behind one that stands below it on both sides', () => {
    fc.assert(
      fc.property(hits, weights, ({ lexical, vector }, weight) => {
        const scores = new Map(fuse({ lexical, vector }, weight).map(({ passageId, score }) => [passageId, score]));
        const at = (list: readonly RankedPassage[], id: string) =>
          list.find(({ passageId }) => passageId === id)?.score ?? -Infinity;
        const known = [...scores.keys()];
        for (const a of known) {
          for (const b of known) {
            const isAbove = at(lexical, a) >= at(lexical, b) && at(vector, a) >= at(vector, b);
            if (isAbove) expect(scores.get(a)).toBeGreaterThanOrEqual((scores.get(b) ?? 0) - 1e-9);
          }
        }
      }),
    );
  });
});
