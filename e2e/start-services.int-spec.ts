import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { eventually, freePort, tempDir } from '@answerline/testing';
import { expect, it } from '@jest/globals';
import { root, startStandalone } from './running-standalone.ts';

const apps = ['gateway', 'ingest', 'rag', 'notifier'];
/** A start of five processes on two cores takes about 5 s, a restart of one 2 s. */
const WITHIN_MS = 60_000;

/** The programs that run for the process `ppid`, by their number. */
function programsOf(ppid: number): Map<string, number> {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  const own = lines.map((line) => line.trim().split(/\s+/)).filter(([, parent]) => Number(parent) === ppid);
  return new Map(own.map(([pid, , ...args]) => [args.join(' '), Number(pid)]));
}

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

it(
  'the four run as processes of their own, are started again when they end, and go with the one that started them',
  async () => {
    const dataDir = join(await tempDir(), 'data');
    const port = await freePorts(apps.length);
    const env = { PORT: String(port) };
    const services = await startStandalone({ program: 'start-services', dataDir, env });
    const healthOf = (app: string): string => `http://127.0.0.1:${String(port + apps.indexOf(app))}/health/ready`;
    const areReady = () =>
      eventually(
        async () => {
          const answers = await Promise.all(apps.map((app) => fetch(healthOf(app))));
          return answers.every(({ status }) => status === 200);
        },
        { what: 'all four are ready', timeoutMs: WITHIN_MS },
      );
    const pidOf = (app: string): number | undefined =>
      [...programsOf(services.pid)].find(([args]) => args.endsWith(join(root, `apps/${app}/dist/main.js`)))?.[1];
    for (const app of apps) expect(services.output()).toContain(healthOf(app));
    await areReady();

    const before = pidOf('rag') ?? 0;
    process.kill(before, 'SIGKILL');
    await eventually(() => services.output().includes('rag is ready again'), {
      what: 'the new rag',
      timeoutMs: WITHIN_MS,
    });
    expect(services.output()).toContain('rag ended (SIGKILL); it is started again in 0.25 s\n');
    expect(pidOf('rag')).not.toBe(before);
    await areReady();

    const pids = [...programsOf(services.pid).values()];
    expect(await services.stop()).toBe(0);
    expect(pids.filter(isRunning)).toEqual([]);
    expect(pids.length).toBeGreaterThanOrEqual(apps.length + 3);

    const second = await startStandalone({ program: 'start-services', dataDir, env });
    const orphans = apps.map((app) => {
      const args = join(root, `apps/${app}/dist/main.js`);
      return [...programsOf(second.pid)].find(([each]) => each.endsWith(args))?.[1] ?? 0;
    });
    process.kill(second.pid, 'SIGKILL');
    await eventually(() => !orphans.some(isRunning), { what: 'the four end by themselves', timeoutMs: WITHIN_MS });
  },
  4 * WITHIN_MS,
);

/** The first of `count` free ports in a row. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = await freePort();
    const isFree = await Promise.all(
      Array.from({ length: count }, (_, index) => fetch(`http://127.0.0.1:${String(first + index)}`).catch(() => true)),
    );
    if (isFree.every((free) => free === true) && first + count <= 65_535) return first;
  }
}
