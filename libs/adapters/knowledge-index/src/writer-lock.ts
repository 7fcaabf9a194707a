import { readFileSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Transient } from '@answerline/errors';

/** Held locks of this process. A file with our pid that is not here was left by a dead process that had the same pid. */
const held = new Set<string>();

const lockName = /^writer-(\d+)-(\d+)\.lock$/;

/**
 * Makes this process the only writer of `folder` and returns the function that gives it up. Throws `Transient`
 * `knowledge_index_locked` while another living process, or another opening in this one, writes there.
 *
 * Each writer has a file of its own, named by its pid and start, so a lock is complete the moment it exists, and taking over from a
 * process that was killed only ever deletes that process's file. Write first, then look: of two that start together at most one stays.
 */
export async function lockForWriting(folder: string): Promise<() => Promise<void>> {
  const name = `writer-${process.pid}-${startOf(process.pid) ?? 0}.lock`;
  const path = join(folder, name);
  if (held.has(path)) throw lockedBy(process.pid);
  held.add(path);
  const release = async () => {
    await rm(path, { force: true });
    held.delete(path);
  };
  try {
    await writeFile(path, '');
    for (const other of await readdir(folder)) {
      const [, pid, start] = lockName.exec(other) ?? [];
      if (pid === undefined || start === undefined || other === name) continue;
      if (isRunning(Number(pid), Number(start))) throw lockedBy(Number(pid));
      await rm(join(folder, other), { force: true });
    }
    return release;
  } catch (error) {
    await release();
    throw error;
  }
}

function lockedBy(pid: number): Transient {
  return new Transient(
    'knowledge_index_locked',
    `The knowledge index is written by process ${pid}. Stop that process, or give this one another DATA_DIR.`,
    { context: { pid } },
  );
}

/** Whether the process that started then still runs. Where the start is not known, a living pid counts. */
function isRunning(pid: number, start: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const startNow = startOf(pid);
  return startNow === undefined || start === 0 || startNow === start;
}

/**
 * When a process started, in clock ticks since boot: field 22 of /proc/<pid>/stat (man 5 proc), counted after the name, which may
 * hold blanks. `undefined` where there is no /proc. It tells a process from a later one that was given the same pid.
 */
function startOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const start = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    return Number.isSafeInteger(start) ? start : undefined;
  } catch {
    return undefined;
  }
}
