import { performance } from 'node:perf_hooks';
import {
  searchableText,
  type IndexVersion,
  type KnowledgeHits,
  type KnowledgeQuery,
} from '@answerline/knowledge-index';
import { formatted, percentile } from '../figures.ts';
import { createRandom } from '../../libs/testing/src/seeded-random.ts';
import { bootstrap } from './bootstrap.ts';
import type { CachedVectors } from './cached-vectors.ts';
import type { DataSet, Question } from './data-set.ts';
import type { Engine } from './engines.ts';
import { differenceWithInterval, printMarkdownTable, shareWithInterval } from './markdown-table.ts';
import { hitsPerList, metricNames, metrics, rankedBy, type Metric, type System } from './systems.ts';

const passagesPerWrite = 500;
/** Searches that are thrown away before the clock counts; a server's Java needs them. */
const warmUpSearches = 200;

/** One index and one way to order its hits, with what each question scored, in the order of the questions. */
export interface Scored {
  readonly dataSet: string;
  readonly engine: Engine['name'];
  readonly system: System;
  readonly values: Readonly<Record<Metric, readonly number[]>>;
}

interface Timed {
  readonly engine: Engine['name'];
  readonly asking: string;
  readonly searchMs: readonly number[];
  readonly processorMs: number;
}

export interface QualityOptions {
  readonly engines: readonly Engine[];
  /** Without them only BM25 is measured. */
  readonly vectors: CachedVectors | undefined;
  /** Of the bootstrap. */
  readonly seed: number;
}

/** Indexes the passages of a data set in each index, asks all questions, prints the figures and returns the scores. */
export async function measureQuality(dataSet: DataSet, { engines, vectors, seed }: QualityOptions): Promise<Scored[]> {
  if (dataSet.withoutAnswer > 0) {
    console.log(`${dataSet.name}: ${dataSet.withoutAnswer} questions without a relevant passage are left out.\n`);
  }
  const indexed = await indexPassages(dataSet, engines, vectors);
  const measured: readonly System[] = vectors === undefined ? ['BM25'] : ['BM25', 'vectors', 'fusion'];
  const scored: Scored[] = [];
  const timed: Timed[] = [];
  for (const { name: asking, questions } of dataSet.askings) {
    const texts = questions.map(({ text }) => text);
    const queries = withVectors(
      texts.map((text) => ({ text, k: hitsPerList })),
      await vectors?.of(texts, 'question'),
    );
    const ofAsking: Scored[] = [];
    for (const [engine, version] of indexed) {
      const { hits, ...time } = await searchAll(engine, version, queries);
      timed.push({ engine: engine.name, asking, ...time });
      for (const system of measured) {
        ofAsking.push({ dataSet: dataSet.name, engine: engine.name, system, values: score(system, questions, hits) });
      }
    }
    console.log(`### ${dataSet.name}, ${asking}: ${questions.length} questions, ${dataSet.passages.length} passages\n`);
    printScores(ofAsking, seed);
    printDifferences(ofAsking, seed);
    scored.push(...ofAsking);
  }
  printTimes(timed);
  for (const [engine, version] of indexed) await engine.index.drop(version);
  return scored;
}

async function indexPassages(
  { name, passages }: DataSet,
  engines: readonly Engine[],
  vectors: CachedVectors | undefined,
): Promise<Map<Engine, IndexVersion>> {
  const plain = passages.map(({ id, title, text }) => ({ passageId: id, sourceId: id, title, headingPath: [], text }));
  const found = await vectors?.of(plain.map(searchableText), 'passage');
  const rows = withVectors(plain, found);
  const embedding = vectors === undefined ? undefined : { model: vectors.model, dimensions: found?.[0]?.length ?? 0 };
  const indexed = new Map<Engine, IndexVersion>();
  for (const engine of engines) {
    const version = engine.index.versionFor(`bench-${name}`, embedding);
    await engine.index.drop(version);
    for (let start = 0; start < rows.length; start += passagesPerWrite) {
      await engine.index.addPassages(version, rows.slice(start, start + passagesPerWrite));
    }
    indexed.set(engine, version);
  }
  return indexed;
}

/** Each item with the vector in its place, if there are vectors. */
function withVectors<Item>(items: readonly Item[], vectors: readonly number[][] | undefined) {
  return items.map((item, position) => {
    const vector = vectors?.[position];
    return vector === undefined ? item : { ...item, vector };
  });
}

async function searchAll(engine: Engine, version: IndexVersion, queries: readonly KnowledgeQuery[]) {
  for (let done = 0; done < warmUpSearches; done += 1) {
    await engine.index.search(version, queries[done % queries.length]!);
  }
  const hits: KnowledgeHits[] = [];
  const searchMs: number[] = [];
  const before = await engine.processorMs();
  for (const query of queries) {
    const startedAt = performance.now();
    const found = await engine.index.search(version, query);
    rankedBy('fusion', found);
    searchMs.push(performance.now() - startedAt);
    hits.push(found);
  }
  return { hits, searchMs, processorMs: ((await engine.processorMs()) - before) / queries.length };
}

function score(system: System, questions: readonly Question[], hits: readonly KnowledgeHits[]): Scored['values'] {
  const ranked = hits.map((found) => rankedBy(system, found));
  const of = (metric: Metric) =>
    questions.map((question, position) => metrics[metric](ranked[position] ?? [], question));
  return { 'nDCG@10': of('nDCG@10'), 'Recall@5': of('Recall@5'), 'MRR@10': of('MRR@10') };
}

function printScores(scored: readonly Scored[], seed: number): void {
  printMarkdownTable([
    ['', ...metricNames],
    ...scored.map(({ engine, system, values }) => [
      `${engine}, ${system}`,
      ...metricNames.map((metric) => shareWithInterval(bootstrap(values[metric], createRandom(seed).next))),
    ]),
  ]);
}

function printDifferences(scored: readonly Scored[], seed: number): void {
  const difference = (what: string, more: Scored, less: Scored) => [
    what,
    ...metricNames.map((metric) => {
      const paired = more.values[metric].map((value, position) => value - (less.values[metric][position] ?? NaN));
      return differenceWithInterval(bootstrap(paired, createRandom(seed).next));
    }),
  ];
  const find = (engine: string, system: System) => scored.find((one) => one.engine === engine && one.system === system);
  const rows = scored.flatMap((one) => {
    const alone = one.system === 'fusion' ? (['BM25', 'vectors'] as const) : [];
    return alone.flatMap((system) => {
      const other = find(one.engine, system);
      return other === undefined ? [] : [difference(`${one.engine}: fusion − ${system}`, one, other)];
    });
  });
  const across = scored.flatMap((one) => {
    const other = one.engine === 'Elasticsearch' ? find('LanceDB', one.system) : undefined;
    return other === undefined ? [] : [difference(`${one.system}: Elasticsearch − LanceDB`, one, other)];
  });
  if (rows.length + across.length > 0) printMarkdownTable([['', ...metricNames], ...rows, ...across]);
}

function printTimes(timed: readonly Timed[]): void {
  printMarkdownTable([
    ['a search', 'p50, ms', 'p95, ms', 'processor ms'],
    ...timed.map(({ engine, asking, searchMs, processorMs }) => [
      `${engine}, ${asking}`,
      formatted(percentile(searchMs, 0.5)),
      formatted(percentile(searchMs, 0.95)),
      formatted(processorMs),
    ]),
  ]);
}
