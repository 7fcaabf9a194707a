import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { IndexedPassage, IndexVersion, KnowledgeIndex } from '@answerline/knowledge-index';

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

    it('refuses a vector that does not fit the version, and stores nothing of that call', async () => {
      const small = index.versionFor(version.chatbotId, { model: 'm', dimensions: 3 });
      const wrong: [IndexVersion, number[] | undefined][] = [
        [small, undefined],
        [small, [1, 2]],
        [small, [1, 2, Number.NaN]],
        [version, [1, 2, 3]],
      ];
      for (const [where, vector] of wrong) {
        const passages = [aPassage('a', { text: 'rye', ...(vector === undefined ? {} : { vector }) })];
        await expect(index.addPassages(where, passages)).rejects.toMatchObject({ code: 'vector_invalid' });
      }
      await expect(index.search(version, { text: 'rye', vector: [1], k: 1 })).rejects.toMatchObject({
        code: 'vector_invalid',
      });
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

    it('is healthy', async () => {
      await expect(index.health()).resolves.toBeUndefined();
    });
  });
}

function aPassage(passageId: string, overrides: Partial<IndexedPassage>): IndexedPassage {
  return { passageId, sourceId: 'a-source', title: '', headingPath: [], text: '', ...overrides };
}
