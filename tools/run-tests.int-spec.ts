import { spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempDir } from '@answerline/testing';
import { beforeEach, describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('..', import.meta.url));

describe('run-tests', () => {
  let dir: string;
  let temp: string;
  beforeEach(async () => {
    dir = await tempDir();
    temp = join(dir, 'tmp');
    await mkdir(temp);
  });

  /** Runs Jest on files of a tiny project. Gives the last line of all that was printed, and how it ended. */
  async function run(files: Record<string, string>, args: string[] = [], config: object = {}, project = 'tiny') {
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
    const jestConfig = join(dir, 'jest.config.json');
    const settings = {
      rootDir: dir,
      displayName: project,
      transform: {},
      testMatch: ['<rootDir>/*.spec.js'],
      reporters: ['default', join(root, 'tools/closing-line-reporter.mjs')],
      ...config,
    };
    await writeFile(jestConfig, JSON.stringify(settings));
    const closingLineFile = join(dir, 'closing-lines');
    const runner = ['--conditions=@answerline/source', 'tools/run-tests.ts', project, '--config', jestConfig, ...args];
    const { status, stdout, stderr } = spawnSync('sh', ['-c', 'exec "$@" 2>&1', 'sh', process.execPath, ...runner], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, TMPDIR: temp, CLOSING_LINE_FILE: closingLineFile },
    });
    expect(stderr).toBe('');
    expect((await readdir(temp)).filter((name) => name.startsWith('answerline-'))).toEqual([]);
    return {
      status,
      output: stdout,
      lastLine: stdout.trimEnd().split('\n').at(-1),
      figures: (await readFile(closingLineFile, 'utf8')).trim(),
    };
  }

  const green = `test('rises', () => {});`;
  const red = `test('falls', () => { throw new Error('flat'); });`;

  it('ends with the figures of Jest', async () => {
    const files = { 'a.spec.js': `${green} ${red}`, 'b.spec.js': green };
    expect(await run(files)).toMatchObject({ status: 1, lastLine: '2 passed, 1 failed', figures: '2 1' });
  });

  it('ends with 0 failed and exit code 0 only when everything passed', async () => {
    expect(await run({ 'a.spec.js': green })).toMatchObject({
      status: 0,
      lastLine: '1 passed, 0 failed',
      figures: '1 0',
    });
  });

  it('counts tests that were skipped or left to do as failed', async () => {
    const files = { 'a.spec.js': `${green} test.skip('later', () => {}); test.todo('some day');` };
    expect(await run(files)).toMatchObject({ status: 1, lastLine: '1 passed, 2 failed' });
  });

  it('does not count tests that -t leaves out', async () => {
    const files = { 'a.spec.js': `${green} test('cools', () => {});` };
    expect(await run(files, ['-t', 'rises'])).toMatchObject({ status: 0, lastLine: '1 passed, 0 failed' });
  });

  it('counts a file that cannot be loaded', async () => {
    const files = { 'a.spec.js': green, 'b.spec.js': `require('./nowhere.js');` };
    expect(await run(files)).toMatchObject({ status: 1, lastLine: '1 passed, 1 failed' });
  });

  it('counts a test that docs/seed-coverage.md names and a whole run did not run', async () => {
    const unit = { testMatch: ['<rootDir>/*.spec.ts'] };
    await mkdir(join(dir, 'docs'));
    const page =
      '| Bread rises. | `a.spec.ts` › "rises" | the oven | |\n| It cools. | `a.spec.ts` › "cools" | the oven | |\n';
    await writeFile(join(dir, 'docs/seed-coverage.md'), page);
    const missing = await run({ 'a.spec.ts': green }, [], unit, 'unit');
    expect(missing).toMatchObject({ status: 1, lastLine: '1 passed, 1 failed' });
    expect(missing.output).toContain('docs/seed-coverage.md names a test that did not run: a.spec.ts › cools');
    // What was left out on purpose proves nothing, and nobody said it did.
    expect(await run({}, ['a.spec'], unit, 'unit')).toMatchObject({ status: 0, lastLine: '1 passed, 0 failed' });
    const both = { 'a.spec.ts': `${green} test('cools', () => {});` };
    expect(await run(both, [], unit, 'unit')).toMatchObject({ status: 0, lastLine: '2 passed, 0 failed' });
  });

  it('counts a failing afterAll', async () => {
    const files = { 'a.spec.js': `${green} afterAll(() => { throw new Error('burnt'); });` };
    expect(await run(files)).toMatchObject({ status: 1, lastLine: '1 passed, 1 failed' });
  });

  it('counts one failure when no test matches', async () => {
    expect(await run({ 'a.spec.js': green }, ['nothing-like-it'])).toMatchObject({
      status: 1,
      lastLine: '0 passed, 1 failed',
    });
  });

  it('counts one failure when Jest crashes', async () => {
    const files = { 'a.spec.js': green, 'setup.cjs': `module.exports = () => process.kill(process.pid, 'SIGKILL');` };
    const result = await run(files, [], { globalSetup: join(dir, 'setup.cjs') });
    expect(result).toMatchObject({ status: 1, lastLine: '0 passed, 1 failed', figures: '0 1' });
    expect(result.output).toContain('Jest was ended by SIGKILL.');
  });

  it('counts one failure when the settings of Jest are wrong', async () => {
    const result = await run({ 'a.spec.js': green }, [], { preset: 'no-such-preset' });
    expect(result).toMatchObject({ status: 1, lastLine: '0 passed, 1 failed' });
  });

  it('counts one failure when a test leaves something open', async () => {
    const files = { 'a.spec.js': `test('listens', (done) => { require('net').createServer().listen(0, done); });` };
    const result = await run(files);
    expect(result).toMatchObject({ status: 1, lastLine: '1 passed, 1 failed' });
    expect(result.output).toContain('a test left a server, socket or timer open');
  });
});
