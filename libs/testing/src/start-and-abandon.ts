import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * Lets a small process of its own start an embedded service, and kills that process with kill -9. Resolves, when it is dead, to
 * the service that it left running.
 */
export async function startAndAbandon(
  start: 'startEmbeddedPostgres' | 'startEmbeddedNats',
  options: Readonly<Record<string, unknown>>,
): Promise<{ url: string; pid: number }> {
  const code = `
    import { ${start} } from '@answerline/embedded-services';
    const { url, pid } = await ${start}(${JSON.stringify(options)});
    console.log(JSON.stringify({ url, pid }));
    setInterval(() => {}, 1000);`;
  const flags = ['--conditions=@answerline/source', '--input-type=module', '-e', code];
  const parent = spawn(process.execPath, flags, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(parent, 'exit');
  for await (const line of createInterface({ input: parent.stdout })) {
    parent.kill('SIGKILL');
    await exited;
    return JSON.parse(line) as { url: string; pid: number };
  }
  throw new Error(`A process could not run ${start}; what it said stands above.`);
}
