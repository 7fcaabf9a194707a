import { performance } from 'node:perf_hooks';
import { fuse, type IndexVersion, type KnowledgeQuery } from '@answerline/knowledge-index';
import { formatted, judge, median, percentile } from '../figures.ts';
import { createRandom } from '../../libs/testing/src/seeded-random.ts';
import { makeKnowledge } from '../knowledge.ts';
import type { Engine } from './engines.ts';
import { printMarkdownTable, share } from './markdown-table.ts';
import { meanOf } from './bootstrap.ts';
import { hitsPerList } from './systems.ts';

const passagesPerChatbot = 1_000;
const questionsPerChatbot = 50;
const rounds = 3;
/** Searches of a round, for each index and each number at once. */
const searches = 600;
const warmUpSearches = 200;
const atOnce = [1, 8] as const;
const dimensions = 384;
const embedding = { model: 'made-up', dimensions };
/** Vectors lie around this many centres, as texts do around topics. */
const topics = 40;
/** Length of a passage's own part of its vector beside that of its topic, and of a question's beside its passage. */
const passageSpread = 1;
const questionSpread = 0.5;

/** p95 against that of one search at a time among 1,000 passages, and how many of the ten nearest are found. */
const targets = { p95Ratio: 4, p95RatioAt8: 8, recall: 0.95 } as const;

export interface ScaleOptions {
  /** Holds one chatbot of 1,000 passages, beside which `large` is measured. */
  readonly small: Engine;
  readonly large: Engine;
  /** Of `large`, with 1,000 passages each. */
  readonly chatbots: number;
  /** Otherwise the figures are printed only. */
  readonly isJudged: boolean;
}

interface Question {
  readonly query: KnowledgeQuery;
  /** The ids of the ten passages whose vectors are nearest. */
  readonly nearest: readonly string[];
}

interface Chatbot {
  readonly version: IndexVersion;
  readonly questions: readonly Question[];
}

interface Timed {
  readonly p50: number;
  readonly p95: number;
  readonly processorMs: number;
}

/** Searches with both queries and fusion in one chatbot and in many, prints the figures, and returns whether the targets are met. */
export async function measureScale({ small, large, chatbots, isJudged }: ScaleOptions): Promise<boolean> {
  console.log(`### ${large.name}: ${chatbots} chatbots of ${passagesPerChatbot} passages, vectors of ${dimensions}\n`);
  const makeChatbot = chatbotMaker();
  const one = [await fill(small, makeChatbot(chatbots))];
  const many: Chatbot[] = [];
  const startedAt = performance.now();
  for (let number = 0; number < chatbots; number += 1) many.push(await fill(large, makeChatbot(number)));
  const secondsToFill = (performance.now() - startedAt) / 1000;

  const runs = atOnce.flatMap((together) => [
    { name: `1 chatbot, ${together} at once`, engine: small, among: one, together, timed: [] as Timed[] },
    { name: `${chatbots} chatbots, ${together} at once`, engine: large, among: many, together, timed: [] as Timed[] },
  ]);
  for (const { version, questions } of many) await searchOnce(large, version, questions[0]!);
  for (const { engine, among, together } of runs) await searchTogether(engine, among, together, warmUpSearches);
  for (let round = 1; round <= rounds; round += 1) {
    for (const { engine, among, together, timed } of runs) {
      timed.push(await searchTogether(engine, among, together, searches));
    }
  }
  printMarkdownTable([
    ['a search', 'p50, ms', 'p95, ms', 'p95 to the first line', 'processor ms'],
    ...runs.map((run) => [
      run.name,
      ...[median(run.timed.map(({ p50 }) => p50)), median(run.timed.map(({ p95 }) => p95))].map(formatted),
      formatted(p95Ratio(run.timed, runs[0]!.timed)),
      formatted(median(run.timed.map(({ processorMs }) => processorMs))),
    ]),
  ]);
  const recall = await recallAgainstExact(large, many);
  console.log(
    `recall@10 against exact: ${share(recall)}; ${formatted(secondsToFill)} s to fill ${chatbots} chatbots\n`,
  );
  for (const { version } of one) await small.index.drop(version);
  for (const { version } of many) await large.index.drop(version);
  if (!isJudged) return true;
  const ratioWith = (wanted: number) =>
    p95Ratio(runs.find(({ among, together }) => among === many && together === wanted)!.timed, runs[0]!.timed);
  const verdicts = [
    judge(`p95 of ${chatbots} chatbots to that of 1`, ratioWith(1), '≤', targets.p95Ratio),
    judge('the same with 8 at once', ratioWith(8), '≤', targets.p95RatioAt8),
    judge('recall@10', recall, '≥', targets.recall),
  ];
  console.log('');
  return verdicts.every(Boolean);
}

