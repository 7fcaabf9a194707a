import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Relevance } from './metrics.ts';

const fileNames = { passages: 'corpus.jsonl', questions: 'queries.jsonl', judgements: 'qrels.tsv' } as const;

const passageSchema = z.object({ _id: z.string(), title: z.string().default(''), text: z.string() });
const questionSchema = z.object({ _id: z.string(), text: z.string(), rewrite: z.string().optional() });
const judgementSchema = z.tuple([z.string(), z.string(), z.coerce.number()]);

/** A question with at least one relevant passage. */
export interface Question {
  readonly text: string;
  readonly relevance: Relevance;
}

export interface DataSet {
  readonly name: string;
  readonly passages: readonly { readonly id: string; readonly title: string; readonly text: string }[];
  /** The questions in the same order in each of the ways they can be asked: as they were, and as a person rewrote them. */
  readonly askings: readonly { readonly name: string; readonly questions: readonly Question[] }[];
  /** Questions that no passage is relevant for, which say nothing about a search. */
  readonly withoutAnswer: number;
}

/** The folders in `folder`, or itself, that hold a data set, and the names of those that hold something else. */
export function findDataSets(folder: string): {
  readonly found: readonly string[];
  readonly others: readonly string[];
} {
  const isDataSet = (path: string) => Object.values(fileNames).every((name) => existsSync(join(path, name)));
  if (isDataSet(folder)) return { found: [folder], others: [] };
  const folders = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
  return {
    found: folders.map((name) => join(folder, name)).filter(isDataSet),
    others: folders.filter((name) => !isDataSet(join(folder, name))),
  };
}

/** Reads a data set in the form of BEIR. Throws with file and line for what does not fit it. */
export async function readDataSet(folder: string): Promise<DataSet> {
  const passages = await readLines(join(folder, fileNames.passages), (line) => passageSchema.parse(JSON.parse(line)));
  const all = await readLines(join(folder, fileNames.questions), (line) => questionSchema.parse(JSON.parse(line)));
  const [, ...judgements] = await readLines(join(folder, fileNames.judgements), (line, number) =>
    number === 1 ? undefined : judgementSchema.parse(line.split('\t')),
  );
  const relevanceOf = new Map<string, Map<string, number>>(all.map(({ _id }) => [_id, new Map()]));
  for (const judgement of judgements) {
    if (judgement !== undefined && judgement[2] > 0) relevanceOf.get(judgement[0])?.set(judgement[1], judgement[2]);
  }
  const answered = all.filter(({ _id }) => (relevanceOf.get(_id)?.size ?? 0) > 0);
  if (answered.length === 0) throw new Error(`${folder} has no question with a relevant passage.`);
  const asking = (name: string, textOf: (question: (typeof all)[number]) => string) => ({
    name,
    questions: answered.map((each) => ({ text: textOf(each), relevance: relevanceOf.get(each._id)! })),
  });
  const isRewritten = answered.some(({ rewrite }) => rewrite !== undefined);
  return {
    name: basename(folder),
    passages: passages.map(({ _id, title, text }) => ({ id: _id, title, text })),
    askings: [
      asking(isRewritten ? 'last turn' : 'as asked', ({ text }) => text),
      ...(isRewritten ? [asking('human rewrite', ({ text, rewrite }) => rewrite ?? text)] : []),
    ],
    withoutAnswer: all.length - answered.length,
  };
}

async function readLines<Value>(file: string, parse: (line: string, number: number) => Value): Promise<Value[]> {
  const values: Value[] = [];
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
    number += 1;
    if (line.trim() === '') continue;
    try {
      values.push(parse(line, number));
    } catch (cause) {
      throw new Error(`${file}, line ${number}, is not what a data set holds.`, { cause });
    }
  }
  return values;
}
