// Exits 1, with one line that says what to do, when the tests of the Python clients have no Python that can make an environment.
import { spawnSync } from 'node:child_process';

/** The oldest that the packages of e2e/clients/requirements.txt have wheels for. */
const needed = 'sys.version_info >= (3, 10)';
const program = process.env.PYTHON ?? 'python3';
const check = `import sys, venv, ensurepip; sys.exit(0 if ${needed} else 3)`;
const { status, error } = spawnSync(program, ['-c', check], { encoding: 'utf8', timeout: 20_000 });
if (status !== 0) {
  const why = error
    ? 'is missing'
    : status === 3
      ? 'is older than 3.10'
      : 'has no venv (on Debian: apt-get install python3-venv)';
  console.error(
    `The tests of the Python clients need Python 3.10 or newer: ${program} ${why}. PYTHON may name another.`,
  );
  process.exit(1);
}