/** The median of the rounds' ratios: what else the machine does meets both sides of a round. */
function p95Ratio(timed: readonly Timed[], base: readonly Timed[]): number {
  return median(timed.map(({ p95 }, round) => p95 / (base[round]?.p95 ?? NaN)));
}

/** The texts are the same in each chatbot, the vectors are not. */
function chatbotMaker() {
  const knowledge = makeKnowledge(passagesPerChatbot);
  const sections = knowledge.documents.flatMap(({ title, text }) =>
    text.split(/^(?=## )/m).map((section) => ({ title, heading: section.split('\n')[0]!.slice(3), text: section })),
  );
  return (number: number) => {
    const { next: random } = createRandom(number + 1);
    const centres = Array.from({ length: topics }, () => randomVector(random));
    const passages = sections.map(({ title, heading, text }, position) => {
      const vector = near(centres[Math.floor(random() * topics)]!, passageSpread, random);
      return { passageId: `${number}-${position}`, sourceId: title, title, headingPath: [heading], text, vector };
    });
    const questions = Array.from({ length: questionsPerChatbot }, (): Question => {
      const position = Math.floor(random() * passages.length);
      const vector = near(passages[position]!.vector, questionSpread, random);
      const nearest = passages
        .map((passage) => ({ id: passage.passageId, cosine: dot(passage.vector, vector) }))
        .toSorted((a, b) => b.cosine - a.cosine)
        .slice(0, 10)
        .map(({ id }) => id);
      return { query: { text: knowledge.questions[position]!, vector, k: hitsPerList }, nearest };
    });
    return { chatbotId: `bench-scale-${number}`, passages, questions };
  };
}

async function fill(engine: Engine, made: ReturnType<ReturnType<typeof chatbotMaker>>): Promise<Chatbot> {
  const version = engine.index.versionFor(made.chatbotId, embedding);
  await engine.index.drop(version);
  await engine.index.addPassages(version, made.passages);
  return { version, questions: made.questions };
}

/** `together` customers, each of whom asks again as soon as the answer is there. */
async function searchTogether(
  engine: Engine,
  chatbots: readonly Chatbot[],
  together: number,
  count: number,
): Promise<Timed> {
  const { next: random } = createRandom(together);
  const times: number[] = [];
  let asked = 0;
  const before = await engine.processorMs();
  const askOnAndOn = async () => {
    while (asked < count) {
      asked += 1;
      const { version, questions } = chatbots[Math.floor(random() * chatbots.length)]!;
      times.push(await searchOnce(engine, version, questions[Math.floor(random() * questions.length)]!));
    }
  };
  await Promise.all(Array.from({ length: together }, askOnAndOn));
  const processorMs = ((await engine.processorMs()) - before) / count;
  return { p50: percentile(times, 0.5), p95: percentile(times, 0.95), processorMs };
}

async function searchOnce(engine: Engine, version: IndexVersion, { query }: Question): Promise<number> {
  const startedAt = performance.now();
  const found = fuse(await engine.index.search(version, query));
  if (found.length === 0) throw new Error('A search found nothing.');
  return performance.now() - startedAt;
}

/** Which share of the ten nearest passages the index finds among its first ten. */
async function recallAgainstExact(engine: Engine, chatbots: readonly Chatbot[]): Promise<number> {
  const shares: number[] = [];
  for (const { version, questions } of chatbots) {
    for (const { query, nearest } of questions.slice(0, 10)) {
      const { vector } = await engine.index.search(version, query);
      const found = new Set(vector.slice(0, nearest.length).map(({ passageId }) => passageId));
      shares.push(nearest.filter((id) => found.has(id)).length / nearest.length);
    }
  }
  return meanOf(shares);
}

/** A vector of length 1 in any direction. */
function randomVector(random: () => number): number[] {
  // The sum of uniform numbers is close enough to a normal one for all directions to be about as likely.
  return unit(Array.from({ length: dimensions }, () => random() + random() + random() - 1.5));
}

function near(centre: readonly number[], spread: number, random: () => number): number[] {
  const own = randomVector(random);
  return unit(centre.map((value, position) => value + spread * own[position]!));
}

function unit(vector: readonly number[]): number[] {
  const length = Math.sqrt(dot(vector, vector));
  return vector.map((value) => value / length);
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let position = 0; position < a.length; position += 1) sum += a[position]! * b[position]!;
  return sum;
}
