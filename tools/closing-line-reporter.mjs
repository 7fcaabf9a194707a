import { appendFileSync } from 'node:fs';

/**
 * Appends Jest's own figures to JEST_FIGURES_FILE as `passed failed`, for tools/run-tests.ts, which prints them last. A test
 * that was skipped or left as todo counts as failed, because it proves nothing; so does a file that could not be loaded. With
 * a test name given (-t) the other tests are left out on purpose and do not count.
 */
export default class ClosingLineReporter {
  #picksTests;

  constructor(globalConfig) {
    this.#picksTests = Boolean(globalConfig.testNamePattern);
  }

  onRunComplete(_contexts, result) {
    if (!process.env.JEST_FIGURES_FILE) return;
    const unproved = this.#picksTests ? 0 : result.numPendingTests + result.numTodoTests;
    const failed = result.numFailedTests + result.numRuntimeErrorTestSuites + unproved;
    appendFileSync(process.env.JEST_FIGURES_FILE, `${result.numPassedTests} ${failed}\n`);
  }
}
