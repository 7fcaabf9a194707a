// The one entry of every npm script. It needs nothing but the system's Node (20 or newer) and npm: it installs the
// packages when they are missing or older than the lock file, and then runs the command on the project's own Node.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commands } from './commands.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const projectNode = join(root, 'node_modules/node/bin/node');

class UserFacingError extends Error {}

/** The child that runs now, so that a signal to us reaches it. */
let running;
let interrupted = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interrupted = true;
    // Ctrl-C reaches the whole foreground group by itself; a signal sent to this process only does not.
    if (running && !(signal === 'SIGINT' && process.stdin.isTTY)) running.kill(signal);
  });
}

// npm runs us in a shell, and a SIGTERM or kill -9 for npm does not get through it: we look ourselves whether npm is there.
if (process.env.npm_lifecycle_event) {
  const before = npmChain();
  setInterval(() => {
    if (npmChain() === before) return;
    interrupted = true;
    running?.kill('SIGTERM');
  }, 500).unref();
}

/** Our parent and, where that is npm's shell, its parent. */
function npmChain() {
  const parent = process.ppid;
  try {
    const isShell = readFileSync(`/proc/${parent}/cmdline`, 'utf8').includes('run.mjs');
    const afterName = readFileSync(`/proc/${parent}/stat`, 'utf8').split(') ').at(-1).split(' ');
    return isShell ? `${parent} ${afterName[1]}` : `${parent}`;
  } catch {
    return `${parent}`;
  }
}

function run(command, args, { env = process.env, stdio = 'inherit' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio });
    running = child;
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      running = undefined;
      resolve(signal ? 128 + (constants.signals[signal] ?? 0) : (code ?? 1));
    });
  });
}

/** Runs a slow step and says every 5 s that it still runs. Its output is shown only when it fails. */
async function slowStep(title, command, args, env, hint) {
  const startedAt = Date.now();
  const seconds = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  process.stderr.write(`${title} …\n`);
  const ticker = setInterval(() => process.stderr.write(`  still at it (${seconds()})\n`), 5000);
  const output = [];
  try {
    const code = await new Promise((resolve, reject) => {
      const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
      running = child;
      child.stdout.on('data', (chunk) => output.push(chunk));
      child.stderr.on('data', (chunk) => output.push(chunk));
      child.on('error', reject);
      child.on('exit', (exitCode) => resolve(exitCode ?? 1));
    });
    if (interrupted) process.exit(130);
    if (code !== 0) {
      process.stderr.write(Buffer.concat(output).toString().split('\n').slice(-15).join('\n'));
      throw new UserFacingError(`${title} failed (exit code ${code}). ${hint}`);
    }
    process.stderr.write(`  done in ${seconds()}\n`);
  } catch (error) {
    if (error.code === 'ENOENT') throw new UserFacingError(`${command} is not on PATH. ${hint}`);
    throw error;
  } finally {
    clearInterval(ticker);
  }
}

function lockedNodeVersion() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return lock.packages['node_modules/node'].version;
}

function packagesAreCurrent() {
  const installed = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(projectNode) || !existsSync(installed)) return false;
  return statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs;
}

const nodeBinary = (folder) => join(root, folder, 'node_modules/node/bin/node');
const withPath = (...folders) => ({ ...process.env, PATH: [...folders, process.env.PATH].join(delimiter) });

/** Packages whose `engines` exclude the running Node are left out by npm, so the install itself runs on the project's Node. */
async function installPackages() {
  const version = lockedNodeVersion();
  const cache = `.cache/node-${version}`;
  const hint = 'Check the network and the npm registry, then run the same command again.';
  let env = process.env;
  if (process.version !== `v${version}`) {
    if (!existsSync(nodeBinary(cache))) {
      mkdirSync(join(root, cache), { recursive: true });
      // npm runs the install script of a package only where the project's own package.json allows it.
      writeFileSync(
        join(root, cache, 'package.json'),
        JSON.stringify({ private: true, dependencies: { node: version }, allowScripts: { node: true } }),
      );
      const args = ['install', '--prefix', cache, '--no-package-lock', '--loglevel=error'];
      await slowStep(`Fetching Node ${version}`, 'npm', args, process.env, hint);
    }
    env = withPath(join(root, cache, 'node_modules/node/bin'));
  }
  await slowStep('Installing packages (about a minute)', 'npm', ['ci', '--loglevel=error'], env, hint);
}

async function main() {
  const [name, ...args] = process.argv.slice(2);
  const command = commands[name];
  if (!command) throw new UserFacingError(`Unknown command "${name}". Known: ${Object.keys(commands).join(', ')}`);
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new UserFacingError(`Node ${process.version} is too old. Install Node 20 or newer.`);
  }
  if (!packagesAreCurrent()) await installPackages();

  const env = { ...withPath(join(root, 'node_modules/.bin')), NX_DAEMON: 'false', NX_TUI: 'false' };
  // Over the channel the product notices when we are killed, and stops.
  const stdio = name.startsWith('start') ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit';
  for (const step of command(args)) {
    const stepEnv = { ...env, ...step.env };
    if (step.title) {
      await slowStep(step.title, projectNode, step.args, stepEnv, 'The lines above say where.');
      continue;
    }
    const code = await run(projectNode, step.args, { env: stepEnv, stdio });
    if (code !== 0 || interrupted) process.exit(code);
  }
}

main().catch((error) => {
  const message = error instanceof UserFacingError ? error.message : (error.stack ?? String(error));
  process.stderr.write(`${message}\n`);
  process.exit(1);
});
