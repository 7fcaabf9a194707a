import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EmbedOptions } from '@answerline/language-model';
import { CachedVectors } from './cached-vectors.ts';

/** Counts the letters of a text, and remembers what it was asked. */
class LetterCounter {
  readonly model: string;
  readonly asked: string[] = [];

  constructor(model = 'letters') {
    this.model = model;
  }

  async embed(texts: readonly string[], { purpose }: EmbedOptions): Promise<number[][]> {
    this.asked.push(...texts);
    return texts.map((text) => [text.length, purpose === 'passage' ? 0.1 : 0.2]);
  }
}

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cached-vectors-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('CachedVectors', () => {
  it('asks for each text once, in later runs too, and gives the same numbers', async () => {
    const embedder = new LetterCounter();
    const first = await (await CachedVectors.open(embedder, folder)).of(['a', 'bb', 'a'], 'passage');
    const second = await (await CachedVectors.open(embedder, folder)).of(['bb', 'ccc'], 'passage');
    expect(first.map(([letters]) => letters)).toEqual([1, 2, 1]);
    expect(second.map(([letters]) => letters)).toEqual([2, 3]);
    expect(second[0]).toEqual(first[1]);
    expect(embedder.asked).toEqual(['a', 'bb', 'ccc']);
  });

  it('keeps models and purposes apart', async () => {
    const embedder = new LetterCounter();
    const vectors = await CachedVectors.open(embedder, folder);
    const [passage] = await vectors.of(['a'], 'passage');
    const [question] = await vectors.of(['a'], 'question');
    expect(passage).not.toEqual(question);
    const other = new LetterCounter('other');
    await (await CachedVectors.open(other, folder)).of(['a'], 'passage');
    expect(other.asked).toEqual(['a']);
  });

  it('asks again for what a killed run wrote half', async () => {
    const embedder = new LetterCounter();
    await (await CachedVectors.open(embedder, folder)).of(['a'], 'passage');
    appendFileSync(join(folder, readdirSync(folder)[0]!), '{"purpose":"passage","sha2');
    const [vector] = await (await CachedVectors.open(embedder, folder)).of(['bb'], 'passage');
    expect(vector?.[0]).toBe(2);
    expect(await (await CachedVectors.open(embedder, folder)).of(['a', 'bb'], 'passage')).toHaveLength(2);
    expect(embedder.asked).toEqual(['a', 'bb']);
  });
});
