import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { findDataSets, readDataSet } from './data-set.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'data-set-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, files: { corpus?: string[]; queries?: string[]; qrels?: string[] } = {}): string {
  const path = join(folder, name);
  mkdirSync(path);
  const lines = (all: string[]) => `${all.join('\n')}\n`;
  writeFileSync(join(path, 'corpus.jsonl'), lines(files.corpus ?? ['{"_id":"p1","title":"T","text":"text"}']));
  writeFileSync(join(path, 'queries.jsonl'), lines(files.queries ?? ['{"_id":"q1","text":"asked"}']));
  writeFileSync(join(path, 'qrels.tsv'), lines(files.qrels ?? ['query-id\tcorpus-id\tscore', 'q1\tp1\t2']));
  return path;
}

describe('findDataSets', () => {
  it('tells data sets from other folders', () => {
    const path = write('set');
    mkdirSync(join(folder, 'something-else'));
    expect(findDataSets(folder)).toEqual({ found: [path], others: ['something-else'] });
  });

  it('takes a folder that is a data set itself', () => {
    const path = write('set');
    expect(findDataSets(path)).toEqual({ found: [path], others: [] });
  });
});

describe('readDataSet', () => {
  it('reads passages, questions and what is relevant for them', async () => {
    const { name, passages, askings } = await readDataSet(write('set'));
    expect(name).toBe('set');
    expect(passages).toEqual([{ id: 'p1', title: 'T', text: 'text' }]);
    expect(askings).toEqual([{ name: 'as asked', questions: [{ text: 'asked', relevance: new Map([['p1', 2]]) }] }]);
  });

  it('asks the same questions again as they were rewritten', async () => {
    const queries = ['{"_id":"q1","text":"and that?","rewrite":"What about that?"}', '{"_id":"q2","text":"as it was"}'];
    const qrels = ['query-id\tcorpus-id\tscore', 'q1\tp1\t1', 'q2\tp1\t1'];
    const { askings } = await readDataSet(write('set', { queries, qrels }));
    expect(askings.map((asking) => [asking.name, asking.questions.map(({ text }) => text)])).toEqual([
      ['last turn', ['and that?', 'as it was']],
      ['human rewrite', ['What about that?', 'as it was']],
    ]);
  });

  it('leaves out questions that nothing is relevant for, and says how many', async () => {
    const queries = ['{"_id":"q1","text":"one"}', '{"_id":"q2","text":"two"}', '{"_id":"q3","text":"three"}'];
    const qrels = ['query-id\tcorpus-id\tscore', 'q1\tp1\t0', 'q2\tp1\t1'];
    const { askings, withoutAnswer } = await readDataSet(write('set', { queries, qrels }));
    expect(askings[0]?.questions.map(({ text }) => text)).toEqual(['two']);
    expect(withoutAnswer).toBe(2);
  });

  it('names the file and the line that it cannot read', async () => {
    const corpus = ['{"_id":"p1","title":"T","text":"text"}', '{"_id":"p2"}'];
    await expect(readDataSet(write('set', { corpus }))).rejects.toThrow(/corpus\.jsonl, line 2,/);
    await expect(readDataSet(write('no-score', { qrels: ['head', 'q1\tp1'] }))).rejects.toThrow(/qrels\.tsv, line 2,/);
  });
});
