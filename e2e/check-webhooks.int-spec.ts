import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runningPostgresUrl } from '@answerline/embedded-services';
import { tempDir } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { root, startStandalone, type StandaloneProcess } from './running-standalone.ts';

const fixtures = join(root, 'libs/adapters/whatsapp/fixtures');

describe('npm run check:webhooks', () => {
  let standalone: StandaloneProcess;
  beforeAll(async () => {
    standalone = await startStandalone();
  }, 90_000);
  afterAll(async () => {
    await standalone?.stop();
  }, 60_000);

  /** Runs the tool. Gives its exit code, what it printed, and its figures by name. */
  async function check(...args: string[]) {
    const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
      const flags = ['--conditions=@answerline/source', '--disable-warning=ExperimentalWarning'];
      const child = execFile(
        process.execPath,
        [...flags, 'tools/check-webhooks.ts', ...args, '--demo', join(standalone.dataDir, 'demo.json')],
        { cwd: root },
        (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, output: stdout + stderr }),
      );
    });
    const figures = Object.fromEntries(
      [...output.matchAll(/^(.{16}) +(\d+)(?: {3}(.*))?$/gm)].map(([, name = '', count, more = '']) => [
        name.trim(),
        { count: Number(count), more },
      ]),
    );
    return { code, output, figures };
  }

  it('takes bodies for other numbers and gives each a verdict', async () => {
    const { code, figures, output } = await check(fixtures);
    const bodies = (await readdir(fixtures)).filter((name) => name.endsWith('.json')).length;
    expect(output).toContain('Nothing is missing.');
    expect(code).toBe(0);
    for (const name of ['Bodies', 'Answered 200', 'Verdicts', 'Sent again']) expect(figures[name]?.count).toBe(bodies);
    expect(figures['Messages found']?.count).toBeGreaterThan(30);
    expect([figures['Messages stored']?.count, figures['Dead letters']?.count]).toEqual([0, 0]);
  });

  it('finds every message of the demo stored once, the oddities too; sent again, nothing is new', async () => {
    const { code, figures, output } = await check(fixtures, '--as-demo', '--oddities');
    expect(output).toContain('Nothing is missing.');
    expect(code).toBe(0);
    const { 'Messages found': found, 'Messages stored': stored, 'Sent again': again } = figures;
    // One fixture has a message that names no number.
    const different = Number(/^\d+/.exec(found?.more ?? '')?.[0]);
    expect(different).toBeGreaterThan(1_300);
    expect(stored).toEqual({ count: different, more: `${different} new; ${different} with type and raw JSON` });
    expect(again?.more).toMatch(/^answered 200: \d{4} repeats, 0 new$/);

    const second = await check(fixtures, '--as-demo', '--oddities');
    expect(second.code).toBe(0);
    expect(second.figures['Messages stored']?.more).toBe(`0 new; ${different} with type and raw JSON`);
    expect(second.figures['Sent again']?.more).toBe(again?.more);
  }, 120_000);

  it('says what is missing', async () => {
    const database = new pg.Client({ connectionString: runningPostgresUrl(join(standalone.dataDir, 'postgres')) });
    await database.connect();
    const ofFile = (sql: string, file: string) => database.query(sql, [`${file}:%`]);
    await ofFile(`DELETE FROM messages WHERE provider_message_id LIKE $1`, 'text-in-a-group.json');
    await ofFile(`UPDATE messages SET raw = '{"a":1}' WHERE provider_message_id LIKE $1`, 'text.json');
    await ofFile(`UPDATE messages SET type = 'image' WHERE provider_message_id LIKE $1`, 'voice.json');
    await database.end();

    const { code, output } = await check(fixtures, '--as-demo');
    expect(code).toBe(1);
    expect(output.match(/^MISSING .*$/gm)).toEqual([
      'MISSING  text-in-a-group.json: a message of type text is not stored',
      'MISSING  text.json: the stored JSON is another',
      'MISSING  voice.json: type audio is stored as image',
      'MISSING  Sending again stored what the first time did not',
    ]);
  });

  it('says which body became a dead letter', async () => {
    const folder = join(await tempDir(), 'bodies');
    await mkdir(folder);
    await writeFile(join(folder, 'cut.json'), '{"entry": [');
    const { code, output } = await check(folder);
    expect(code).toBe(1);
    expect(output).toContain('MISSING  cut.json: dead letter webhook_not_json');
  });

  it.each([
    [['/nowhere'], '/nowhere is not a folder that can be read.'],
    [[], 'npm run check:webhooks -- <folder>'],
    [['--loud'], "Unknown option '--loud'"],
  ])('says what is wrong with %j', async (args, words) => {
    const { code, output } = await check(...args);
    expect([code, output]).toEqual([1, expect.stringContaining(words)]);
    expect(output).not.toContain('    at ');
  });
});
