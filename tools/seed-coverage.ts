// Reads docs/seed-coverage.md, which says for each promise of the page that Answerline began from which test holds it.
export const seedCoveragePath = 'docs/seed-coverage.md';

/** A test as the page names it. */
export interface NamedTest {
  /** Relative to the project. */
  readonly file: string;
  /** Its title as it stands in the file, placeholders (`%s`, `${…}`) included. */
  readonly title: string;
}

/** A row of the page. */
export interface CoverageRow {
  readonly sentence: string;
  readonly tests: readonly NamedTest[];
  readonly observed: string;
  readonly deviates: string;
}

/** What became of one test of a run. */
export interface TestRun {
  readonly file: string;
  readonly title: string;
  readonly status: string;
}

/** The rows of all tables of the page that have four columns. */
export function readSeedCoverage(page: string): CoverageRow[] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\|[\s:|-]+$/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.replaceAll('\\|', '|').trim()))
    .filter((cells) => cells.length === 6 && cells[1] !== 'the page says')
    .map(([, sentence = '', tests = '', observed = '', deviates = '']) => ({
      sentence,
      tests: [...tests.matchAll(/`(\S+?spec\.ts)` › "([^"]+)"/g)].map(([, file = '', title = '']) => ({ file, title })),
      observed,
      deviates,
    }));
}

/** The titles that a title of the source stands for: Jest fills in its placeholders. */
export function titlePattern(title: string): RegExp {
  const parts = title.split(/%[sdijfop#]|\$\{[^}]*\}|\$[a-z]\w*/i);
  return new RegExp(`^${parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*')}$`);
}

const suffixes: readonly (readonly [string, string])[] = [
  ['.int-spec.ts', 'integration'],
  ['.browser-spec.ts', 'browser'],
  ['.chaos-spec.ts', 'chaos'],
  ['.clients-spec.ts', 'clients'],
  ['.container-spec.ts', 'containers'],
  ['.es-spec.ts', 'elasticsearch'],
  ['.spec.ts', 'unit'],
];

/** The Jest project that a file belongs to. */
export const projectOf = (file: string): string =>
  suffixes.find(([suffix]) => file.endsWith(suffix))?.[1] ?? `no project for ${file}`;

/**
 * The named tests that a whole run of `projects` should have passed and did not, with what became of them. Tests of other
 * projects are left to a run of theirs.
 */
export function notPassed(
  rows: readonly CoverageRow[],
  projects: ReadonlySet<string>,
  runs: readonly TestRun[],
): string[] {
  const named = new Map(rows.flatMap((row) => row.tests).map((test) => [`${test.file} › ${test.title}`, test]));
  return [...named].flatMap(([name, { file, title }]) => {
    if (!projects.has(projectOf(file))) return [];
    const pattern = titlePattern(title);
    const own = runs.filter((run) => run.file === file && pattern.test(run.title));
    if (own.length === 0) return [`did not run: ${name}`];
    const other = own.find(({ status }) => status !== 'passed');
    return other ? [`${other.status}: ${name}`] : [];
  });
}
