import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts processor time in ticks of 10 ms (`getconf CLK_TCK` is 100 on every platform that Node runs on). */
const tickMs = 10;

/**
 * Processor time of a process and of those that it started, finished ones included, in ms; of this process only its own.
 * Linux only, NaN elsewhere.
 */
export function processorMs(pid: number): number {
  if (pid === process.pid) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  }
  try {
    return statOf(pid).ownMs + childrenOf(pid).reduce((sum, child) => sum + processorMs(child), 0);
  } catch {
    return NaN;
  }
}

/** See proc(5): fields 14 to 17 are utime, stime and those of children that were waited for; 4 is the parent. */
function statOf(pid: number): { readonly parent: number; readonly ownMs: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the program stands in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { parent: Number(fields[1]), ownMs: ticks * tickMs };
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => parentOf(other) === pid);
}

function parentOf(pid: number): number | undefined {
  try {
    return statOf(pid).parent;
  } catch {
    return undefined; // ended meanwhile
  }
}

/** Processor time since it was made, by name of process. */
export class ProcessorMeter {
  readonly #pids: ReadonlyMap<string, number>;
  readonly #before: ReadonlyMap<string, number>;

  constructor(pids: ReadonlyMap<string, number>) {
    this.#pids = pids;
    this.#before = new Map([...pids].map(([name, pid]) => [name, processorMs(pid)]));
  }

  /** Milliseconds a turn, by name. */
  perTurn(turns: number): Map<string, number> {
    return new Map(
      [...this.#pids].map(([name, pid]) => [name, (processorMs(pid) - (this.#before.get(name) ?? NaN)) / turns]),
    );
  }
}
