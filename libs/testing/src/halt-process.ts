import { readdirSync, readFileSync } from 'node:fs';
import { eventually } from './eventually.ts';

/** Halts a process (SIGSTOP) and resolves when none of its threads runs any more: the signal itself does not wait for that. */
export async function haltProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const tasks = `/proc/${String(pid)}/task`;
  await eventually(
    () =>
      readdirSync(tasks).every((task) => {
        const stat = readFileSync(`${tasks}/${task}/stat`, 'utf8');
        // `pid (name) state …`; the name may hold anything.
        return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
      }),
    { what: 'the process to stand still' },
  );
}
