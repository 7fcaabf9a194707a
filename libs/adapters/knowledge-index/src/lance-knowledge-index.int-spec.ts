import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describeKnowledgeIndex } from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { IndexedPassage } from './knowledge-index.ts';
import { LanceKnowledgeIndex, type LanceOptions } from './lance-knowledge-index.ts';

const implementation = join(import.meta.dirname, 'lance-knowledge-index.ts');

let root: string;
let folders = 0;
const others: ChildProcess[] = [];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'knowledge-index-'));
});
afterEach(async () => {
  await Promise.all(others.splice(0).map(kill));
});
afterAll(async () => {
  await rm(root, { recursive: true, force: true });
});

const aFolder = () => join(root, `index-${(folders += 1)}`);
const open = (folder: string, mode: LanceOptions['mode'] = 'write') => LanceKnowledgeIndex.open({ folder, mode });
const aPassage = (passageId: string, text: string) => ({ passageId, sourceId: 's', title: '', headingPath: [], text });

/** Another process with the index open; `body` is code that sees `index` and `say`, which prints a line. */
function startOther(folder: string, mode: LanceOptions['mode'], body: string): ChildProcess {
  const script = `
    import { LanceKnowledgeIndex } from ${JSON.stringify(implementation)};
    const say = (line) => process.stdout.write(line + '\\n');
    const index = await LanceKnowledgeIndex.open(${JSON.stringify({ folder, mode })});
    const version = index.versionFor('bot');
    ${body}`;
  const other = spawn(
    process.execPath,
    ['--conditions=@answerline/source', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  others.push(other);
  return other;
}

async function nextLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit')])) as [unknown];
  lines.close();
  if (typeof line !== 'string') throw new Error('The other process ended.');
  return line;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

describeKnowledgeIndex('LanceKnowledgeIndex', () => open(aFolder()));

describe('LanceKnowledgeIndex', () => {
  it('keeps its passages over a restart', async () => {
    const folder = aFolder();
    const first = await open(folder);
    const version = first.versionFor('bot');
    await first.addPassages(version, [aPassage('a', 'rye')]);
    await first.close();
    await first.close();
    await expect(first.count(version)).rejects.toMatchObject({
      kind: 'transient',
      code: 'knowledge_index_unavailable',
    });
    const second = await open(folder);
    expect((await second.search(version, { text: 'rye', k: 1 })).lexical).toHaveLength(1);
    expect(await second.listVersions()).toEqual([version]);
    await second.close();
  });

  it('refuses a second writer, lets readers in, and the next writer once the first has closed', async () => {
    const folder = aFolder();
    const writer = await open(folder);
    await expect(open(folder)).rejects.toMatchObject({ kind: 'transient', code: 'knowledge_index_locked' });
    const reader = await open(folder, 'read');
    await expect(reader.ensure(reader.versionFor('bot'))).rejects.toMatchObject({ code: 'knowledge_index_read_only' });
    await reader.close();
    await expect(open(folder)).rejects.toMatchObject({ code: 'knowledge_index_locked' });
    await writer.close();
    await (await open(folder)).close();
    expect((await readdir(folder)).filter((name) => name.endsWith('.lock'))).toEqual([]);
  });

  it('refuses a writer while another process writes, and takes over when that one was killed', async () => {
    const folder = aFolder();
    const other = startOther(folder, 'write', `await index.ensure(version); say('open'); process.stdin.resume();`);
    try {
      expect(await nextLine(other)).toBe('open');
      await expect(open(folder)).rejects.toMatchObject({ code: 'knowledge_index_locked', context: { pid: other.pid } });
    } finally {
      await kill(other);
    }
    expect((await readdir(folder)).some((name) => name.endsWith('.lock'))).toBe(true);
    const index = await open(folder);
    await index.addPassages(index.versionFor('bot'), [aPassage('a', 'rye')]);
    await index.close();
    expect((await readdir(folder)).filter((name) => name.endsWith('.lock'))).toEqual([]);
  });

  it('knows a lock whose pid was given to another process since', async () => {
    const folder = aFolder();
    await mkdir(folder, { recursive: true });
    // Process 1 always lives, but did not start at tick 7.
    await writeFile(join(folder, 'writer-1-7.lock'), '');
    await writeFile(join(folder, `writer-${process.pid}-7.lock`), '');
    await (await open(folder)).close();
    expect(await readdir(folder)).toEqual([]);
  });

  it('holds whole batches after kill -9 while it writes, and can go on', async () => {
    const folder = aFolder();
    const other = startOther(
      folder,
      'write',
      `const passages = Array.from({ length: 2_000 }, (_, i) => ({ passageId: 'p' + i, sourceId: 's', title: '', headingPath: [], text: 'rye only' + i }));
       await index.addPassages(version, passages.slice(0, 500));
       say('first batch');
       for (;;) await index.addPassages(version, passages);`,
    );
    expect(await nextLine(other)).toBe('first batch');
    const reader = await open(folder, 'read');
    const version = reader.versionFor('bot');
    const deadline = Date.now() + 20_000;
    while ((await reader.count(version)) < 1_000) expect(Date.now()).toBeLessThan(deadline);
    await kill(other);
    expect((await reader.count(version)) % 500).toBe(0);
    await reader.close();

    const index = await open(folder);
    const passages = Array.from({ length: 2_000 }, (_, i) => aPassage(`p${i}`, `rye only${i}`));
    await index.addPassages(version, passages);
    expect(await index.count(version)).toBe(2_000);
    for (const i of [0, 499, 500, 1_999]) {
      const { lexical } = await index.search(version, { text: `only${i}`, k: 5 });
      expect(lexical.map(({ passageId }) => passageId)).toEqual([`p${i}`]);
    }
    await index.close();
  });

  it('shows a reader in another process what was just added, deleted, dropped and made again', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const version = index.versionFor('bot');
    const reader = startOther(
      folder,
      'read',
      `process.stdin.setEncoding('utf8');
       for await (const line of process.stdin) {
         const { lexical } = await index.search(version, { text: line.trim(), k: 5 });
         say(JSON.stringify(lexical.map((hit) => hit.passageId)));
       }`,
    );
    const ask = async (text: string) => {
      reader.stdin!.write(`${text}\n`);
      return JSON.parse(await nextLine(reader)) as string[];
    };
    try {
      expect(await ask('rye')).toEqual([]);
      await index.addPassages(version, [aPassage('a', 'rye')]);
      expect(await ask('rye')).toEqual(['a']);
      await index.addPassages(version, [aPassage('a', 'spelt'), aPassage('b', 'rye')]);
      expect(await ask('rye')).toEqual(['b']);
      await index.deletePassages(version, ['b']);
      expect(await ask('rye')).toEqual([]);
      await index.drop(version);
      expect(await ask('spelt')).toEqual([]);
      await index.addPassages(version, [aPassage('c', 'spelt')]);
      expect(await ask('spelt')).toEqual(['c']);
      await index.rebuild(version, batches([aPassage('d', 'spelt')]));
      expect(await ask('spelt')).toEqual(['d']);
      await index.addPassages(version, [aPassage('e', 'rye')]);
      expect(await ask('rye')).toEqual(['e']);
      await index.rebuild(version, batches());
      expect(await ask('rye')).toEqual([]);
    } finally {
      await index.close();
    }
  });

  it('answers readers while the writer prunes under them', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const version = index.versionFor('bot');
    await index.addPassages(version, [aPassage('stays', 'rye')]);
    const writer = (async () => {
      for (let round = 0; round < 20; round += 1) {
        await index.addPassages(version, [aPassage('comes', `spelt ${round}`)]);
        await index.deletePassages(version, ['comes']);
      }
    })();
    let writing = true;
    void writer.finally(() => (writing = false));
    const reader = await open(folder, 'read');
    let searches = 0;
    while (writing) {
      const { lexical } = await reader.search(version, { text: 'rye', k: 5 });
      expect(lexical.map(({ passageId }) => passageId)).toEqual(['stays']);
      searches += 1;
    }
    await writer;
    expect(searches).toBeGreaterThan(10);
    await reader.close();
    await index.close();
  });

  it('leaves nothing of a deleted or replaced passage on the disk', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const version = index.versionFor('bot');
    await index.addPassages(
      version,
      Array.from({ length: 100 }, (_, i) => aPassage(`p${i}`, `${i} planted-secret-${i}-end`)),
    );
    expect(await holds(folder, 'planted-secret-42-end')).toBe(true);
    await index.deletePassages(version, ['p42']);
    await index.addPassages(version, [aPassage('p43', 'something else')]);
    expect(await holds(folder, 'planted-secret-42-end')).toBe(false);
    expect(await holds(folder, 'planted-secret-43-end')).toBe(false);
    expect(await holds(folder, 'planted-secret-44-end')).toBe(true);
    await index.drop(version);
    expect(await holds(folder, 'planted-secret-44-end')).toBe(false);
    await index.close();
  });

  it('leaves nothing of a rebuilt version but the new copy', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const version = index.versionFor('bot');
    await index.addPassages(version, [aPassage('a', 'planted-secret-1')]);
    await index.rebuild(version, batches([aPassage('a', 'planted-secret-2')], [aPassage('b', 'rye')]));
    await index.rebuild(version, batches([aPassage('b', 'rye')]));
    expect(await holds(folder, 'planted-secret')).toBe(false);
    expect(await tables(folder)).toHaveLength(1);
    await index.drop(version);
    await index.close();
    expect(await readdir(folder)).toEqual([]);
  });

  it('holds the old passages or the new ones, whole, whenever kill -9 comes during a rebuild', async () => {
    const folder = aFolder();
    const seen = new Set<string>();
    for (const steps of [1, 2, 3, 4, 5, 6, 7]) {
      const other = startOther(
        folder,
        'write',
        `const version3 = index.versionFor('bot', { model: 'm', dimensions: 3 });
         const round = process.pid;
         const passages = (n) => Array.from({ length: 40 }, (_, i) => ({ passageId: n + '-' + i, sourceId: 's', title: '', headingPath: [], text: 'rye', vector: [1, i, 1] }));
         if ((await index.count(version3)) === 0) await index.addPassages(version3, passages(round));
         say('begin');
         for (let n = round; ; n += 1) {
           await index.rebuild(version3, (async function* () {
             yield passages(n).slice(0, 20);
             say('half');
             yield passages(n).slice(20);
             say('filled');
           })());
           say('swapped');
         }`,
      );
      const lines = createInterface({ input: other.stdout! });
      let left = steps;
      for await (const _line of lines) if ((left -= 1) <= 0) break;
      await kill(other);

      const reader = await open(folder, 'read');
      const version = reader.versionFor('bot', { model: 'm', dimensions: 3 });
      const ask = { text: 'rye', vector: [1, 1, 1], k: 100 };
      const found = await reader.search(version, ask);
      const rounds = new Set([...found.lexical, ...found.vector].map(({ passageId }) => passageId.split('-')[0] ?? ''));
      expect([found.lexical.length, found.vector.length, rounds.size]).toEqual([40, 40, 1]);
      await reader.close();
      const writer = await open(folder);
      expect(await tables(folder)).toHaveLength(1);
      expect(await writer.listVersions()).toEqual([version]);
      expect(await writer.search(version, ask)).toEqual(found);
      await writer.close();
      for (const round of rounds) seen.add(round);
    }
    expect(seen.size).toBeGreaterThan(1);
  });

  it('clears away what a process left that died between its steps', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const [version, dropped] = [index.versionFor('bot'), index.versionFor('dropped')];
    await index.addPassages(version, [aPassage('old', 'rye')]);
    await cp(join(folder, 'bot.m1.lexical.lance'), join(folder, 'kept'), { recursive: true });
    await index.rebuild(version, batches([aPassage('new', 'rye')]));
    await index.rebuild(dropped, batches([aPassage('new', 'rye')]));
    await index.close();
    // Died after the swap, before the old table was deleted; while a copy was filled; and in the middle of a drop.
    await rename(join(folder, 'kept'), join(folder, 'bot.m1.lexical.lance'));
    await cp(join(folder, 'bot.m1.lexical.lance'), join(folder, 'bot.m1.lexical.b0123456789ab.lance'), {
      recursive: true,
    });
    for (const table of await tables(folder)) {
      if (table.startsWith('dropped')) await rm(join(folder, table), { recursive: true });
    }

    const reader = await open(folder, 'read');
    expect((await reader.search(version, { text: 'rye', k: 5 })).lexical.map(({ passageId }) => passageId)).toEqual([
      'new',
    ]);
    expect(await reader.search(dropped, { text: 'rye', k: 5 })).toEqual({ lexical: [], vector: [] });
    await reader.close();
    const again = await open(folder);
    expect((await again.search(version, { text: 'rye', k: 5 })).lexical.map(({ passageId }) => passageId)).toEqual([
      'new',
    ]);
    expect(await again.listVersions()).toEqual([version]);
    expect(await tables(folder)).toHaveLength(1);
    await again.close();
  });

  it('repairs a version whose indexes were not made before the process died', async () => {
    const folder = aFolder();
    const index = await open(folder);
    const version = index.versionFor('bot');
    await index.ensure(version);
    await index.close();
    const { connect } = await import('@lancedb/lancedb');
    const connection = await connect(folder);
    const table = await connection.openTable('bot.m1.lexical');
    await table.dropIndex('other_idx');
    connection.close();
    const again = await open(folder);
    await again.addPassages(version, [aPassage('a', 'Nuestras tartas')]);
    expect((await again.search(version, { text: '¿Tienen tarta?', k: 1 })).lexical).toHaveLength(1);
    await again.close();
  });

  it('serves more chatbots than it keeps tables open', async () => {
    const index = await open(aFolder());
    for (let i = 0; i < 210; i += 1) await index.ensure(index.versionFor(`bot${i}`));
    await index.addPassages(index.versionFor('bot0'), [aPassage('a', 'rye')]);
    const found = await Promise.all(
      Array.from({ length: 210 }, (_, i) => index.search(index.versionFor(`bot${i}`), { text: 'rye', k: 1 })),
    );
    expect(found.map(({ lexical }) => lexical.length).reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(await index.listVersions()).toHaveLength(210);
    await index.close();
  });

  it('says in one line when the folder cannot be used', async () => {
    const file = join(root, 'a-file');
    await writeFile(file, '');
    await expect(open(join(file, 'index'))).rejects.toMatchObject({
      kind: 'transient',
      code: 'knowledge_index_unavailable',
    });
  });
});

async function* batches(...passages: IndexedPassage[][]): AsyncGenerator<IndexedPassage[]> {
  yield* passages;
}

async function tables(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.lance'));
}

async function holds(folder: string, text: string): Promise<boolean> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = await Promise.all(
    names.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name))),
  );
  return files.some((bytes) => bytes.includes(text));
}
