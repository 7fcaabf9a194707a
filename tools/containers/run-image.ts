import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type BuiltImage } from './build-image.ts';

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of the image's own command. */
  readonly command?: readonly string[];
}

/** A program in the folder of an image, as a container would have it. */
export interface RunningContainer {
  /** All that it printed. */
  output(): string;
  /** Resolves to its exit code, or to the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Sends the signal that the image names, and kills it when it has not ended in that time. */
  stop(withinMs: number): Promise<number | NodeJS.Signals>;
}

/**
 * Starts a program with the folder of the image as its `/`, as the image's user without any right of root's, as process 1
 * of a process space of its own. It shares network and disk with us; so it gets free ports from its caller.
 */
export function runImage(image: BuiltImage, options: RunOptions = {}): RunningContainer {
  const { root, workdir, user } = image;
  const [program = '', ...args] = options.command ?? image.command;
  const rights = ['--setgid', String(user.gid), '--setuid', String(user.uid)];
  const space = ['--pid', '--fork', '--kill-child', '--root', root, '--wd', workdir];
  const child = spawn('unshare', [...space, ...rights, '--', program, ...args], {
    env: { ...image.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  const ended = once(child, 'close').then(([code, signal]) => (signal ?? code) as number | NodeJS.Signals);
  return {
    output: () => output,
    ended,
    stop: async (withinMs) => {
      const killer = setTimeout(() => child.kill('SIGKILL'), withinMs);
      signalInside(child, image.stopSignal as NodeJS.Signals);
      const how = await ended;
      clearTimeout(killer);
      return how;
    },
  };
}

/** unshare waits for the process that it made and passes no signal on; that one is process 1 inside. */
function signalInside(child: ChildProcess, signal: NodeJS.Signals): void {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const inside = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8').trim();
  if (inside !== '') process.kill(Number(inside), signal);
}

/** Puts a file where a container would have it mounted, readable by the image's user only. */
export function mountSecret(image: BuiltImage, file: string, target: string): void {
  const path = join(image.root, target);
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(file, path);
  chownSync(path, image.user.uid, image.user.gid);
}
