// Exits 1, with one line that says what to do, when the container checks lack what they are made with.
import { spawnSync } from 'node:child_process';

const runs = (program: string, ...args: string[]): boolean =>
  spawnSync(program, args, { stdio: 'ignore' }).status === 0;

const missing = [
  process.platform === 'linux' ? '' : 'Linux',
  runs('go', 'version') ? '' : 'Go, for the compose file (https://go.dev/dl)',
  // Each app is started as another user, in a root folder and a process space of its own.
  runs('unshare', '--pid', '--fork', '--setuid', '1000', 'true') ? '' : 'root, with the right to make namespaces',
].filter((what) => what !== '');
if (missing.length > 0) {
  console.error(`The container checks need ${missing.join(' and ')}.`);
  process.exit(1);
}
