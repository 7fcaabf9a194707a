// Exits 1, with one line that says what to do, when the browser tests have no Chromium.
import { spawnSync } from 'node:child_process';

const given = process.env.CHROMIUM_PATH;
const path = given ?? '/usr/bin/chromium';
const { status, error, stderr } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 20_000 });
if (status !== 0) {
  const missing = (error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
  const why = missing
    ? 'is missing'
    : `does not run (${error?.message ?? (stderr.trim().split('\n')[0] || `exit code ${status}`)})`;
  const setting = given === undefined ? '' : ', named by CHROMIUM_PATH,';
  console.error(
    `Chromium at ${path}${setting} ${why}. Install it (apt-get install chromium) or set CHROMIUM_PATH to one.`,
  );
  process.exit(1);
}
