import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { eventually, freePort, tempDir } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { root, spawnStandalone, startStandalone, type StandaloneOptions } from './running-standalone.ts';

/** "The second npm start is ready in 10 s." */
const secondStartMs = 10_000;

/** Starts it where it cannot start. Gives all that it printed, which is what a newcomer has to go by. */
async function refusal(options: StandaloneOptions): Promise<{ code: number | null; lines: string[] }> {
  const standalone = await spawnStandalone(options);
  const code = await standalone.exited;
  return { code, lines: standalone.output().trim().split('\n') };
}

/** Command lines of all processes that name the folder: those of its Postgres and its nats-server do. */
const processesOf = (dataDir: string) =>
  execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(dataDir) && !line.startsWith('ps '));

const allGone = (dataDir: string) =>
  eventually(() => processesOf(dataDir).length === 0, { what: 'no process is left', timeoutMs: 20_000 });

describe('a start with settings that cannot work', () => {
  it('says what is wrong with each of them, in one line each, and makes nothing', async () => {
    const dataDir = join(await tempDir(), 'data');
    const chosen = { OPERATOR_KEY: 'k'.repeat(32), INTERNAL_TOKEN: 't'.repeat(32) };
    const env = { PORT: 'abc', NATS_URL: 'http://x', ENCRYPTION_KEYS: 'x', ...chosen };
    const { code, lines } = await refusal({ dataDir, env });
    expect(code).toBe(1);
    expect(lines).toEqual([
      expect.stringMatching(/^answerline: PORT must be a whole number .* for example PORT=3000$/),
      expect.stringMatching(/^answerline: NATS_URL must be a URL that begins with nats:/),
      expect.stringMatching(/^answerline: ENCRYPTION_KEYS must be id:key.*openssl rand -base64 32>$/),
    ]);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('names DATA_DIR when it cannot be written to', async () => {
    const { code, lines } = await refusal({ dataDir: '/dev/null/data' });
    expect(code).toBe(1);
    expect(lines).toEqual([
      'answerline: DATA_DIR: /dev/null/data cannot be written to (ENOTDIR): set DATA_DIR to a folder of yours',
    ]);
  });
});

describe('starting, stopping and starting again', () => {
  const busy = createServer();
  let busyPort: string;
  let dataDir: string;
  let apiKey: string;

  beforeAll(async () => {
    dataDir = join(await tempDir(), 'data');
    busy.listen(0, '127.0.0.1');
    await once(busy, 'listening');
    busyPort = String((busy.address() as AddressInfo).port);
  });
  afterAll(() => void busy.close());

  it('says where everything is, and keeps the keys private', async () => {
    const standalone = await startStandalone({ dataDir, ownGroup: true });
    const { sandboxUrl, baseUrl } = standalone.demo;
    ({ apiKey } = standalone.demo);
    const lines = standalone.output().trim().split('\n');
    const ready = lines.slice(lines.indexOf('Answerline ready') + 1);
    expect(ready).toEqual([
      expect.stringMatching(new RegExp(`^ {2}Phone +http://localhost:${new URL(sandboxUrl).port} `)),
      expect.stringMatching(new RegExp(`^ {2}API +http://localhost:${new URL(baseUrl).port}/api/docs `)),
      `  Keys     ${join(dataDir, 'demo.json')}`,
      `Everything is kept in ${dataDir}. Stop with Ctrl-C.`,
    ]);
    for (const file of ['demo.json', 'secrets.json']) expect(statSync(join(dataDir, file)).mode & 0o777).toBe(0o600);

    // Somebody starts it once more.
    const again = await refusal({ dataDir });
    expect(again.code).toBe(1);
    expect(again.lines).toEqual([
      `answerline: ${dataDir}/postgres is in use by process ${standalone.pid}. Stop that one first, or set another DATA_DIR. ` +
        '(data_dir_in_use)',
    ]);

    // Ctrl-C, right away.
    process.kill(-standalone.pid, 'SIGINT');
    expect(await standalone.exited).toBe(0);
    await allGone(dataDir);
    expect(standalone.output().trim().split('\n')).toEqual([...lines, 'Stopping …']);
  }, 90_000);

  it('mails the owner of the demo when a customer asks for a human', async () => {
    const standalone = await startStandalone({ dataDir });
    const { sandboxUrl, phoneNumberId } = standalone.demo;
    await fetch(`${sandboxUrl}/sandbox/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ phoneNumberId, contactId: 'customer-a', text: 'Can I talk to a human?' }),
    });
    const mails = async () => {
      const { items } = (await (await fetch(`${sandboxUrl}/sandbox/mails`)).json()) as { items: { to: string[] }[] };
      return items.map(({ to }) => to);
    };
    await eventually(async () => (await mails()).length > 0, { what: 'the mail is there', timeoutMs: 20_000 });
    expect(await mails()).toEqual([['owner@wren-lane-bakery.example']]);
    expect(await standalone.stop()).toBe(0);
  }, 60_000);

  it.each(['PORT', 'SANDBOX_PORT'])('says that %s is in use, and stops what it had started', async (setting) => {
    const startedAt = performance.now();
    const { code, lines } = await refusal({ dataDir, env: { [setting]: busyPort } });
    expect(code).toBe(1);
    expect(lines).toEqual([
      `answerline: Port ${busyPort} is in use by another program: stop that program, or set ${setting} to a free port`,
    ]);
    expect(performance.now() - startedAt).toBeLessThan(secondStartMs);
    expect(processesOf(dataDir)).toEqual([]);
  });

  it('is ready again within 10 s, after kill -9 too, with the same demo', async () => {
    for (const isKilled of [true, false]) {
      const startedAt = performance.now();
      const standalone = await startStandalone({ dataDir });
      expect(performance.now() - startedAt).toBeLessThan(secondStartMs);
      expect(standalone.demo.apiKey).toBe(apiKey);
      if (isKilled) process.kill(standalone.pid, 'SIGKILL');
      else expect(standalone.output()).toContain('Stopping a Postgres that an earlier run left behind');
      expect(await (isKilled ? standalone.exited : standalone.stop())).toBe(isKilled ? null : 0);
    }
    await allGone(dataDir);
  }, 60_000);

  it('stops when npm, which started it, is killed', async () => {
    const env = {
      ...process.env,
      DATA_DIR: dataDir,
      PORT: String(await freePort()),
      SANDBOX_PORT: String(await freePort()),
      npm_lifecycle_event: 'start',
    };
    // npm runs a script in a shell like this one.
    const shell = spawn('sh', ['-c', 'node tools/run.mjs start; true'], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    shell.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await eventually(() => output.includes('Answerline ready'), { what: 'it is ready', timeoutMs: 60_000 });
    shell.kill('SIGKILL');
    await allGone(dataDir);
  }, 90_000);
});
