import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { notPassed, projectOf, readSeedCoverage, seedCoveragePath, titlePattern } from './seed-coverage.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(join(root, seedCoveragePath), 'utf8');
const rows = readSeedCoverage(page);

/** The titles of the tests of a file, as they stand there. */
function titlesIn(file: string): string[] {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest);
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(it|test)(\.|$|\()/.test(node.expression.getText(source))) {
      const [title] = node.arguments;
      if (title && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title))) {
        titles.push(ts.isStringLiteralLike(title) ? title.text : title.getText(source).slice(1, -1));
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

describe(seedCoveragePath, () => {
  const named = [
    ...new Map(rows.flatMap((row) => row.tests).map((test) => [`${test.file} › ${test.title}`, test])).values(),
  ];

  it('has a row for each sentence, with a test or the reason why there is none', () => {
    expect(rows.length).toBeGreaterThan(60);
    const bare = rows.filter(
      ({ sentence, tests, observed, deviates }) =>
        sentence === '' || (tests.length === 0 ? deviates.length < 20 : observed === ''),
    );
    expect(bare).toEqual([]);
    expect(new Set(rows.map(({ sentence }) => sentence)).size).toBe(rows.length);
  });

  it.each([...new Set(named.map(({ file }) => file))])('names tests that are in %s', (file) => {
    expect(existsSync(join(root, file))).toBe(true);
    expect(projectOf(file)).not.toMatch(/^no project/);
    const titles = titlesIn(file);
    const unknown = named.filter((test) => test.file === file && !titles.includes(test.title));
    expect(unknown.map(({ title }) => title)).toEqual([]);
  });

  it('names nothing in a way that is not read', () => {
    // Every file that the page speaks of as a spec is followed by a title.
    expect(page.match(/`\S+spec\.ts`/g) ?? []).toHaveLength(rows.flatMap((row) => row.tests).length);
  });
});

describe('the check of a run', () => {
  const table = [
    '| the page says | test | observed | deviates, why |',
    '| --- | --- | --- | --- |',
    '| One. | `a/b.int-spec.ts` › "does %s and a \\| b"<br>`c.chaos-spec.ts` › "survives" | journal | |',
    '| Two. | `d.spec.ts` › "is ${String(n)} wide" | answer | no |',
  ].join('\n');
  const read = readSeedCoverage(table);
  const passed = { file: 'a/b.int-spec.ts', title: 'does it and a | b', status: 'passed' };

  it('reads the rows', () => {
    expect(read.map(({ sentence, tests }) => [sentence, tests.length])).toEqual([
      ['One.', 2],
      ['Two.', 1],
    ]);
    expect(read[1]).toMatchObject({ observed: 'answer', deviates: 'no' });
  });

  it.each([
    ['all passed', [passed], []],
    ['it failed', [{ ...passed, status: 'failed' }], ['failed: a/b.int-spec.ts › does %s and a | b']],
    ['it was skipped', [{ ...passed, status: 'pending' }], ['pending: a/b.int-spec.ts › does %s and a | b']],
    ['one of two failed', [passed, { ...passed, status: 'failed' }], ['failed: a/b.int-spec.ts › does %s and a | b']],
    ['it did not run', [{ ...passed, file: 'x' }], ['did not run: a/b.int-spec.ts › does %s and a | b']],
  ])('finds out when %s', (_what, runs, expected) => {
    expect(notPassed(read, new Set(['integration']), runs)).toEqual(expected);
  });

  it('leaves the tests of other projects to their own run', () => {
    expect(notPassed(read, new Set(['browser']), [])).toEqual([]);
    expect(notPassed(read, new Set(['chaos', 'unit']), [])).toEqual([
      'did not run: c.chaos-spec.ts › survives',
      'did not run: d.spec.ts › is ${String(n)} wide',
    ]);
  });

  it('takes a title with placeholders for all that Jest makes of it', () => {
    expect(titlePattern('is ${String(n)} wide').test('is 3\n4 wide')).toBe(true);
    expect(titlePattern('costs (a+b)?').test('costs (a+b)?')).toBe(true);
    expect(titlePattern('costs $price.eur').test('costs 3.eur')).toBe(true);
    expect(titlePattern('one').test('one more')).toBe(false);
  });
});
