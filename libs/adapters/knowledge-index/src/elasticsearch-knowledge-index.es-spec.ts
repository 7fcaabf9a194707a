import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  describeKnowledgeIndex,
  eventually,
  freePort,
  startTestElasticsearch,
  type TestElasticsearch,
} from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ElasticsearchKnowledgeIndex, type ElasticsearchOptions } from './elasticsearch-knowledge-index.ts';
import { indexVersionName, type IndexVersion } from './index-version.ts';
import type { IndexedPassage } from './knowledge-index.ts';

// The server shares two cores with others, and begins slowly.
jest.setTimeout(120_000);

let server: TestElasticsearch;
const opened: ElasticsearchKnowledgeIndex[] = [];
beforeAll(async () => {
  server = await startTestElasticsearch();
}, 180_000);
afterEach(async () => {
  await Promise.all(opened.splice(0).map((index) => index.close()));
});
afterAll(() => server.stop());

function open(options: Partial<ElasticsearchOptions> = {}): ElasticsearchKnowledgeIndex {
  const index = ElasticsearchKnowledgeIndex.open({ url: server.url, ...options });
  opened.push(index);
  return index;
}

/** The server itself, as an operator would ask it. */
async function ask(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${server.url}/${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  if (!response.ok && response.status !== 404) throw new Error(JSON.stringify(answer));
  return answer;
}
const aliasOf = (version: IndexVersion) => `answerline-${indexVersionName(version)}`;
const copiesOf = async (version: IndexVersion) => Object.keys(await ask('GET', `${aliasOf(version)}~*`)).toSorted();

const aPassage = (passageId: string, text: string): IndexedPassage => ({
  passageId,
  sourceId: 's',
  title: '',
  headingPath: [],
  text,
});
const ids = (passages: readonly { passageId: string }[]) => passages.map(({ passageId }) => passageId);
const away = { kind: 'transient', code: 'knowledge_index_unavailable' };
/** Batches that wait for `more` after the first. */
async function* oneThen(first: IndexedPassage, more: Promise<unknown>): AsyncGenerator<IndexedPassage[]> {
  yield [first];
  await more;
  yield [aPassage('last', 'rye')];
}

describeKnowledgeIndex('ElasticsearchKnowledgeIndex', async () =>
  ElasticsearchKnowledgeIndex.open({ url: server.url }),
);

describe('ElasticsearchKnowledgeIndex', () => {
  it('shows one process what another wrote, and both make one copy of a new version', async () => {
    const [one, two] = [open(), open()];
    const version = one.versionFor('shared');
    await Promise.all([one.ensure(version), two.ensure(version), one.ensure(version)]);
    expect(await copiesOf(version)).toEqual([`${aliasOf(version)}~first`]);
    await Promise.all([
      one.addPassages(version, [aPassage('a', 'rye')]),
      two.addPassages(version, [aPassage('b', 'rye')]),
    ]);
    expect(ids((await two.search(version, { text: 'rye', k: 5 })).lexical).toSorted()).toEqual(['a', 'b']);
    await Promise.all([
      one.rebuild(version, oneThen(aPassage('c', 'rye'), Promise.resolve())),
      two.rebuild(version, oneThen(aPassage('d', 'rye'), Promise.resolve())),
    ]);
    const { lexical } = await one.search(version, { text: 'rye', k: 5 });
    expect([
      ['c', 'last'],
      ['d', 'last'],
    ]).toContainEqual(ids(lexical).toSorted());
    expect(await copiesOf(version)).toHaveLength(1);
    await two.drop(version);
    expect(await one.count(version)).toBe(0);
  });

  it('clears away what a dead builder left, and lets a living one go on', async () => {
    const builder = open();
    const version = builder.versionFor('leftovers');
    await builder.addPassages(version, [aPassage('old', 'rye')]);
    const wait = Promise.withResolvers<void>();
    const building = builder.rebuild(version, oneThen(aPassage('first', 'rye'), wait.promise));
    await eventually(async () => (await copiesOf(version)).length === 2, { what: 'the builder to begin' });

    // A minute later it may live.
    const soon = open({ now: () => Date.now() + 60_000 });
    await soon.ensure(version);
    await soon.rebuild(soon.versionFor('another'), oneThen(aPassage('a', 'rye'), Promise.resolve()));
    expect(await copiesOf(version)).toHaveLength(2);

    // Three minutes without a sign of life: it is dead.
    const later = open({ now: () => Date.now() + 180_000 });
    await later.rebuild(later.versionFor('another'), oneThen(aPassage('a', 'rye'), Promise.resolve()));
    expect(await copiesOf(version)).toEqual([`${aliasOf(version)}~first`]);
    wait.resolve();
    await expect(building).rejects.toMatchObject(away);
    expect(ids((await builder.search(version, { text: 'rye', k: 5 })).lexical)).toEqual(['old']);
    await builder.rebuild(version, oneThen(aPassage('first', 'rye'), Promise.resolve()));
    expect(await copiesOf(version)).toHaveLength(1);
    await builder.drop(version);
    await builder.drop(builder.versionFor('another'));
  });

  it('deletes its half-made copy when it is closed', async () => {
    const index = open();
    const version = index.versionFor('closing');
    const wait = Promise.withResolvers<void>();
    const building = index.rebuild(version, oneThen(aPassage('first', 'rye'), wait.promise));
    building.catch(() => undefined);
    await eventually(async () => (await copiesOf(version)).length === 1, { what: 'the builder to begin' });
    await index.close();
    expect(await copiesOf(version)).toEqual([]);
    wait.resolve();
    await expect(building).rejects.toMatchObject(away);
  });

  it('neither lists nor touches what belongs to others', async () => {
    const foreign = ['answerline-someone.m1.lexical~x', 'answerline-else', 'shop'];
    for (const name of foreign) await ask('PUT', name, { settings: { number_of_replicas: 0 } });
    const index = open();
    const version = index.versionFor('someone');
    const before = await index.listVersions();
    await index.addPassages(version, [aPassage('a', 'rye')]);
    expect(await index.listVersions('someone')).toEqual([version]);
    await index.rebuild(version, oneThen(aPassage('b', 'rye'), Promise.resolve()));
    expect(await index.listVersions()).toHaveLength(before.length + 1);
    await index.drop(version);
    expect(await index.listVersions()).toEqual(before);
    for (const name of foreign) {
      expect(Object.keys(await ask('GET', name))).toEqual([name]);
      await ask('DELETE', name);
    }
  });

  it('stores nothing that could be read back but ids', async () => {
    const index = open();
    const version = index.versionFor('stored', { model: 'm', dimensions: 2 });
    await index.addPassages(version, [{ ...aPassage('a', 'planted rye'), vector: [1, 0] }]);
    const { hits } = (await ask('GET', `${aliasOf(version)}/_search?stored_fields=*`)) as { hits: { hits: unknown[] } };
    expect(hits.hits).toEqual([expect.objectContaining({ _id: 'a' })]);
    expect(JSON.stringify(hits)).not.toMatch(/planted|vector/);
    await index.drop(version);
  });

  // The server holds what was deleted for 30 s, so this takes a minute.
  it('takes deleted and replaced passages off the disk soon after', async () => {
    const index = open();
    const version = index.versionFor('purged');
    await index.addPassages(
      version,
      Array.from({ length: 50 }, (_, i) => aPassage(`p${i}`, `rye planted${i}`)),
    );
    const marked = async () => {
      const stats = (await ask('GET', `${aliasOf(version)}/_stats/docs`)) as {
        _all: { primaries: { docs: { deleted: number } } };
      };
      return stats._all.primaries.docs.deleted;
    };
    await index.addPassages(version, [aPassage('p1', 'spelt')]);
    await index.deletePassages(version, ['p2', 'p3']);
    expect(await marked()).toBeGreaterThan(0);
    // Segments are compressed; the log of operations is not.
    expect(await holds(server.dataDir, 'planted2')).toBe(false);
    await eventually(async () => (await marked()) === 0, { what: 'nothing deleted to be left', timeoutMs: 100_000 });
    expect((await index.search(version, { text: 'rye', k: 100 })).lexical).toHaveLength(47);
    await index.drop(version);
  });

  it('says so when the server takes no further index', async () => {
    const index = open();
    await index.ensure(index.versionFor('last-one'));
    await ask('PUT', '_cluster/settings', { persistent: { 'cluster.max_shards_per_node': 1 } });
    try {
      const version = index.versionFor('one-too-many');
      await expect(index.addPassages(version, [aPassage('a', 'rye')])).rejects.toMatchObject({
        ...away,
        message: expect.stringContaining('cluster.max_shards_per_node'),
      });
    } finally {
      await ask('PUT', '_cluster/settings', { persistent: { 'cluster.max_shards_per_node': null } });
    }
    await index.drop(index.versionFor('last-one'));
  });

  it('is away within 5 s while nothing listens', async () => {
    const index = open({ url: `http://127.0.0.1:${String(await freePort())}` });
    const startedAt = performance.now();
    await expect(index.search(index.versionFor('bot'), { text: 'rye', k: 1 })).rejects.toMatchObject(away);
    await expect(index.health()).rejects.toMatchObject(away);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it('survives kill -9 of the server: calls fail soon, what was acknowledged is there, and the same client goes on', async () => {
    const index = open();
    const version = index.versionFor('killed', { model: 'm', dimensions: 2 });
    const passages = (round: number) =>
      Array.from({ length: 20 }, (_, i) => ({ ...aPassage(`${round}-${i}`, 'rye'), vector: [round + 1, i + 1] }));
    let acknowledged = 0;
    let slowestMs = 0;
    const failures: unknown[] = [];
    const writing = (async () => {
      for (;;) {
        await index.addPassages(version, passages(acknowledged));
        acknowledged += 1;
      }
    })().catch((error: unknown) => failures.push(error));
    const searching = (async () => {
      for (;;) {
        const startedAt = performance.now();
        try {
          await index.search(version, { text: 'rye', vector: [1, 1], k: 5 });
        } finally {
          slowestMs = performance.now() - startedAt;
        }
      }
    })().catch((error: unknown) => failures.push(error));
    const rebuilding = index
      .rebuild(version, oneThen({ ...aPassage('x', 'rye'), vector: [1, 1] }, new Promise<void>(() => undefined)))
      .catch((error: unknown) => failures.push(error));
    void rebuilding;
    await eventually(() => acknowledged >= 5, { what: 'some writes', timeoutMs: 60_000 });

    await server.kill();
    await Promise.all([writing, searching]);
    expect(failures).toMatchObject([away, away]);
    expect(slowestMs).toBeLessThan(5_000);
    await expect(index.rebuild(version, oneThen(aPassage('x', 'rye'), Promise.resolve()))).rejects.toMatchObject(away);
    await expect(index.health()).rejects.toMatchObject(away);

    await server.restart();
    await eventually(() => index.health().then(() => true), { what: 'the index to be well', timeoutMs: 30_000 });
    expect(await index.count(version)).toBeGreaterThanOrEqual(acknowledged * 20);
    await index.addPassages(version, passages(acknowledged));
    expect(await index.count(version)).toBe((acknowledged + 1) * 20);
    const { lexical, vector } = await index.search(version, { text: 'rye', vector: [1, 1], k: 1_000 });
    expect(lexical).toHaveLength((acknowledged + 1) * 20);
    expect(vector).toHaveLength((acknowledged + 1) * 20);
    await index.drop(version);
  });
});

async function holds(folder: string, text: string): Promise<boolean> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) if ((await readFile(file)).includes(text)) return true;
  return false;
}
