import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { IndexedPassage, IndexVersion, KnowledgeIndex } from '@answerline/knowledge-index';
import { createRandom } from './seeded-random.ts';

/**
 * What every {@link KnowledgeIndex} must do. Call it from an integration spec of the implementation. `open` is called once; the suite
 * closes what it returns. Chatbot ids are random, so the index need not be empty.
 */
export function describeKnowledgeIndex(name: string, open: () => Promise<KnowledgeIndex>): void {
  describe(`${name} as a KnowledgeIndex`, () => {
    let index: KnowledgeIndex;
    let version: IndexVersion;

    beforeAll(async () => {
      index = await open();
    });
    beforeEach(async () => {
      version = index.versionFor(randomUUID());
      await index.ensure(version);
    });
    afterEach(async () => {
      for (const left of await index.listVersions(version.chatbotId)) await index.drop(left);
    });
    afterAll(async () => {
      await index.close();
    });

    const find = async (text: string, k = 10, where = version) =>
      (await index.search(where, { text, k })).lexical.map(({ passageId }) => passageId);

    it('finds a passage by its text, its title and its headings', async () => {
      await index.addPassages(version, [
        aPassage('hours', { text: 'We open at seven in the morning.' }),
        aPassage('bread', { title: 'Sourdough', text: 'Baked daily.' }),
        aPassage('cake', { headingPath: ['Sweet things', 'Carrot cake'], text: 'With nuts.' }),
      ]);
      expect(await find('opening in the mornings?')).toEqual(['hours']);
      expect(await find('sourdough')).toEqual(['bread']);
      expect(await find('carrot')).toEqual(['cake']);
    });

    it('ranks the passage with more of the words first, with ranks from 1 and falling scores', async () => {
      await index.addPassages(version, [
        aPassage('one', { text: 'A loaf of rye.' }),
        aPassage('both', { text: 'Rye from the stone oven.' }),
        aPassage('none', { text: 'Parking is free.' }),
      ]);
      const { lexical, vector } = await index.search(version, { text: 'rye stone oven', k: 10 });
      expect(lexical.map(({ passageId, rank }) => [passageId, rank])).toEqual([
        ['both', 1],
        ['one', 2],
      ]);
      expect(lexical[0]?.score).toBeGreaterThan(lexical[1]?.score ?? Infinity);
      expect(vector).toEqual([]);
    });

    it('gives at most k passages', async () => {
      await index.addPassages(
        version,
        Array.from({ length: 20 }, (_, i) => aPassage(`p${i}`, { text: `Rye number ${i}` })),
      );
      expect(await find('rye', 3)).toHaveLength(3);
      expect(await find('rye', 20)).toHaveLength(20);
      await expect(index.search(version, { text: 'rye', k: 0 })).rejects.toMatchObject({
        code: 'search_limit_invalid',
      });
      await expect(index.search(version, { text: 'rye', k: 1.5 })).rejects.toMatchObject({
        code: 'search_limit_invalid',
      });
    });

    it('finds Spanish with and without accents, composed or not, and other forms of a word', async () => {
      await index.addPassages(version, [
        aPassage('panadería', { text: 'La panadería abre los domingos. Hacemos envíos a domicilio.' }),
        aPassage('alergias', { text: 'Nuestras tartas contienen almendras.' }),
      ]);
      for (const text of [
        'panaderia',
        'PANADERÍA',
        'panaderi\u0301as',
        '¿Abrís el domingo?',
        'envio',
        '¿hacéis un envío?',
      ]) {
        expect({ text, found: await find(text) }).toEqual({ text, found: ['panadería'] });
      }
      expect((await find('¿Lleva almendra la tarta?'))[0]).toBe('alergias');
    });

    it('finds words of other scripts, full-width letters, digits and codes', async () => {
      await index.addPassages(version, [
        aPassage('greek', { text: 'Το ψωμί μας' }),
        aPassage('japanese', { text: '東京の天気は晴れです' }),
        aPassage('code', { text: 'Loaf L-4471 costs 6.50' }),
      ]);
      expect(await find('ψωμί')).toEqual(['greek']);
      expect(await find('天気')).toEqual(['japanese']);
      expect(await find('４４７１')).toEqual(['code']);
      expect(await find('ｌｏａｆ')).toEqual(['code']);
    });

    it('finds what was just added beside older passages, every time', async () => {
      for (let round = 0; round < 10; round += 1) {
        await index.addPassages(version, [aPassage(`p${round}`, { text: `word${round} bread` })]);
        expect(await find(`word${round}`)).toEqual([`p${round}`]);
        expect(await find('bread', 20)).toHaveLength(round + 1);
      }
    });

    it('replaces a passage that is added again, also twice in one call', async () => {
      await index.addPassages(version, [aPassage('a', { text: 'rye' }), aPassage('b', { text: 'spelt' })]);
      await index.addPassages(version, [aPassage('a', { text: 'rye' }), aPassage('b', { text: 'spelt' })]);
      await index.addPassages(version, [aPassage('b', { text: 'barley' }), aPassage('b', { text: 'oats' })]);
      expect(await index.count(version)).toBe(2);
      expect(await find('rye')).toEqual(['a']);
      expect(await find('oats')).toEqual(['b']);
      expect(await find('spelt barley')).toEqual([]);
    });

    it('keeps passages whole when many are added and replaced at once', async () => {
      const passages = (word: string) =>
        Array.from({ length: 40 }, (_, i) => aPassage(`p${i}`, { text: `${word} only${i}` }));
      await Promise.all([
        index.addPassages(version, passages('rye')),
        index.addPassages(version, passages('rye')),
        index.addPassages(version, passages('rye').slice(20)),
      ]);
      expect(await index.count(version)).toBe(40);
      expect((await find('rye', 100)).toSorted()).toEqual(
        passages('')
          .map(({ passageId }) => passageId)
          .toSorted(),
      );
    });

    it('takes more passages than one batch', async () => {
      const many = Array.from({ length: 1_201 }, (_, i) =>
        aPassage(`p${i}`, { text: `passage unique${i} of the handbook` }),
      );
      await index.addPassages(version, many);
      expect(await index.count(version)).toBe(1_201);
      expect(await find('unique1200')).toEqual(['p1200']);
    });

    it('deletes one source and nothing else', async () => {
      await index.addPassages(version, [
        aPassage('a', { sourceId: 'menu', text: 'rye' }),
        aPassage('b', { sourceId: 'menu', text: 'rye' }),
        aPassage('c', { sourceId: 'hours', text: 'rye' }),
      ]);
      await index.deleteBySource(version, 'menu');
      await index.deleteBySource(version, 'unknown');
      expect(await find('rye')).toEqual(['c']);
      expect(await index.count(version)).toBe(1);
    });

    it('deletes passages by id, unknown ids passed over', async () => {
      await index.addPassages(version, [aPassage('a', { text: 'rye' }), aPassage('b', { text: 'rye' })]);
      await index.deletePassages(version, ['a', 'nobody']);
      await index.deletePassages(version, []);
      expect(await find('rye')).toEqual(['b']);
      await index.deletePassages(version, ['b']);
      expect(await find('rye')).toEqual([]);
      await index.addPassages(version, [aPassage('c', { text: 'rye' })]);
      expect(await find('rye')).toEqual(['c']);
    });

    it('takes ids and texts with quotes and SQL for what they are', async () => {
      const hostile = ["' OR true --", 'a"b', "it''s", '%', '\\', "'); DROP TABLE x; --", 'ünï\u0000code', '🥐'];
      await index.addPassages(
        version,
        hostile.map((id, i) => aPassage(id, { sourceId: id, text: `${id} marker${i}` })),
      );
      expect(await index.count(version)).toBe(hostile.length);
      await index.deleteBySource(version, "' OR true --");
      expect(await index.count(version)).toBe(hostile.length - 1);
      await index.deletePassages(version, ["x' OR 'a' = 'a"]);
      expect(await index.count(version)).toBe(hostile.length - 1);
      for (const [i, id] of hostile.entries()) {
        expect(await find(`marker${i}`)).toEqual(i === 0 ? [] : [id]);
        await index.deletePassages(version, [id]);
      }
      expect(await index.count(version)).toBe(0);
    });

    it('has no query language, and bears any text', async () => {
      await index.addPassages(version, [
        aPassage('rye', { text: 'rye bread' }),
        aPassage('spelt', { text: 'spelt rolls' }),
      ]);
      for (const text of [
        '',
        '   ',
        '??',
        '"',
        '+-&|!(){}[]^~*:\\/',
        '*',
        '_exists_:text',
        "' OR true --",
        '\u0000',
        '\ud800',
        '🥐',
      ]) {
        expect({ text, found: await find(text) }).toEqual({ text, found: [] });
      }
      expect(await find('rye AND NOT rye')).toEqual(['rye']);
      expect(await find('text:rye^5 -spelt')).toEqual(expect.arrayContaining(['rye', 'spelt']));
      expect(await find('sp*')).toEqual([]);
      expect(await find('"rye')).toEqual(['rye']);
      expect(await find(`rye ${'x'.repeat(1_000_000)}`)).toEqual(['rye']);
      expect(await find('rye '.repeat(100_000))).toEqual(['rye']);
    });

    it('bears questions of thousands of words in any script, and finds by the first of them', async () => {
      await index.addPassages(version, [aPassage('rye', { text: 'rye bread' })]);
      const many = (word: (i: number) => string) => `rye ${Array.from({ length: 10_000 }, (_, i) => word(i)).join('')}`;
      const han = (i: number) => String.fromCodePoint(0x4e00 + i);
      for (const text of [
        many((i) => `word${i} `),
        many((i) => `${i}-`),
        many((i) => `+w${i} AND `),
        many(han),
        many((i) => (i % 2 === 0 ? 'a' : 'カ')),
        many((i) => `${String.fromCodePoint(0x1f300 + (i % 500))}`),
        many(() => '\u0000'),
        many(() => '\ufdfa '),
        many(() => '\ud800 '),
      ]) {
        expect({ text: text.slice(0, 20), found: await find(text) }).toEqual({
          text: text.slice(0, 20),
          found: ['rye'],
        });
      }
    });

    it('takes passages of any text, also very long ones', async () => {
      const words = Array.from({ length: 20_000 }, (_, i) => `word${i}`).join(' ');
      await index.addPassages(version, [
        aPassage('long', { text: `${words} spelt` }),
        aPassage('unbroken', { text: `${'x'.repeat(200_000)} oats` }),
        aPassage('odd', { title: '\u0000 "quoted" \\ {}', text: 'barley \ud800 \u0000 🥐 \u202e عربى \n\r\t' }),
        aPassage('signs', { text: '?!… 🥐🥖 ' }),
        aPassage('empty', { text: '' }),
      ]);
      expect(await index.count(version)).toBe(5);
      expect(await find('word19999 spelt')).toEqual(['long']);
      expect(await find('oats')).toEqual(['unbroken']);
      expect(await find('barley')).toEqual(['odd']);
      expect(await find('عربى')).toEqual(['odd']);
    });

    it("keeps chatbots apart: another one's passages change neither hits nor scores", async () => {
      const passages = [aPassage('a', { text: 'rye bread' }), aPassage('b', { text: 'spelt bread' })];
      await index.addPassages(version, passages);
      const before = await index.search(version, { text: 'rye bread', k: 10 });
      const other = index.versionFor(randomUUID());
      await index.addPassages(
        other,
        Array.from({ length: 50 }, (_, i) => aPassage(`other${i}`, { text: 'rye bread' })),
      );
      expect(await index.search(version, { text: 'rye bread', k: 10 })).toEqual(before);
      expect(await index.count(other)).toBe(50);
      await index.drop(other);
      expect(await index.search(version, { text: 'rye bread', k: 10 })).toEqual(before);
    });

    it('keeps two chatbots with the same ids apart in every way', async () => {
      const [one, two] = [index.versionFor(randomUUID(), threeNumbers), index.versionFor(randomUUID(), threeNumbers)];
      await index.addPassages(one, [aPassage('a', { text: 'rye', vector: [1, 0, 0] })]);
      await index.addPassages(two, [aPassage('a', { text: 'rye spelt', vector: [0, 1, 0] })]);
      await index.rebuild(one, batches([aPassage('a', { text: 'rye oats', vector: [0, 0, 1] })]));
      const ask = async (where: IndexVersion) => {
        const { lexical, vector } = await index.search(where, { text: 'spelt', vector: [0, 1, 0], k: 5 });
        return [lexical.length, vector.map(({ score }) => Math.round(score))];
      };
      expect(await ask(one)).toEqual([0, [0]]);
      expect(await ask(two)).toEqual([1, [1]]);
      await index.deleteBySource(one, 'a-source');
      await index.deletePassages(one, ['a']);
      expect(await ask(two)).toEqual([1, [1]]);
      await index.drop(one);
      expect(await ask(two)).toEqual([1, [1]]);
      expect(await index.listVersions(one.chatbotId)).toEqual([]);
      expect(await index.listVersions(two.chatbotId)).toEqual([two]);
      await index.drop(two);
    });

    it('answers with nothing for a version that does not exist, or has no passages', async () => {
      const missing = index.versionFor(randomUUID());
      expect(await index.search(missing, { text: 'rye', k: 5 })).toEqual({ lexical: [], vector: [] });
      expect(await find('rye')).toEqual([]);
      expect(await index.count(missing)).toBe(0);
      await index.deleteBySource(missing, 'menu');
      await index.deletePassages(missing, ['a']);
      await index.drop(missing);
      expect(await index.listVersions(missing.chatbotId)).toEqual([]);
    });

    it('lists versions of a chatbot, drops one, and makes it again empty', async () => {
      const next = { ...version, mapping: version.mapping + 1 };
      await index.addPassages(version, [aPassage('a', { text: 'rye' })]);
      await index.addPassages(next, [aPassage('b', { text: 'rye' })]);
      expect(await index.listVersions(version.chatbotId)).toEqual([version, next]);
      expect(await index.listVersions()).toEqual(expect.arrayContaining([version, next]));

      await index.drop(version);
      expect(await index.listVersions(version.chatbotId)).toEqual([next]);
      expect(await find('rye')).toEqual([]);
      expect(await find('rye', 10, next)).toEqual(['b']);

      await index.ensure(version);
      await index.ensure(version);
      expect(await find('rye')).toEqual([]);
      await index.addPassages(version, [aPassage('c', { text: 'rye' })]);
      expect(await find('rye')).toEqual(['c']);
    });

    it('finds the nearest vectors by cosine beside the words, in a version of that model', async () => {
      const small = index.versionFor(version.chatbotId, { model: 'Some/Model-v1', dimensions: 3 });
      await index.addPassages(small, [
        aPassage('east', { text: 'rye', vector: [1, 0, 0] }),
        aPassage('north', { text: 'spelt', vector: [0, 2, 0] }),
        aPassage('north-east', { text: 'oats', vector: [1, 1, 0] }),
      ]);
      const { lexical, vector } = await index.search(small, { text: 'rye', vector: [0, 9, 0], k: 2 });
      expect(lexical.map(({ passageId }) => passageId)).toEqual(['east']);
      expect(vector.map(({ passageId, rank }) => [passageId, rank])).toEqual([
        ['north', 1],
        ['north-east', 2],
      ]);
      expect(vector[0]?.score).toBeCloseTo(1, 5);
      expect(vector[1]?.score).toBeCloseTo(Math.SQRT1_2, 5);
      expect(await index.listVersions(version.chatbotId)).toEqual(expect.arrayContaining([version, small]));
    });

    it('orders by the exact cosine, whatever the length of a vector, and gives at most k', async () => {
      const dimensions = 16;
      const wide = index.versionFor(version.chatbotId, { model: 'm', dimensions });
      const random = createRandom(7);
      const aVector = () => Array.from({ length: dimensions }, () => random.next() - 0.5);
      const vectors = new Map(
        Array.from({ length: 200 }, (_, i) => {
          const length = [1, 1e-30, 1e30, 1e-300, 1e300, 250][i % 6] ?? 1;
          return [`p${i}`, aVector().map((number) => number * length)] as const;
        }),
      );
      await index.addPassages(
        wide,
        Array.from(vectors, ([id, vector]) => aPassage(id, { text: 'rye', vector })),
      );
      for (let i = 0; i < 10; i += 1) {
        const question = aVector();
        const exact = Array.from(vectors, ([id, vector]) => ({ id, score: cosine(question, vector) }))
          .toSorted((a, b) => b.score - a.score)
          .slice(0, 20);
        const { lexical, vector } = await index.search(wide, { text: '', vector: question, k: 20 });
        expect(lexical).toEqual([]);
        expect(vector.map(({ passageId }) => passageId)).toEqual(exact.map(({ id }) => id));
        for (const [place, { rank, score }] of vector.entries()) {
          expect(rank).toBe(place + 1);
          expect(score).toBeCloseTo(exact[place]?.score ?? Number.NaN, 5);
        }
      }
      const opposite = aVector();
      await index.rebuild(wide, batches([aPassage('opposite', { vector: opposite.map((number) => -number) })]));
      const { vector } = await index.search(wide, { text: 'rye', vector: opposite, k: 1_000 });
      expect(vector).toEqual([{ passageId: 'opposite', rank: 1, score: expect.closeTo(-1, 5) }]);
    });

    it('forgets the vector of a passage that was deleted, by source or by id, or replaced', async () => {
      const small = index.versionFor(version.chatbotId, threeNumbers);
      await index.addPassages(small, [
        aPassage('menu', { sourceId: 'menu', vector: [1, 0, 0] }),
        aPassage('hours', { sourceId: 'hours', vector: [1, 1, 0] }),
        aPassage('parking', { sourceId: 'hours', vector: [0, 0, 1] }),
      ]);
      const nearest = async () =>
        (await index.search(small, { text: '', vector: [1, 0, 0], k: 5 })).vector.map(({ passageId }) => passageId);
      expect(await nearest()).toEqual(['menu', 'hours', 'parking']);
      await index.addPassages(small, [aPassage('menu', { sourceId: 'menu', vector: [-1, 0, 0] })]);
      expect(await nearest()).toEqual(['hours', 'parking', 'menu']);
      await index.deleteBySource(small, 'menu');
      expect(await nearest()).toEqual(['hours', 'parking']);
      await index.deletePassages(small, ['hours']);
      expect(await nearest()).toEqual(['parking']);
      await index.drop(small);
      expect(await nearest()).toEqual([]);
    });

    it('refuses a vector that does not fit the version, and stores nothing of that call', async () => {
      const small = index.versionFor(version.chatbotId, threeNumbers);
      const wrong: [IndexVersion, number[] | undefined][] = [
        [small, undefined],
        [small, []],
        [small, [1, 2]],
        [small, [1, 2, 3, 4]],
        [small, [1, 2, Number.NaN]],
        [small, [1, 2, Infinity]],
        [small, [0, 0, 0]],
        [version, [1, 2, 3]],
      ];
      for (const [where, vector] of wrong) {
        const passages = [aPassage('a', { text: 'rye', ...(vector === undefined ? {} : { vector }) })];
        await expect(index.addPassages(where, passages)).rejects.toMatchObject({ code: 'vector_invalid' });
        await expect(index.rebuild(where, batches(passages))).rejects.toMatchObject({ code: 'vector_invalid' });
        if (vector === undefined) continue;
        await expect(index.search(where, { text: 'rye', vector, k: 1 })).rejects.toMatchObject({
          kind: 'unexpected',
          code: 'vector_invalid',
        });
      }
      expect(await index.count(version)).toBe(0);
      expect(await index.count(small)).toBe(0);
    });

    it('answers correctly while passages come and go', async () => {
      await index.addPassages(version, [aPassage('stays', { text: 'rye' })]);
      let writing = true;
      const searching = Promise.all(
        Array.from({ length: 4 }, async () => {
          let searches = 0;
          while (writing) {
            expect(await find('rye')).toEqual(['stays']);
            searches += 1;
          }
          return searches;
        }),
      );
      try {
        for (let round = 0; round < 10; round += 1) {
          await index.addPassages(version, [aPassage('comes', { sourceId: 'goes', text: `spelt ${round}` })]);
          await index.deleteBySource(version, 'goes');
        }
      } finally {
        writing = false;
      }
      expect(Math.min(...(await searching))).toBeGreaterThan(0);
      expect(await index.count(version)).toBe(1);
    });

    it('rebuilds: what was there is found until the end, and only the new after it', async () => {
      const small = index.versionFor(version.chatbotId, threeNumbers);
      await index.addPassages(small, [
        aPassage('old', { text: 'rye', vector: [1, 0, 0] }),
        aPassage('both', { text: 'rye', vector: [1, 0, 0] }),
      ]);
      const found = async () => {
        const { lexical, vector } = await index.search(small, { text: 'rye', vector: [1, 0, 0], k: 5 });
        return [lexical, vector].map((list) => list.map(({ passageId }) => passageId).toSorted());
      };
      await index.rebuild(
        small,
        (async function* () {
          yield [aPassage('both', { text: 'rye first', vector: [0, 1, 0] })];
          expect(await found()).toEqual([
            ['both', 'old'],
            ['both', 'old'],
          ]);
          expect(await index.count(small)).toBe(2);
          yield [];
          yield [
            aPassage('new', { text: 'rye', sourceId: 'new' }),
            aPassage('both', { text: 'rye', sourceId: 'new' }),
          ].map((passage) => ({ ...passage, vector: [0, 0, 1] }));
          expect(await found()).toEqual([
            ['both', 'old'],
            ['both', 'old'],
          ]);
          expect(await index.listVersions(version.chatbotId)).toEqual(expect.arrayContaining([version, small]));
          expect(await index.listVersions(version.chatbotId)).toHaveLength(2);
        })(),
      );
      expect(await found()).toEqual([
        ['both', 'new'],
        ['both', 'new'],
      ]);
      expect(await index.count(small)).toBe(2);
      expect(await find('first', 10, small)).toEqual([]);
      expect(await index.listVersions(version.chatbotId)).toHaveLength(2);

      await index.addPassages(small, [aPassage('later', { text: 'rye', vector: [1, 0, 0] })]);
      expect(await index.count(small)).toBe(3);
      await index.deleteBySource(small, 'new');
      expect(await found()).toEqual([['later'], ['later']]);
      await index.ensure(small);
      expect(await index.count(small)).toBe(1);
      await index.drop(small);
      expect(await index.listVersions(version.chatbotId)).toEqual([version]);
      await index.ensure(small);
      expect(await index.count(small)).toBe(0);
    });

    it('makes a version that does not exist by rebuilding it, also without a passage', async () => {
      const fresh = index.versionFor(randomUUID());
      await index.rebuild(
        fresh,
        (async function* () {
          yield [aPassage('a', { text: 'rye' })];
          expect(await index.listVersions(fresh.chatbotId)).toEqual([]);
          expect(await find('rye', 5, fresh)).toEqual([]);
        })(),
      );
      expect(await find('rye', 5, fresh)).toEqual(['a']);
      expect(await index.listVersions(fresh.chatbotId)).toEqual([fresh]);
      await index.rebuild(fresh, batches());
      expect(await index.count(fresh)).toBe(0);
      expect(await index.listVersions(fresh.chatbotId)).toEqual([fresh]);
      await index.drop(fresh);
    });

    it('keeps the old copy when a rebuild fails, with the error that its batches threw', async () => {
      await index.addPassages(version, [aPassage('a', { text: 'rye' })]);
      const failure = new Error('no more passages');
      const broken = (async function* () {
        yield [aPassage('b', { text: 'rye' })];
        throw failure;
      })();
      await expect(index.rebuild(version, broken)).rejects.toBe(failure);
      expect(await find('rye')).toEqual(['a']);
      expect(await index.listVersions(version.chatbotId)).toEqual([version]);
      await index.rebuild(version, batches([aPassage('c', { text: 'rye' })]));
      expect(await find('rye')).toEqual(['c']);
    });

    it('rebuilds more passages than one batch takes', async () => {
      const all = Array.from({ length: 1_200 }, (_, i) => aPassage(`p${i}`, { text: `rye unique${i}` }));
      await index.rebuild(version, batches(all.slice(0, 700), all.slice(600)));
      expect(await index.count(version)).toBe(1_200);
      expect(await find('unique650')).toEqual(['p650']);
      expect(await find('unique1199')).toEqual(['p1199']);
    });

    it('takes writes while it rebuilds, and of two rebuilds one whole', async () => {
      await index.addPassages(version, [aPassage('old', { text: 'rye' })]);
      await index.rebuild(
        version,
        (async function* () {
          yield [aPassage('a', { text: 'rye' })];
          await index.addPassages(version, [aPassage('meanwhile', { text: 'rye' })]);
          expect((await find('rye')).toSorted()).toEqual(['meanwhile', 'old']);
          await index.deletePassages(version, ['old']);
          await index.rebuild(version, batches([aPassage('b', { text: 'rye' }), aPassage('c', { text: 'rye' })]));
          expect((await find('rye')).toSorted()).toEqual(['b', 'c']);
          yield [aPassage('d', { text: 'rye' })];
        })(),
      );
      expect((await find('rye')).toSorted()).toEqual(['a', 'd']);
      expect(await index.listVersions(version.chatbotId)).toEqual([version]);
    });

    it('does not come back when it was dropped while it was rebuilt', async () => {
      const dropped = index.rebuild(
        version,
        (async function* () {
          yield [aPassage('a', { text: 'rye' })];
          await index.drop(version);
          yield [aPassage('b', { text: 'rye' })];
        })(),
      );
      await expect(dropped).rejects.toMatchObject({ kind: 'transient', code: 'knowledge_index_unavailable' });
      expect(await index.listVersions(version.chatbotId)).toEqual([]);
      expect(await find('rye')).toEqual([]);
    });

    it('shows searches one whole copy while rebuilds swap under them', async () => {
      const small = index.versionFor(randomUUID(), threeNumbers);
      const round = (number: number) =>
        Array.from({ length: 30 }, (_, i) => aPassage(`${number}-${i}`, { text: 'rye', vector: [1, i, number] }));
      await index.addPassages(small, round(0));
      let rebuilding = true;
      const searching = Promise.all(
        Array.from({ length: 2 }, async () => {
          const seen = new Set<string>();
          while (rebuilding) {
            const { lexical, vector } = await index.search(small, { text: 'rye', vector: [1, 1, 1], k: 100 });
            const rounds = new Set([...lexical, ...vector].map(({ passageId }) => passageId.split('-')[0] ?? ''));
            expect([lexical.length, vector.length, rounds.size]).toEqual([30, 30, 1]);
            for (const number of rounds) seen.add(number);
          }
          return seen;
        }),
      );
      try {
        for (let number = 1; number <= 4; number += 1) {
          await index.rebuild(small, batches(round(number).slice(0, 15), round(number).slice(15)));
        }
      } finally {
        rebuilding = false;
      }
      expect(new Set((await searching).flatMap((seen) => [...seen])).size).toBeGreaterThan(1);
      await index.drop(small);
    });

    it('is healthy', async () => {
      await expect(index.health()).resolves.toBeUndefined();
    });
  });
}

function aPassage(passageId: string, overrides: Partial<IndexedPassage>): IndexedPassage {
  return { passageId, sourceId: 'a-source', title: '', headingPath: [], text: '', ...overrides };
}

const threeNumbers = { model: 'Some/Model-v1', dimensions: 3 };

async function* batches(...passages: IndexedPassage[][]): AsyncGenerator<IndexedPassage[]> {
  yield* passages;
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const largest = Math.max(...b.map(Math.abs));
  const scaled = b.map((number) => number / largest);
  const dot = a.reduce((sum, number, i) => sum + number * (scaled[i] ?? 0), 0);
  return dot / Math.hypot(...a) / Math.hypot(...scaled);
}
