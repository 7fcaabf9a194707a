import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { OpenAiEmbedder } from '@answerline/language-model';
import { meanOf } from './retrieval/bootstrap.ts';
import { CachedVectors } from './retrieval/cached-vectors.ts';
import { findDataSets, readDataSet } from './retrieval/data-set.ts';
import { openLance, useEngines, type Engine } from './retrieval/engines.ts';
import { share } from './retrieval/markdown-table.ts';
import { measureQuality, type Scored } from './retrieval/quality.ts';
import { measureScale } from './retrieval/scale.ts';

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string', default: '1' }, scale: { type: 'boolean', default: false } },
});
const [folder] = positionals;
const seed = Number(given.seed);
const isFolderThere = folder === undefined ? given.scale : existsSync(folder);
if (!isFolderThere || positionals.length > 1 || !Number.isInteger(seed)) {
  console.error('npm run bench:retrieval -- <folder with data sets> [--seed 1] [--scale]');
  process.exit(1);
}

/** nDCG@10, when this data set is in the folder. */
const targets = { dataSet: 'product-docs', BM25: 0.7, fusion: 0.77 } as const;

/** One request of texts on a slow machine without a graphics card. */
const embedWithinMs = 120_000;

const vectorFolder = fileURLToPath(new URL('../.cache/bench-retrieval', import.meta.url));

await useEngines(async (engines) => {
  const isFolderGood = folder === undefined || (await measureFolder(engines, folder));
  const isScaleGood = !given.scale || (await measureAtScale(engines));
  if (!isFolderGood || !isScaleGood) process.exitCode = 1;
});

async function measureFolder(engines: readonly Engine[], from: string): Promise<boolean> {
  const { found, others } = findDataSets(from);
  for (const name of others)
    console.log(`${name} is passed over: it has no corpus.jsonl, queries.jsonl and qrels.tsv.\n`);
  if (found.length === 0) throw new Error(`There is no data set in ${from}.`);
  const vectors = await openVectors();
  console.log(
    `Means over questions with 95 % bootstrap intervals: 10,000 draws, seed ${seed}. Differences are paired.\n`,
  );
  const scored: Scored[] = [];
  for (const path of found) {
    scored.push(...(await measureQuality(await readDataSet(path), { engines, vectors, seed })));
  }
  return judgeTargets(scored);
}

/** LanceDB runs in the product's own process and is judged; how far a server of Elasticsearch goes is for its operator. */
async function measureAtScale(engines: readonly Engine[]): Promise<boolean> {
  let isEachReached = true;
  for (const engine of engines) {
    if (engine.name === 'LanceDB') {
      const small = await openLance();
      isEachReached = await measureScale({ small, large: engine, chatbots: 100, isJudged: true });
      await small.close();
    } else {
      await measureScale({ small: engine, large: engine, chatbots: 20, isJudged: false });
    }
  }
  return isEachReached;
}

async function openVectors(): Promise<CachedVectors | undefined> {
  const { EMBEDDING_BASE_URL: baseUrl = '', EMBEDDING_MODEL: model = '', EMBEDDING_API_KEY: apiKey } = process.env;
  if (baseUrl === '' || model === '') {
    console.log('BM25 only: vectors need EMBEDDING_BASE_URL and EMBEDDING_MODEL.\n');
    return undefined;
  }
  const embedder = new OpenAiEmbedder({
    baseUrl: baseUrl.replace(/\/+$/, ''),
    model,
    apiKey,
    timeoutMs: embedWithinMs,
  });
  return CachedVectors.open(embedder, vectorFolder, (line) => console.error(`  ${line}`));
}

/** Whether every target is reached; what was not measured is not judged. */
function judgeTargets(scored: readonly Scored[]): boolean {
  const verdicts = scored.flatMap(({ dataSet, engine, system, values }) => {
    if (dataSet !== targets.dataSet || system === 'vectors') return [];
    const reached = meanOf(values['nDCG@10']);
    const isMet = reached >= targets[system];
    const what = `${engine}, ${system} on ${dataSet}: nDCG@10 ${share(reached)}`;
    console.log(`  ${isMet ? 'reached' : 'MISSED '}  ${what} (must be ≥ ${share(targets[system])})`);
    return [isMet];
  });
  console.log('');
  return verdicts.every(Boolean);
}
