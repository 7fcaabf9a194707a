import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';

const children: ChildProcess[] = [];
afterEach(() => {
  children.splice(0).forEach((child) => child.kill('SIGKILL'));
});

/** Runs a main.ts whose `start` has this body, in a process of its own. */
function runMain(body: string) {
  const script = `
    import { ConfigError } from '@answerline/config';
    import { InvalidInput, Transient } from '@answerline/errors';
    import { createLogger } from '@answerline/logging';
    import { listenOn, runProcess, startHealthServer } from '@answerline/lifecycle';
    const say = (text) => process.stdout.write(text + '\\n');
    runProcess({ name: 'test', start: async ({ health, onStop, logTo }) => { ${body} } });
  `;
  const args = [
    '--conditions=@answerline/source',
    '--disable-warning=ExperimentalWarning',
    '--input-type=module',
    '-e',
    script,
  ];
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const output = { out: '', err: '' };
  const watchers = new Set<() => void>();
  const collect = (key: 'out' | 'err') => (chunk: Buffer) => {
    output[key] += chunk.toString();
    watchers.forEach((watch) => watch());
  };
  child.stdout.on('data', collect('out'));
  child.stderr.on('data', collect('err'));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const said = (text: string) =>
    new Promise<void>((resolve) => {
      const watch = () => void (output.out.includes(text) && (watchers.delete(watch), resolve()));
      watchers.add(watch);
      watch();
    });
  return { child, output, ended, said };
}
const stayAlive = 'const timer = setInterval(() => {}, 1000);';
const logger = "logTo(createLogger({ app: 'test', level: 'info' }));";

describe('runProcess', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'stops its parts in reverse order on %s and exits 0',
    async (signal) => {
      const { child, output, ended, said } = runMain(`${stayAlive} ${logger}
      onStop('database', () => say('database stopped'));
      onStop('loop', async (withinMs) => {
        say('ready ' + (await health.ready()).ready);
        await new Promise((resolve) => setImmediate(resolve));
        say('loop stopped within ' + Math.round(withinMs / 1000));
      });
      say('started');`);
      await said('started');
      child.kill(signal);
      expect(await ended).toBe(0);
      const lines = output.out.split('\n').filter((line) => !line.startsWith('{'));
      expect(lines).toEqual(['started', 'ready false', 'loop stopped within 24', 'database stopped', '']);
      expect(output.out).toContain('"message":"Stopped"');
    },
  );

  it('goes on when a part fails to stop, and exits 1', async () => {
    const { child, output, ended, said } = runMain(`${stayAlive} ${logger}
      onStop('database', () => say('database stopped'));
      onStop('loop', () => { throw new Error('no'); });
      say('started');`);
    await said('started');
    child.kill('SIGTERM');
    expect(await ended).toBe(1);
    expect(output.out).toContain('database stopped');
    expect(output.out).toContain('"part":"loop"');
  });

  it('takes a signal that came twice for one, and exits 1 at once on a later second one', async () => {
    const { child, ended, said } = runMain(`${stayAlive}
      onStop('slow', () => {
        say('stopping');
        setTimeout(() => say('a while later'), 600);
        return new Promise(() => {});
      });
      say('started');`);
    await said('started');
    child.kill('SIGINT');
    await said('stopping');
    child.kill('SIGINT');
    await said('a while later');
    expect(child.exitCode).toBeNull();
    child.kill('SIGINT');
    expect(await ended).toBe(1);
  });

  it('prints a ConfigError in plain lines, stops what had started, and exits 1', async () => {
    const { output, ended } = runMain(`${stayAlive}
      onStop('database', () => say('database stopped'));
      throw new ConfigError(['PORT is wrong', 'HOST is wrong']);`);
    expect(await ended).toBe(1);
    expect(output.err).toBe('test: PORT is wrong\ntest: HOST is wrong\n');
    expect(output.out).toBe('database stopped\n');
  });

  it('says in one line which port is in use and which setting to change', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { output, ended } = runMain(
      `await startHealthServer({ host: '127.0.0.1', port: ${port}, registry: health });`,
    );
    expect(await ended).toBe(1);
    expect(output.err).toBe(
      `test: Port ${port} is in use by another program: stop that program, or set PORT to a free port\n`,
    );
    taken.close();
  });

  it('shows any other failure of the start with its stack, and exits 1', async () => {
    const { output, ended } = runMain("throw new Error('broken');");
    expect(await ended).toBe(1);
    expect(output.err).toMatch(/^test: Start failed: Error: broken\n +at /);
  });

  it('says what its reader can mend in one line, without a log entry', async () => {
    const { output, ended } = runMain(`${logger}
      throw new InvalidInput('folder_in_use', 'The folder is in use.');`);
    expect(await ended).toBe(1);
    expect(output).toEqual({ out: '', err: 'test: The folder is in use. (folder_in_use)\n' });
  });

  it('ends with one line when another service is away, after the log has its cause', async () => {
    const { output, ended } = runMain(`${logger}
      throw new Transient('postgres_unavailable', 'Postgres does not answer.', { cause: new Error('refused') });`);
    expect(await ended).toBe(1);
    expect(output.err).toBe('test: Postgres does not answer. (postgres_unavailable)\n');
    expect(JSON.parse(output.out)).toMatchObject({ message: 'Start failed', err: { cause: { message: 'refused' } } });
  });

  it.each([
    ['an unhandled rejection', "void Promise.reject(new Error('broken'));"],
    ['an uncaught exception', "setImmediate(() => { throw new Error('broken'); });"],
  ])('logs %s and exits 1', async (_what, crash) => {
    const { output, ended } = runMain(`${stayAlive} ${logger} ${crash}`);
    expect(await ended).toBe(1);
    const line = output.out.split('\n').find((one) => one.includes('Crashed')) ?? '{}';
    expect(JSON.parse(line)).toMatchObject({ level: 'fatal', message: 'Crashed', err: { message: 'broken' } });
  });

  it('stops what has started when a signal comes during the start', async () => {
    const { child, output, ended, said } = runMain(`${stayAlive}
      onStop('database', () => say('database stopped'));
      say('starting');
      await new Promise(() => {});`);
    await said('starting');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(output.out).toContain('database stopped');
  });
});
