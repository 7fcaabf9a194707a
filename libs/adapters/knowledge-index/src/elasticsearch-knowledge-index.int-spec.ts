import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { AppError } from '@answerline/errors';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ElasticsearchKnowledgeIndex } from './elasticsearch-knowledge-index.ts';
import { indexVersionName } from './index-version.ts';

interface Call {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  /** The lines of the body. */
  readonly lines: string[];
}
interface Answer {
  readonly status?: number;
  readonly body?: unknown;
  readonly product?: string;
}
/** `'hang'` never answers, `'cut'` ends the connection in the middle of an answer. */
type Handler = (call: Call) => Answer | 'hang' | 'cut';

let server: Server | undefined;
let index: ElasticsearchKnowledgeIndex | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  await index?.close();
  server?.close();
});

/** An index whose Elasticsearch answers as `handler` says, and what it was asked. */
async function withServer(handler: Handler, user = '') {
  const calls: Call[] = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const call = {
        method: request.method ?? '',
        path: decodeURIComponent(request.url ?? ''),
        authorization: request.headers.authorization,
        lines: Buffer.concat(chunks)
          .toString()
          .split('\n')
          .filter((line) => line !== ''),
      };
      calls.push(call);
      const answer = handler(call);
      if (answer === 'hang') return;
      const headers = { 'content-type': 'application/json' };
      if (answer === 'cut') {
        response.writeHead(200, { ...headers, 'x-elastic-product': 'Elasticsearch', 'content-length': '1000' });
        response.write('{"took":1', () => response.destroy());
        return;
      }
      const { status = 200, body = {}, product = 'Elasticsearch' } = answer;
      response.writeHead(status, { ...headers, 'x-elastic-product': product }).end(JSON.stringify(body));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  index = ElasticsearchKnowledgeIndex.open({ url: `http://${user}127.0.0.1:${String(port)}` });
  return {
    index,
    calls,
    version: index.versionFor('bot'),
    alias: `answerline-${indexVersionName(index.versionFor('bot'))}`,
  };
}

/** The error of a call that must fail, and how long it took. */
async function failureOf(call: Promise<unknown>): Promise<{ error: AppError; ms: number }> {
  const startedAt = performance.now();
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AppError);
  return { error: error as AppError, ms: performance.now() - startedAt };
}

const question = 'my secret question is about rye';
const passage = (passageId: string) => ({ passageId, sourceId: 's', title: '', headingPath: [], text: question });
/** What a server says, with what it was sent. */
const says = (status: number, type: string) => ({
  status,
  body: { status, error: { type, reason: `near [${question}]` } },
});
const found = (...hits: [copy: string, id: string][]) => ({
  status: 200,
  hits: { hits: hits.map(([_index, id]) => ({ _index, _score: 1, fields: { passage_id: [id] } })) },
});
const stored = (call: Call, statusOf: (id: string) => number): Answer => {
  const ids = call.lines
    .filter((_, at) => at % 2 === 0)
    .map((line) => (JSON.parse(line) as { index: { _id: string } }).index._id);
  const items = ids.map((_id) => {
    const status = statusOf(_id);
    const error = {
      type: status === 429 ? 'es_rejected_execution_exception' : 'document_parsing_exception',
      reason: question,
    };
    return { index: { _id, status, ...(status > 299 ? { error } : {}) } };
  });
  return { body: { errors: items.some(({ index: { status } }) => status > 299), items } };
};

