import { appendFileSync } from 'node:fs';

/**
 * Prints `N passed, N failed` as the last line, from Jest's own result. A test that was skipped or left as todo counts as
 * failed, because it proves nothing; so does a file that could not be loaded. With CLOSING_LINE_FILE the two numbers are
 * also appended there, so that a script that runs Jest several times can add them up.
 */
export default class ClosingLineReporter {
  onRunComplete(_contexts, result) {
    const passed = result.numPassedTests;
    const failed =
      result.numFailedTests + result.numRuntimeErrorTestSuites + result.numPendingTests + result.numTodoTests;
    if (process.env.CLOSING_LINE_FILE) appendFileSync(process.env.CLOSING_LINE_FILE, `${passed} ${failed}\n`);
    // Jest writes its own summary after custom reporters.
    process.once('exit', () => process.stdout.write(`${passed} passed, ${failed} failed\n`));
    if (failed > 0 && result.numFailedTests === 0) process.exitCode = 1;
  }
}
