import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from '@jest/globals';
import { eventually } from './eventually.ts';

// By its path: without a build Node cannot read the decorators behind the package's index.
const file = join(import.meta.dirname, 'start-test-elasticsearch.ts');

it('leaves no Elasticsearch behind when the process that started it is killed with -9', async () => {
  const code = `
    import { startTestElasticsearch } from ${JSON.stringify(file)};
    const { url, pid } = await startTestElasticsearch();
    console.log(JSON.stringify({ url, pid }));`;
  const flags = ['--conditions=@answerline/source', '--input-type=module', '-e', code];
  const parent = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: parent.stdout });
  const [line] = (await Promise.race([once(lines, 'line'), once(parent, 'exit')])) as [unknown];
  if (typeof line !== 'string') throw new Error('The process ended before the server was ready.');
  const { url, pid } = JSON.parse(line) as { url: string; pid: number };
  expect((await fetch(url)).ok).toBe(true);
  const exited = once(parent, 'exit');
  parent.kill('SIGKILL');
  await exited;
  const isGone = () => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  };
  await eventually(isGone, { what: 'the server to end', timeoutMs: 15_000 });
}, 180_000);
