import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ElasticsearchKnowledgeIndex, LanceKnowledgeIndex, type KnowledgeIndex } from '@answerline/knowledge-index';
import { freePort } from '@answerline/embedded-services';
import { z } from 'zod';
import { processorMs } from '../processor-time.ts';

const requireElasticsearch = fileURLToPath(new URL('../../tools/require-elasticsearch.ts', import.meta.url));
const runElasticsearch = fileURLToPath(new URL('../../tools/elasticsearch/run-es.sh', import.meta.url));

const statsSchema = z.object({
  nodes: z.record(z.string(), z.object({ process: z.object({ cpu: z.object({ total_in_millis: z.number() }) }) })),
});

/** A node looks at itself once a second at most. */
const nodeStatsAgeMs = 1_100;

/** An index of the product, empty, and gone when it is closed. */
export interface Engine {
  readonly name: 'LanceDB' | 'Elasticsearch';
  readonly index: KnowledgeIndex;
  /** Processor time so far, of this process and of the server if there is one. */
  processorMs(): Promise<number>;
  close(): Promise<void>;
}

/** Runs `work` with the indexes that there are. What was made for them is gone afterwards, also on Ctrl-C. */
export async function useEngines(work: (engines: readonly Engine[]) => Promise<void>): Promise<void> {
  const onSignal = (): never => process.exit(130);
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const engines: Engine[] = [await openLance()];
  try {
    const elasticsearch = await openElasticsearch();
    if ('leftOut' in elasticsearch) console.log(`Elasticsearch is left out: ${elasticsearch.leftOut}\n`);
    else engines.push(elasticsearch);
    await work(engines);
  } finally {
    for (const engine of engines) await engine.close();
  }
}

/** LanceDB in a temporary folder. */
export async function openLance(): Promise<Engine> {
  const folder = temporaryFolder();
  const index = await LanceKnowledgeIndex.open({ folder, mode: 'write' });
  return {
    name: 'LanceDB',
    index,
    processorMs: async () => processorMs(process.pid),
    close: () => index.close(),
  };
}

/** The server of `ELASTICSEARCH_URL`, or one that is started here; else why there is none. */
async function openElasticsearch(): Promise<Engine | { readonly leftOut: string }> {
  const server = await openElasticsearchServer();
  if ('leftOut' in server) return server;
  const index = ElasticsearchKnowledgeIndex.open({ url: server.url });
  return {
    name: 'Elasticsearch',
    index,
    processorMs: async () => processorMs(process.pid) + (await server.processorMs()),
    close: async () => {
      await index.close();
      await server.stop();
    },
  };
}

/** The server of `ELASTICSEARCH_URL`, or one that is started here and gone at the end; else why there is none. */
export async function openElasticsearchServer(): Promise<Server | { readonly leftOut: string }> {
  const given = process.env.ELASTICSEARCH_URL;
  return given === undefined || given === '' ? startServer() : givenServer(given);
}

/** An Elasticsearch. `pid` is NaN when it is not one of ours. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  processorMs(): Promise<number>;
  stop(): Promise<void>;
}

function givenServer(url: string): Server {
  return { url, pid: NaN, processorMs: () => processorMsOfNodes(url), stop: async () => {} };
}

/** A server of its own with a temporary folder. */
async function startServer(): Promise<Server | { readonly leftOut: string }> {
  const checked = spawnSync(process.execPath, [requireElasticsearch], { encoding: 'utf8' });
  if (checked.status !== 0) return { leftOut: `ELASTICSEARCH_URL is not set. ${checked.stderr.trim()}` };
  const own = { ES_PORT: String(await freePort()), ES_DATA: temporaryFolder(), ES_END_WITH_STDIN: '1' };
  const child = spawn('bash', [runElasticsearch], {
    env: { ...process.env, ...own },
    // Its stdin closes with this process, even if that is killed.
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  // Before its folder goes.
  process.prependOnceListener('exit', () => child.kill('SIGKILL'));
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  // The first start fetches 61 MB. Its output goes on being read: a full pipe would stop the server.
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise<string | undefined>((resolve) => {
    lines.on('line', (line) => {
      const said = /^ES-READY (\S+)/.exec(line)?.[1];
      if (said !== undefined) resolve(said);
    });
    lines.on('close', () => resolve(undefined));
  });
  // The script becomes the server: its process is the same.
  if (url !== undefined)
    return { url, pid: child.pid ?? NaN, processorMs: async () => processorMs(child.pid ?? NaN), stop };
  await stop();
  throw new Error('Elasticsearch ended before it was ready.');
}

/** A folder that goes when this process does. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'answerline-bench-'));
  // A server that was just killed may still be writing its last file.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return folder;
}

/** Of all nodes, whatever else they do. */
async function processorMsOfNodes(url: string): Promise<number> {
  await delay(nodeStatsAgeMs);
  const { origin, username, password } = new URL(url);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const response = await fetch(`${origin}/_nodes/stats/process`, {
    headers: username === '' ? {} : { authorization: `Basic ${credentials}` },
  });
  const { nodes } = statsSchema.parse(await response.json());
  return Object.values(nodes).reduce((sum, { process: { cpu } }) => sum + cpu.total_in_millis, 0);
}