describe('ElasticsearchKnowledgeIndex and a server that is not well', () => {
  it.each<[string, Handler]>([
    ['answers 500', () => says(500, 'search_phase_execution_exception')],
    ['answers 503', () => says(503, 'no_shard_available_action_exception')],
    ['answers 429', () => says(429, 'circuit_breaking_exception')],
    ['does not know our password', () => says(401, 'security_exception')],
    ['forbids it', () => says(403, 'security_exception')],
    ['has a part that fails', () => ({ body: { responses: [says(503, 'no_shard_available_action_exception').body] } })],
    ['cuts the connection', () => 'cut'],
    ['never answers', () => 'hang'],
    ['is another product', () => ({ product: 'Other', body: { responses: [] } })],
    ['answers with a page', () => ({ status: 502, body: `<html>${question}</html>` })],
  ])('is away when the server %s: a Transient within 5 s, without what was asked', async (_, handler) => {
    const { index, version } = await withServer(handler, 'elastic:pass-word@');
    const { error, ms } = await failureOf(index.search(version, { text: question, k: 5 }));
    expect(error).toMatchObject({ kind: 'transient', code: 'knowledge_index_unavailable' });
    expect(ms).toBeLessThan(5_000);
    const everything = inspect(error, { depth: 20, showHidden: true });
    expect(everything).not.toMatch(/secret|rye|pass-word/);
  });

  it.each<[string, Handler]>([
    ['has no master', () => says(503, 'master_not_discovered_exception')],
    ['does not know our password', () => says(401, 'security_exception')],
    ['never answers', () => 'hang'],
  ])('is not healthy when the server %s', async (_, handler) => {
    const { index } = await withServer(handler);
    const { error, ms } = await failureOf(index.health());
    expect(error).toMatchObject({ kind: 'transient', code: 'knowledge_index_unavailable' });
    expect(ms).toBeLessThan(4_000);
  });

  it('calls a request that the server will never take our own mistake, without what was asked', async () => {
    const { index, version, calls } = await withServer(() => says(400, 'parsing_exception'), 'elastic:pass-word@');
    const { error } = await failureOf(index.search(version, { text: question, k: 5 }));
    expect(error).toMatchObject({
      kind: 'unexpected',
      code: 'knowledge_index_refused',
      context: { status: 400, reason: 'parsing_exception' },
    });
    expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/secret|rye|pass-word/);
    expect(calls).toHaveLength(1);
  });

  it('says who it is by the user and password of the address', async () => {
    const { index, calls } = await withServer(() => ({}), 'some%40user:p%3Aw%2F@');
    await index.health();
    expect(calls.map(({ authorization }) => authorization)).toEqual([
      `Basic ${Buffer.from('some@user:p:w/').toString('base64')}`,
    ]);
  });

  it('asks again when the copy it searched was replaced meanwhile, or its lists are of two copies', async () => {
    let asked = 0;
    const { index, alias } = await withServer(() => {
      asked += 1;
      const gone = { status: 404, error: { type: 'index_not_found_exception', index: `${alias}~first` } };
      if (asked === 1) return { body: { responses: [gone, found([`${alias}~2`, 'new'])] } };
      if (asked === 2) return { body: { responses: [found([`${alias}~1`, 'old']), found([`${alias}~2`, 'new'])] } };
      return { body: { responses: [found([`${alias}~2`, 'new']), found([`${alias}~2`, 'new'])] } };
    });
    const version = index.versionFor('bot', { model: 'm', dimensions: 2 });
    const { lexical, vector } = await index.search(version, { text: 'rye', vector: [1, 0], k: 5 });
    expect([lexical, vector].map((list) => list.map(({ passageId }) => passageId))).toEqual([['new'], ['new']]);
    expect(asked).toBe(3);
  });

  it('sends again what the server had no room for, and only that', async () => {
    const tries = new Map<string, number>();
    const { index, version, calls } = await withServer((call) => {
      if (!call.path.includes('_bulk')) return {};
      return stored(call, (id) => {
        tries.set(id, (tries.get(id) ?? 0) + 1);
        return id !== 'a' && (tries.get(id) ?? 0) < 3 ? 429 : 201;
      });
    });
    await index.addPassages(version, ['a', 'b', 'c'].map(passage));
    expect(Object.fromEntries(tries)).toEqual({ a: 1, b: 3, c: 3 });
    expect(calls.at(-1)?.path).toContain('_flush');
  });

  it('gives up on a server that never has room, and on a passage that it will not take', async () => {
    const busy = await withServer((call) => stored(call, () => 429));
    const { error, ms } = await failureOf(busy.index.addPassages(busy.version, [passage('a')]));
    expect(error).toMatchObject({ kind: 'transient', context: { status: 429 } });
    expect(busy.calls).toHaveLength(7);
    expect(ms).toBeLessThan(10_000);
    await busy.index.close();
    server?.close();

    const wrong = await withServer((call) => stored(call, (id) => (id === 'b' ? 400 : 201)));
    const refusal = await failureOf(wrong.index.addPassages(wrong.version, ['a', 'b'].map(passage)));
    expect(refusal.error).toMatchObject({ kind: 'unexpected', code: 'knowledge_index_refused' });
    expect(inspect(refusal.error, { depth: 20, showHidden: true })).not.toMatch(/secret|rye/);
    expect(wrong.calls).toHaveLength(1);
  });

  it('sends many and large passages in requests of bounded size, one after the other', async () => {
    let open = 0;
    const sizes: [operations: number, bytes: number][] = [];
    const { index, version } = await withServer((call) => {
      if (!call.path.includes('_bulk')) return {};
      open += 1;
      expect(open).toBe(1);
      sizes.push([call.lines.length / 2, call.lines.join('\n').length]);
      open -= 1;
      return stored(call, () => 201);
    });
    const large = 'x'.repeat(1_500_000);
    const huge = 'x'.repeat(7_000_000);
    await index.addPassages(version, [
      ...Array.from({ length: 1_100 }, (_, i) => passage(`p${i}`)),
      ...Array.from({ length: 4 }, (_, i) => ({ ...passage(`large${i}`), text: large })),
      { ...passage('huge'), text: huge },
    ]);
    expect(sizes.reduce((sum, [operations]) => sum + operations, 0)).toBe(1_105);
    for (const [operations, bytes] of sizes) {
      expect(operations).toBeLessThanOrEqual(500);
      if (operations > 1) expect(bytes).toBeLessThan(5_001_000);
    }
  });

  it('waits for its writes when it is closed, and takes none after', async () => {
    const { index, version, calls } = await withServer((call) =>
      call.path.includes('_bulk') ? stored(call, () => 201) : {},
    );
    const written = index.addPassages(version, [passage('a')]);
    await Promise.all([index.close(), index.close()]);
    await written;
    expect(calls.at(-1)?.path).toContain('_flush');
    await expect(index.addPassages(version, [passage('a')])).rejects.toMatchObject({ kind: 'transient' });
    await expect(index.search(version, { text: 'rye', k: 1 })).rejects.toMatchObject({ kind: 'transient' });
  });
});
