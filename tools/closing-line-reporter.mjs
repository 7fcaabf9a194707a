import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { notPassed, readSeedCoverage, seedCoveragePath } from './seed-coverage.ts';

/**
 * Appends Jest's own figures to JEST_FIGURES_FILE as `passed failed`, for tools/run-tests.ts, which prints them last. A test
 * that was skipped or left as todo counts as failed, because it proves nothing; so does a file that could not be loaded. With
 * a test name given (-t) the other tests are left out on purpose and do not count. A whole run of a project also has to have
 * passed the tests of it that docs/seed-coverage.md names; one that did not counts as failed.
 */
export default class ClosingLineReporter {
  #rootDir;
  #picksTests;
  #picksFiles;

  constructor(globalConfig) {
    const { rootDir, testNamePattern, testPathPatterns, shard, onlyChanged, onlyFailures } = globalConfig;
    this.#rootDir = rootDir;
    this.#picksTests = Boolean(testNamePattern);
    this.#picksFiles = Boolean(shard || onlyChanged || onlyFailures || testPathPatterns.patterns.length > 0);
  }

  onRunComplete(contexts, result) {
    if (!process.env.JEST_FIGURES_FILE) return;
    const unproved = this.#picksTests ? 0 : result.numPendingTests + result.numTodoTests;
    const uncovered = this.#picksTests || this.#picksFiles ? [] : this.#uncovered(contexts, result);
    for (const line of uncovered) process.stderr.write(`${seedCoveragePath} names a test that ${line}\n`);
    const failed = result.numFailedTests + result.numRuntimeErrorTestSuites + unproved + uncovered.length;
    appendFileSync(process.env.JEST_FIGURES_FILE, `${result.numPassedTests} ${failed}\n`);
  }

  /** Tests that failed or were skipped are counted by Jest; those that are not there are not. */
  #uncovered(contexts, { testResults }) {
    const page = join(this.#rootDir, seedCoveragePath);
    if (!existsSync(page)) return [];
    const projects = new Set([...contexts].map(({ config }) => config.displayName?.name));
    const runs = testResults.flatMap(({ testFilePath, testResults: tests }) =>
      tests.map(({ title, status }) => ({ file: relative(this.#rootDir, testFilePath), title, status })),
    );
    const rows = readSeedCoverage(readFileSync(page, 'utf8'));
    return notPassed(rows, projects, runs).filter((line) => line.startsWith('did not run'));
  }
}
