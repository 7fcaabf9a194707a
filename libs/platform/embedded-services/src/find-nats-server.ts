import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { InvalidInput } from '@answerline/errors';
import { natsReleases, type NatsRelease } from './nats-releases.ts';

export interface FindNatsServerOptions {
  /** Where a fetched or built one is kept, in a folder named after its version. `.cache` of the project unless told. */
  readonly cacheDir?: string;
  /** Gets one plain line for each step that may take seconds. */
  readonly onProgress?: (line: string) => void;
  /** Of the programs that are tried; PATH decides which are found. Our own unless told. */
  readonly env?: NodeJS.ProcessEnv;
  readonly releases?: Readonly<Record<string, NatsRelease>>;
}

/** The oldest server with what the streams and consumers use. */
const oldest = [2, 11] as const;
/** Built from source where no release fits; `go install` checks it against Go's checksum database. */
const goModule = { path: 'github.com/nats-io/nats-server/v2', version: '2.15.2' };
/** 18 MB. Long enough for a slow line, short enough to go on to Go while somebody waits. */
const downloadDeadlineMs = 180_000;
/** Silence before the first byte means a network that drops packets. */
const firstByteMs = 15_000;
const progressEveryMs = 5_000;
const projectCache = fileURLToPath(new URL('../../../../.cache', import.meta.url));

/**
 * A nats-server of 2.11 or newer, as a path or as a name on PATH: the one on PATH, else the one in the cache, else the pinned
 * official release, else built with Go (about 100 s, once). Throws InvalidInput `nats_server_missing`, which says what to
 * install and why each way failed.
 */
export async function findNatsServer(options: FindNatsServerOptions = {}): Promise<string> {
  const { cacheDir = projectCache, onProgress = () => undefined, releases = natsReleases } = options;
  const env = options.env ?? process.env;
  const release = releases[`${process.platform}-${process.arch}`];

  const onPath = await versionOf('nats-server', env);
  if (onPath && isNewEnough(onPath)) return 'nats-server';
  if (onPath) onProgress(`The nats-server on PATH is ${onPath}, older than ${oldest.join('.')}: not used`);

  const programFor = (version: string) => join(cacheDir, `nats-server-${version}`, 'nats-server');
  for (const version of [goModule.version, release?.version]) {
    if (version && (await versionOf(programFor(version), env)) === version) return programFor(version);
  }

  const reasons: string[] = [];
  const attempts = [
    ...(release ? [{ version: release.version, make: (dir: string) => download(release, dir, env, onProgress) }] : []),
    { version: goModule.version, make: (dir: string) => build(dir, env, onProgress) },
  ];
  for (const { version, make } of attempts) {
    const draft = join(cacheDir, `.nats-server-${randomBytes(6).toString('hex')}`);
    mkdirSync(draft, { recursive: true });
    try {
      await make(draft);
      const made = await versionOf(join(draft, 'nats-server'), env);
      if (made !== version) throw new Error(`it gave version ${made ?? 'none'} instead of ${version}`);
      mkdirSync(join(cacheDir, `nats-server-${version}`), { recursive: true });
      renameSync(join(draft, 'nats-server'), programFor(version));
      return programFor(version);
    } catch (error) {
      reasons.push((error as Error).message);
      onProgress((error as Error).message);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  throw new InvalidInput(
    'nats_server_missing',
    `There is no nats-server ${oldest.join('.')} or newer. Install it (https://docs.nats.io), or install Go (https://go.dev/dl), ` +
      `or set NATS_URL. Tried: ${reasons.join('; ')}.`,
  );
}

async function versionOf(program: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, ['--version'], { env, timeout: 10_000 });
    return /nats-server: v(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

async function download(
  release: NatsRelease,
  dir: string,
  env: NodeJS.ProcessEnv,
  onProgress: (line: string) => void,
): Promise<void> {
  onProgress(`Fetching nats-server ${release.version}`);
  const archive = join(dir, 'release.tar.gz');
  const sha256 = createHash('sha256');
  const meter = progressMeter(onProgress);
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sha256.update(chunk);
      meter(chunk.length);
      done(null, chunk);
    },
  });
  const giveUp = new AbortController();
  const noAnswer = setTimeout(() => giveUp.abort(new Error(`no answer in ${firstByteMs / 1000} s`)), firstByteMs);
  try {
    const signal = AbortSignal.any([giveUp.signal, AbortSignal.timeout(downloadDeadlineMs)]);
    const response = await fetch(release.url, { signal });
    clearTimeout(noAnswer);
    if (!response.ok || !response.body) throw new Error(`the answer was ${response.status}`);
    await pipeline(Readable.fromWeb(response.body), measured, createWriteStream(archive), { signal });
  } catch (error) {
    const { message, cause } = error as Error;
    throw new Error(`nats-server could not be fetched (${cause instanceof Error ? cause.message : message})`, {
      cause: error,
    });
  } finally {
    clearTimeout(noAnswer);
  }
  const found = sha256.digest('hex');
  if (found !== release.sha256)
    throw new Error(`the fetched nats-server has the checksum ${found}, not ${release.sha256}`);
  await runToEnd('tar', ['-xzf', archive, '-C', dir, '--strip-components=1'], env);
}

function progressMeter(onProgress: (line: string) => void): (bytes: number) => void {
  let total = 0;
  let nextAt = Date.now() + progressEveryMs;
  return (bytes) => {
    total += bytes;
    if (Date.now() < nextAt) return;
    nextAt += progressEveryMs;
    onProgress(`Fetching nats-server (${Math.round(total / 1e6)} MB)`);
  };
}

async function build(dir: string, env: NodeJS.ProcessEnv, onProgress: (line: string) => void): Promise<void> {
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  onProgress(`Building nats-server ${goModule.version} with Go (about 100 s, once)`);
  const ticker = setInterval(() => onProgress(`Building nats-server (${seconds()} s)`), progressEveryMs);
  try {
    await runToEnd('go', ['install', `${goModule.path}@v${goModule.version}`], { ...env, GOBIN: dir });
  } finally {
    clearInterval(ticker);
  }
}

/** In our process group, so that Ctrl-C ends it too. */
function runToEnd(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((fulfil, reject) => {
    const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const endWithUs = () => void child.kill();
    process.once('exit', endWithUs);
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    child.once('error', (error: NodeJS.ErrnoException) => {
      process.off('exit', endWithUs);
      reject(new Error(error.code === 'ENOENT' ? `${program} is not on PATH` : `${program} failed: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      process.off('exit', endWithUs);
      if (code === 0) return fulfil();
      const last = complaint.trim().split('\n').at(-1) ?? '';
      reject(new Error(`${program} failed: ${last || `it ended with ${code ?? signal}`}`));
    });
  });
}
